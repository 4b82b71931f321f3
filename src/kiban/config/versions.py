"""The versions of the packages that shape bytes: versions.yaml, of which each stage names its own in dvc.yaml.

`python -m kiban.config.versions` writes it from requirements.lock; `make lock` does so.
"""

import importlib.metadata
import re
from pathlib import Path

from pydantic import TypeAdapter

from kiban.core import files, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.settings import parse

HEADER = "# The versions of what shapes bytes: `make lock` writes them, and dvc.yaml says which stage uses what.\n"


def read(content: bytes, where: str) -> dict[str, str]:
    """The version of each package. Raises KibanError, which starts with `where`, if the content is none of versions."""
    return parse(content, TypeAdapter(dict[str, str]), where, "run `make lock PACKAGE=NAME`, or `git checkout`")


def check_installed(versions: dict[str, str]) -> None:
    """Raise KibanError if another version of a package is installed: what runs would make other bytes."""
    for name, version in versions.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "no version"
        if installed != version:
            raise KibanError(
                f"{name} is installed in {installed}, and {paths.VERSIONS} says {version}: `make .venv/installed` sets "
                "up what requirements.lock has"
            )


def locked(names: list[str], lock: str) -> dict[str, str]:
    """The version of each of the packages in the text of requirements.lock. Raises KibanError if it lacks one."""
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s;]+)", lock))
    for name in names:
        if name not in pins:
            raise KibanError(f"requirements.lock has no {name}, which {paths.VERSIONS} names")
    return {name: pins[name] for name in sorted(names)}


def main() -> None:
    names = list(read(paths.VERSIONS.read_bytes(), str(paths.VERSIONS)))
    versions = locked(names, Path("requirements.lock").read_text(encoding="utf-8"))
    text = HEADER + "".join(f'{name}: "{version}"\n' for name, version in versions.items())
    files.write(paths.VERSIONS, text.encode())


if __name__ == "__main__":
    exit_on_error(main)
