"""Running git."""

import subprocess
from pathlib import Path


def commits_with(root: Path, text: str, path: Path) -> list[str]:
    """The commits of every branch and tag that added `text` to the file at `path`, or took it away, oldest first.

    Raises CalledProcessError and OSError as `git` does.
    """
    every = ("--all", "--full-history", "-m", "--reverse", "--format=%H")
    return git(root, "log", *every, f"-S{text}", "--", path.as_posix()).split()


def git(root: Path, *arguments: str) -> str:
    """The standard output of `git` in the folder `root`.

    Raises CalledProcessError if git fails, and OSError if git is not installed.
    """
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
