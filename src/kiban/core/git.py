"""Asking git."""

import subprocess
from pathlib import Path


def commits_with(root: Path, text: str, path: Path) -> list[str]:
    """The commits of every branch and tag that added `text` to the file at `path`, or took it away, oldest first.

    Raises CalledProcessError and OSError as `git` does.
    """
    every = ("--all", "--full-history", "-m", "--reverse", "--format=%H")
    return git(root, "log", *every, f"-S{text}", "--", path.as_posix()).split()


def git(root: Path, *arguments: str) -> str:
    """What `git` prints in `root`; CalledProcessError if it fails, OSError if there is no git."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
