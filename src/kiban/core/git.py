"""Asking git."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """What `git` prints in `root`; CalledProcessError if it fails, OSError if there is no git."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
