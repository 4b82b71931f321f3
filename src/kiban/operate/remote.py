"""origin: what other clones see of branch and tags."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from kiban.core.errors import KibanError, one_line
from kiban.core.git import git
from kiban.track.delivery import shown

ORIGIN = "origin"
RUNS = "refs/kiban/runs"
"""Where the steps of a run on several machines are: runners/refs.py."""
SECONDS = 120.0
"""The longest that origin may take to answer."""


class UnreachableError(KibanError):
    """origin cannot be reached."""


def _said(error: subprocess.CalledProcessError) -> str:
    """What git said, without the user names and passwords of addresses."""
    return one_line(shown(error.stderr or error.stdout))


def _asked(*arguments: str, seconds: float, given: str | None = None) -> str:
    """What git prints about origin, asked without a prompt for a password.

    Raises UnreachableError if there is no answer within `seconds`, and CalledProcessError as `git` does.
    """
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_DIR": git(Path(), "rev-parse", "--absolute-git-dir").strip()}
    if "GIT_SSH_COMMAND" not in os.environ and not git(Path(), "config", "--default", "", "core.sshCommand"):
        variables["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
    try:
        # An address of origin that is a relative path starts at the clone, also in the worktree of a cycle.
        return git(_clone(), *arguments, given=given, seconds=seconds, variables=variables)
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{ORIGIN} cannot be reached: no answer within {seconds:g} s") from None


def _clone() -> Path:
    """The folder of the clone, whichever of its worktrees this is. Git lists it first."""
    first = git(Path(), "worktree", "list", "--porcelain").split("\n", 1)[0]
    folder = Path(first.removeprefix("worktree "))
    # Of a submodule it lists the folder of its objects.
    return (
        folder if (folder / ".git").exists() else Path(git(Path(), "rev-parse", "--show-toplevel").removesuffix("\n"))
    )


def is_there() -> bool:
    """Whether this clone has an origin."""
    return ORIGIN in git(Path(), "remote").split()


def fetch(names: Iterable[str], clashing: Iterable[str], seconds: float = SECONDS) -> None:
    """Bring the branches, and the tags with these names; those that clash replace the ones of this clone.

    Raises UnreachableError if origin cannot be reached.
    """
    wanted = [f"+refs/heads/*:refs/remotes/{ORIGIN}/*"]
    wanted += [f"refs/tags/{name}:refs/tags/{name}" for name in names]
    wanted += [f"+refs/tags/{name}:refs/tags/{name}" for name in clashing]
    _fetch(wanted, seconds)


def fetch_refs(patterns: Iterable[str], seconds: float = SECONDS) -> None:
    """Bring the refs that match, whatever this clone has. Raises UnreachableError if origin cannot be reached."""
    _fetch([f"+{pattern}:{pattern}" for pattern in patterns], seconds, "--prune")


def _fetch(wanted: Iterable[str], seconds: float, *options: str) -> None:
    try:
        _asked("fetch", "--no-tags", *options, "--stdin", ORIGIN, seconds=seconds, given="\n".join(wanted) + "\n")
    except subprocess.CalledProcessError as error:
        raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None


def push(names: Sequence[str], branch: str | None) -> Literal["pushed", "lost"]:
    """Push tags, and the branch that is checked out, all or nothing. "lost" if others were faster.

    Raises UnreachableError if origin cannot be reached, and KibanError if it takes them from nobody here.
    """
    refs = [f"refs/tags/{name}" for name in names] + ([f"HEAD:refs/heads/{branch}"] if branch else [])
    try:
        _asked("push", "--quiet", "--porcelain", "--atomic", ORIGIN, *refs, seconds=SECONDS)
    except subprocess.CalledProcessError as error:
        if set(names) & tags().keys() or (branch and _has_moved(branch)):
            return "lost"
        raise KibanError(f"{ORIGIN} did not take the tags: {_said(error)}") from None
    return "pushed"


def push_refs(refs: Mapping[str, str]) -> bool:
    """Let refs of origin be these commits, or go, if the commit is "", all or nothing. False if it has others there.

    Raises UnreachableError if origin cannot be reached, and KibanError if it takes them from nobody here.
    """
    try:
        _asked("push", "--quiet", "--atomic", ORIGIN, *(f"{to}:{ref}" for ref, to in refs.items()), seconds=SECONDS)
    except subprocess.CalledProcessError as error:
        if any(to and at(ref) not in (None, to) for ref, to in refs.items()):
            return False
        raise KibanError(f"{ORIGIN} did not take {', '.join(refs)}: {_said(error)}") from None
    return True


def at(ref: str) -> str | None:
    """The commit of a ref at origin, or None if it has none."""
    lines = _asked("ls-remote", ORIGIN, ref, seconds=SECONDS).split()
    return lines[0] if lines else None


def brought(ref: str) -> str | None:
    """The commit of a ref at origin, which is here now, without a ref of its own; None if origin has none.

    Raises UnreachableError if origin does not answer.
    """
    if (commit := at(ref)) is not None:
        try:
            _asked("fetch", "--quiet", "--no-tags", ORIGIN, ref, seconds=SECONDS)
        except subprocess.CalledProcessError as error:
            raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None
    return commit


def default() -> str:
    """The branch that origin gives to a new clone, as origin says now; "" if it has none."""
    said = _asked("ls-remote", "--symref", ORIGIN, "HEAD", seconds=SECONDS)
    return said.removeprefix("ref: refs/heads/").split("\t")[0] if said.startswith("ref: refs/heads/") else ""


def remove_refs(names: Sequence[str]) -> None:
    """Remove refs from origin, and here. Raises as `push_refs` does."""
    if names:
        push_refs(dict.fromkeys(names, ""))
        git(Path(), "update-ref", "--stdin", given="".join(f"delete {name}\n" for name in names))


def runs() -> list[str]:
    """The refs of all steps of all runs, which are brought here. Raises UnreachableError if origin does not answer."""
    fetch_refs([f"{RUNS}/*"])
    return git(Path(), "for-each-ref", "--format=%(refname)", RUNS).split()


def put(branch: str) -> None:
    """Let a branch of origin, which belongs to the cycle alone, be HEAD. Raises KibanError if that is refused."""
    try:
        _asked("push", "--quiet", "--force", ORIGIN, f"HEAD:refs/heads/{branch}", seconds=SECONDS)
    except subprocess.CalledProcessError as error:
        raise KibanError(f"{ORIGIN} did not take {branch}: {_said(error)}") from None


def _has_moved(branch: str) -> bool:
    """Whether the branch at origin has a commit that this clone's has not."""
    theirs = _asked("ls-remote", "--heads", ORIGIN, f"refs/heads/{branch}", seconds=SECONDS).split()
    return bool(theirs) and theirs[0] not in git(Path(), "rev-list", "HEAD").split()


def main() -> str | None:
    """The branch of origin that its HEAD names, or else its main or master; None if it has neither."""
    name = git(Path(), "for-each-ref", "--format=%(symref:lstrip=3)", f"refs/remotes/{ORIGIN}/HEAD").strip()
    names = [f"refs/remotes/{ORIGIN}/{each}" for each in ("main", "master")]
    there = git(Path(), "for-each-ref", "--format=%(refname:lstrip=3)", *names).split()
    return name or (there[0] if there else None)


def has(commit: str) -> bool:
    """Whether a branch of origin, as it was fetched last, has the commit."""
    return bool(git(Path(), "branch", "--remotes", "--contains", commit, "--list", f"{ORIGIN}/*").split())


def tags(seconds: float = SECONDS) -> dict[str, str]:
    """The object of each tag that origin has. Raises UnreachableError if it cannot be reached."""
    try:
        lines = _asked("ls-remote", "--tags", "--refs", ORIGIN, seconds=seconds).splitlines()
    except subprocess.CalledProcessError as error:
        raise UnreachableError(f"{ORIGIN} cannot be reached: {_said(error)}") from None
    pairs = (line.split("\t") for line in lines)
    return {name.removeprefix("refs/tags/"): digest for digest, name in pairs}
