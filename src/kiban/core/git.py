"""Running git."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """The standard output of `git` in the folder `root`.

    Raises CalledProcessError if git fails, and OSError if git is not installed.
    """
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
