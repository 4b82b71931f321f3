"""Prints the params.yaml with which a team's repository begins: `make template` writes it to params.yaml.jinja."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIER = "copier==9.19.1"


def copy(folder: Path, *options: str) -> None:
    """A team's repository in `folder`, from this one as it lies in the working tree."""
    command = ["uvx", COPIER, "copy", "--quiet", "--defaults", "--data", "name=churn", "--vcs-ref", "HEAD", *options]
    subprocess.run([*command, str(ROOT), str(folder)], check=True)


def begun() -> str:
    """The composition of conf/ in a repository that has just begun."""
    from kiban.config.composition import composed

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        copy(Path(folder))
        return composed(Path(folder), []).decode()


if __name__ == "__main__":
    sys.stdout.write(begun())
