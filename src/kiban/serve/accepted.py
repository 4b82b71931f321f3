"""A copy of the servable that was accepted last, in a temporary folder of the server. Each worker starts with it.

The servable in the watched folder may have been refused. A worker that replaces a dead one must not load that one, and
must not fail either.
"""

import atexit
import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from kiban.core import files

FOLDER = "KIBAN_ACCEPTED"
"""The environment variable in which the server's first process passes the folder to its workers."""

CURRENT = "current"  # the name of the link to the folder of the accepted servable


def folder() -> Path:
    """The server's temporary folder. The server's first process creates it, and removes it at exit."""
    if FOLDER not in os.environ:
        temporary = TemporaryDirectory(prefix="kiban-accepted-")
        atexit.register(temporary.cleanup)
        os.environ[FOLDER] = temporary.name
    return Path(os.environ[FOLDER])


def current() -> Path | None:
    """The folder of the servable that was accepted last, or None if the server has not accepted one yet."""
    link = folder() / CURRENT
    return link if link.exists() else None


def copy(servable: Path) -> Path:
    """A copy of the folder `servable` that nobody else changes. Raises OSError if it cannot be made."""
    path = Path(mkdtemp(dir=folder()))
    try:
        return shutil.copytree(servable, path, dirs_exist_ok=True)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


KEYS = "keys.json"  # the names of the keys that accepted models took


def keys() -> frozenset[str]:
    """The names of the keys that models took that were accepted before. Callers may still give them."""
    try:
        names: list[str] = json.loads((folder() / KEYS).read_bytes())
    except FileNotFoundError:
        return frozenset()
    return frozenset(names)


def keep_keys(names: Collection[str]) -> None:
    """Remember the names of keys. Raises OSError if that cannot be written."""
    files.write(folder() / KEYS, json.dumps(sorted(keys() | set(names))).encode())


def keep(copied: Path, model_id: str) -> None:
    """Make a copy, which holds the model `model_id`, the current one. Raises OSError if that cannot be written."""
    target = folder() / model_id
    if not target.exists():
        try:
            copied.rename(target)
        except OSError:
            if not target.exists():  # otherwise another worker has kept its copy
                raise
    link = folder() / f"link-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    link.replace(folder() / CURRENT)
    for path in folder().glob("?" * len(model_id)):  # the copies of models, whose names are ids
        if path != target:
            shutil.rmtree(path, ignore_errors=True)
