"""Running git."""

import subprocess
from pathlib import Path


def commits_with(root: Path, text: str, path: Path) -> list[str]:
    """The commits that added `text` to the file at `path`, or took it away: those of branches and tags, oldest first,
    then those of all else, such as experiments of DVC.

    Raises CalledProcessError and OSError as `git` does.
    """
    found: dict[str, None] = {}
    for commits in (("--branches", "--remotes", "--tags", "HEAD"), ("--all",)):
        search = (*commits, "--full-history", "-m", "--reverse", "--format=%H", f"-S{text}", "--", path.as_posix())
        found |= dict.fromkeys(git(root, "log", *search).split())
    return list(found)


def git(root: Path, *arguments: str) -> str:
    """The standard output of `git` in the folder `root`.

    Raises CalledProcessError if git fails, and OSError if git is not installed.
    """
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
