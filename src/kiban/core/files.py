"""Files by their bytes: hashed, compared, written whole."""

import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path, digest: str) -> bool:
    """Whether there is a file at `path` whose bytes have this SHA-256."""
    return path.is_file() and sha256(path) == digest


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all: beside it, then renamed."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def keep_only(folder: Path, files: set[Path]) -> None:
    """Remove every file under `folder` that is not among `files`."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in files:
            path.unlink()
