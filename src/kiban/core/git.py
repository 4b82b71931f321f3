"""Running git."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kiban.core.errors import KibanError

REDIRECTING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
"""Variables by which git would read another repository than that of the folder, as in a hook of another one."""


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


def merging(folder: Path) -> str | None:
    """The commit that is being merged into the branch that is checked out, or None.

    Raises CalledProcessError and OSError as `git` does.
    """
    path = folder / git(folder, "rev-parse", "--git-path", "MERGE_HEAD").strip()
    return path.read_text(encoding="ascii").strip() if path.exists() else None


EXPERIMENTS = "refs/exps"
"""Where DVC keeps its experiments, whose names are the ends of references."""


def commit_of(name: str, root: Path = Path()) -> str:
    """The commit that a revision of git, or else an experiment of DVC, is.

    Raises KibanError if there is none here, or if several experiments have the name.
    """
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except (OSError, subprocess.CalledProcessError):
        commits = _experiments(name, root)
    if len(commits) > 1:
        raise KibanError(f"{name} may mean {' or '.join(commits)}: give the commit") from None
    if not commits:
        raise KibanError(f"there is no revision {name!r}: `git log` lists commits, `dvc exp list -A` experiments")
    return commits.pop()


def _experiments(name: str, root: Path) -> set[str]:
    """The commits of the experiments of this name."""
    try:
        listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", EXPERIMENTS)
    except (OSError, subprocess.CalledProcessError):
        return set()
    lines = (line.split(" ", 1) for line in listed.splitlines())
    # refs/exps/AB/CDEF…/NAME, of the commit that it began at
    return {commit for commit, ref in lines if ref.count("/") == 4 and ref.endswith(f"/{name}")}


def content(commit: str, path: Path) -> str | None:
    """A file of a commit, whose path is from here, or None if the commit has none."""
    try:
        return git(Path(), "show", f"{commit}:./{path}")
    except subprocess.CalledProcessError:
        return None


def prefix(folder: Path) -> str:
    """The path from git's root to `folder`, ending in /; empty if `folder` is the root.

    Raises CalledProcessError and OSError as `git` does.
    """
    return git(folder, "rev-parse", "--show-prefix").removesuffix("\n")


def contents(root: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The files that git knows by these names, such as COMMIT:PATH, as bytes. Those that it does not know are left out.

    Raises CalledProcessError and OSError as `git` does.
    """
    given = "".join(f"{name}\n" for name in names).encode(errors="surrogateescape")
    command = ["git", "cat-file", "--batch"]
    said = subprocess.run(command, cwd=root, env=_environment({}), input=given, check=True, capture_output=True).stdout
    place = 0
    for _ in names:
        end = said.index(b"\n", place)
        header = said[place:end].split(b" ")
        place = end + 1
        if header[-2:-1] == [b"blob"]:
            size = int(header[-1])
            yield said[place : place + size]
            place += size + 1


def git(
    root: Path,
    *arguments: str,
    given: str | None = None,
    seconds: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """The standard output of `git` in the folder `root`, which reads `given`, with these environment variables too.

    Raises CalledProcessError if git fails, TimeoutExpired if it takes longer than `seconds`, and OSError if git is not
    installed.
    """
    command = ["git", *arguments]
    return subprocess.run(
        command,
        cwd=root,
        env=_environment(variables or {}),
        check=True,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",  # names, and lines of files, may be of another encoding
        input=given,
        timeout=seconds,
    ).stdout


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what leads to another repository, in which git speaks English."""
    kept = {name: value for name, value in os.environ.items() if name not in REDIRECTING}
    return {**kept, "LC_ALL": "C", **variables}  # its messages are read
