"""What was computed before, by the content it was computed from: the one helper by which old batches cost nothing.

A key is a digest of everything that a result depends on; nothing in it is a time or a path. The folder is ignored by
git and may be removed at any time: what it held is then computed once more.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
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
def code(modules: tuple[str, ...], packages: tuple[str, ...]) -> str:
    """A digest of the source of `modules`, found without importing them, and of the versions of `packages`."""
    sources = {}
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(name)
        sources[name] = Path(spec.origin).read_text(encoding="utf-8")
    return key(sources=sources, versions={name: importlib.metadata.version(name) for name in packages})


def recall(key: str, kind: type[M]) -> M | None:
    """What was remembered under `key`, or None; a damaged entry is none."""
    try:
        return kind.model_validate_json(_path(key).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def remember(key: str, value: BaseModel) -> None:
    """Keep `value` under `key`, whole or not at all."""
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, value.model_dump_json().encode())


def _path(key: str) -> Path:
    return CACHE / key[:2] / f"{key[2:]}.json"
