"""origin: what other clones see of branch and tags."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from kiban.core.errors import KibanError, one_line
from kiban.core.git import git
from kiban.track.delivery import shown

ORIGIN = "origin"


class UnreachableError(KibanError):
    """origin cannot be reached."""


def _said(error: subprocess.CalledProcessError) -> str:
    """What git said, without the user names and passwords of addresses."""
    return one_line(shown(error.stderr or error.stdout))


def is_there() -> bool:
    """Whether this clone has an origin."""
    return ORIGIN in git(Path(), "remote").split()


def fetch(names: Iterable[str], clashing: Iterable[str]) -> None:
    """Bring the branches, and the tags with these names; those that clash replace the ones of this clone.

    Raises UnreachableError if origin cannot be reached.
    """
    wanted = [f"+refs/heads/*:refs/remotes/{ORIGIN}/*"]
    wanted += [f"refs/tags/{name}:refs/tags/{name}" for name in names]
    wanted += [f"+refs/tags/{name}:refs/tags/{name}" for name in clashing]
    try:
        git(Path(), "fetch", "--no-tags", "--stdin", ORIGIN, given="\n".join(wanted) + "\n", GIT_TERMINAL_PROMPT="0")
    except subprocess.CalledProcessError as error:
        raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None


def push(names: Sequence[str], branch: str | None) -> Literal["pushed", "lost"]:
    """Push tags, and the branch that is checked out, all or nothing. "lost" if others were faster.

    Raises UnreachableError if origin cannot be reached, and KibanError if it takes them from nobody here.
    """
    refs = [f"refs/tags/{name}" for name in names] + ([f"HEAD:refs/heads/{branch}"] if branch else [])
    try:
        git(Path(), "push", "--quiet", "--porcelain", "--atomic", ORIGIN, *refs, GIT_TERMINAL_PROMPT="0")
    except subprocess.CalledProcessError as error:
        if set(names) & tags().keys() or (branch and _has_moved(branch)):
            return "lost"
        raise KibanError(f"{ORIGIN} did not take the tags: {_said(error)}") from None
    return "pushed"


def _has_moved(branch: str) -> bool:
    """Whether the branch at origin has a commit that this clone's has not."""
    theirs = git(Path(), "ls-remote", "--heads", ORIGIN, f"refs/heads/{branch}", GIT_TERMINAL_PROMPT="0").split()
    return bool(theirs) and theirs[0] not in git(Path(), "rev-list", "HEAD").split()


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
