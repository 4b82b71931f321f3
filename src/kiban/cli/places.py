"""Where a command was started, and where the repository is: every command works in any folder of it."""

import os
from pathlib import Path
from typing import Any

import click

from kiban.core import paths

_started: Path | None = None  # the folder in which the command was started, if that is not the repository's root


def enter_root() -> None:
    """Make the root of the repository the working directory, if it is above it."""
    global _started
    start = Path.cwd()
    root = next((folder for folder in (start, *start.parents) if _is_root(folder)), start)
    _started = start if root != start else None
    os.chdir(root)


def _is_root(folder: Path) -> bool:
    return (folder / paths.CONFIG).is_file() and (folder / paths.PARAMS).is_file()


def from_root(path: str) -> str:
    """A path as the user gave it, relative to the folder of the start, as one relative to the root."""
    if _started is None or "://" in path or os.path.isabs(path):
        return path
    return os.path.relpath(_started / path)


class Place(click.Path):
    """A path or, without `path_type`, an address such as s3://BUCKET/PATH. A default is relative to the root."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(from_root(value) if isinstance(value, str) else value, param, ctx)
