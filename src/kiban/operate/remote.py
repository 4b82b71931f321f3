"""origin: what other clones see of branch and tags."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kiban.core.errors import KibanError, one_line
from kiban.core.git import git

ORIGIN = "origin"
UNCONNECTED = 128
"""The exit status of git where it cannot connect, or may not."""


class UnreachableError(KibanError):
    """origin cannot be reached."""


def _said(error: subprocess.CalledProcessError) -> str:
    """What git said, without the user names and passwords of addresses."""
    return re.sub(r"://[^\s/@]*@", "://", one_line(error.stderr or error.stdout))


def is_there() -> bool:
    """Whether this clone has an origin."""
    return ORIGIN in git(Path(), "remote").split()


def fetch() -> None:
    """Bring branches and tags.

    Raises UnreachableError if origin cannot be reached, and KibanError if it has another tag of the same name.
    """
    try:
        git(Path(), "fetch", "--quiet", "--tags", ORIGIN, GIT_TERMINAL_PROMPT="0")
    except subprocess.CalledProcessError as error:
        if "would clobber" in error.stderr:
            raise KibanError(
                f"a tag here is not the one that {ORIGIN} has of this name: `git fetch --tags --force` takes theirs"
            ) from None
        raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None


def push(tags: Sequence[str], branch: str | None) -> Literal["pushed", "lost"]:
    """Push tags, and the branch that is checked out, all or nothing. "lost" if others were faster.

    Raises KibanError if origin cannot be reached.
    """
    refs = [f"refs/tags/{tag}" for tag in tags] + ([f"HEAD:refs/heads/{branch}"] if branch else [])
    try:
        git(Path(), "push", "--quiet", "--porcelain", "--atomic", ORIGIN, *refs, GIT_TERMINAL_PROMPT="0")
    except subprocess.CalledProcessError as error:
        if error.returncode == UNCONNECTED or "[remote rejected]" in error.stdout:
            raise KibanError(f"{ORIGIN} did not take the tags: {_said(error)}") from None
        return "lost"
    return "pushed"


def has(commit: str) -> bool:
    """Whether a branch of origin, as it was fetched last, has the commit."""
    return bool(git(Path(), "branch", "--remotes", "--contains", commit, "--list", f"{ORIGIN}/*").split())


def tags() -> dict[str, str]:
    """The object of each tag that origin has. Raises UnreachableError if it cannot be reached."""
    try:
        lines = git(Path(), "ls-remote", "--tags", "--refs", ORIGIN, GIT_TERMINAL_PROMPT="0").splitlines()
    except subprocess.CalledProcessError as error:
        raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None
    pairs = (line.split("\t") for line in lines)
    return {name.removeprefix("refs/tags/"): digest for digest, name in pairs}
