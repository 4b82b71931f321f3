"""The digest of conf/. It is stored in params.yaml, so that an edit of conf/ is never silently ignored."""

import hashlib
from pathlib import Path


def digest(conf: Path) -> str:
    """The first 16 hex digits of the SHA-256 of the names and bytes of the YAML files under `conf`.

    It leaves out contract/, which the stages read themselves, and what commands read: promotion/ and tune/.
    """
    files = sorted(path.relative_to(conf).as_posix() for path in conf.rglob("*.yaml"))
    total = hashlib.sha256()
    for name in files:
        if not name.startswith(("contract/", "promotion/", "tune/")):
            content = hashlib.sha256((conf / name).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
            total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()[:16]
