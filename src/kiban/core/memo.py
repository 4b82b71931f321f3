"""What was computed before, by the content it was computed from: the one helper by which old batches cost nothing.

A key is a digest of everything that a result depends on; nothing in it is a time or a path. The folder is ignored by
git and may be removed at any time: what it held is then computed once more.
"""

import ast
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kiban.core import files
from kiban.core.paths import CACHE

M = TypeVar("M", bound=BaseModel)


def key(**parts: Any) -> str:
    """The SHA-256 of `parts`, which must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code(roots: tuple[str, ...], packages: tuple[str, ...]) -> str:
    """A digest of the source of the modules `roots`, of all of kiban that they import, and of `packages`' versions."""
    sources = {name: _file(name).read_text(encoding="utf-8") for name in closure(roots)}
    return key(sources=sources, versions={name: importlib.metadata.version(name) for name in packages})


def closure(roots: Iterable[str]) -> set[str]:
    """The modules of kiban that `roots` import, directly or not, and `roots` themselves; none of them is imported."""
    modules: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        modules.add(name)
        waiting |= _imported(_file(name)) - modules
    return modules


def _imported(file: Path) -> set[str]:
    """The modules of kiban that the source in `file` names in an import, wherever in it that stands."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("kiban.") and _file(name).exists()}


def _file(module: str) -> Path:
    return Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")


def recall(key: str, kind: type[M]) -> M | None:
    """What was remembered under `key`, or None; a damaged entry is none."""
    try:
        return kind.model_validate_json(_path(key).read_bytes())
    except (OSError, ValidationError):
        return None


def remember(key: str, value: BaseModel) -> None:
    """Keep `value` under `key`, whole or not at all; a warning if it cannot be kept, for it can be computed again."""
    try:
        files.write(_path(key), value.model_dump_json().encode())
    except OSError as error:
        print(f"warning: a result is not kept in {CACHE}: {error.strerror}", file=sys.stderr)


def _path(key: str) -> Path:
    return CACHE / key[:2] / f"{key[2:]}.json"
