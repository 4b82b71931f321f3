"""Hashing, comparing, writing and removing files."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """The MD5 of a file's bytes in hex: the name of its object in DVC's cache and store, and no proof of anything."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def hashed(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The file at `path`, open at its beginning, and the SHA-256 of its bytes.

    What is read from it is what was hashed, even if another file takes its place at `path` meanwhile.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        yield file, digest


def is_file(path: Path, digest: str) -> bool:
    """Whether there is a file at `path` whose bytes have the SHA-256 `digest`."""
    return path.is_file() and sha256(path) == digest


@contextmanager
def whole(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """A path to write a file or a folder to, which replaces `path` when the context ends.

    If the context ends with an exception, `path` is unchanged. `beside` is the path to write to, on the same file
    system as `path`. The default is `path` with the suffix .part, which DVC ignores.
    """
    part = beside or path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    _remove(part)
    try:
        yield part
        if part.is_dir() and path.exists():  # a folder cannot be replaced in one step
            old = path.with_name(f"{path.name}.old.part")
            _remove(old)
            path.rename(old)
            part.rename(path)
            _remove(old)
        else:
            part.replace(path)
    finally:
        _remove(part)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, on the same file system, which is removed when the context ends."""
    folder = path.with_name(f"{path.name}.scratch.part")
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole(path) as part:
        part.write_bytes(content)


def size_of(folder: Path) -> int:
    """The bytes of all files under a folder; 0 if there is no such folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def keep_only(folder: Path, files: set[Path]) -> None:
    """Remove every file under `folder` that is not among `files`."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in files:
            path.unlink()
