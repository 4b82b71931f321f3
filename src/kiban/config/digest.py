"""The digest of conf/, by which an edit there is never silently ignored."""

import hashlib
from pathlib import Path


def digest(conf: Path) -> str:
    """SHA-256 (first 16 hex digits) of what params.yaml is composed from: names and bytes of the files under `conf`.

    Not of contract/, which the stages read themselves, and not of tune/, which `kiban tune` reads.
    """
    files = sorted(path.relative_to(conf).as_posix() for path in conf.rglob("*.yaml"))
    total = hashlib.sha256()
    for name in files:
        if not name.startswith(("contract/", "tune/")):
            content = hashlib.sha256((conf / name).read_bytes()).hexdigest()
            total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()[:16]
