"""Writes versions.yaml from the locks: `make lock` runs `python -m kiban.maintain.versions`."""

import re
from pathlib import Path

from kiban.core import files, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.versions import read

EXTRAS = ("lightgbm", "xgboost", "spark")
LOCKS = (*(f"requirements.{name}.lock" for name in EXTRAS), "requirements.lock")
HEADER = "# The versions of what shapes bytes: `make lock` writes them, and dvc.yaml says which stage uses what.\n"


def locked(names: list[str], lock: str) -> dict[str, str]:
    """The version of each of the packages in the text of a lock, or of several. Raises KibanError if they lack one."""
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s;]+)", lock))
    for name in names:
        if name not in pins:
            raise KibanError(f"no lock has {name}, which {paths.VERSIONS} names")
    return {name: pins[name] for name in sorted(names)}


def main() -> None:
    names = list(read(paths.VERSIONS.read_bytes(), str(paths.VERSIONS)))
    locks = (Path(name).read_text(encoding="utf-8") for name in LOCKS)
    versions = locked(names, "".join(locks))
    text = HEADER + "".join(f'{name}: "{version}"\n' for name, version in versions.items())
    files.write(paths.VERSIONS, text.encode())


if __name__ == "__main__":
    exit_on_error(main)
