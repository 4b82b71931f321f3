"""A run on several machines, in git: each step leaves one commit, on a ref of its own.

    refs/kiban/runs/RUN/STAGE

Its parent is the commit that all machines have checked out. It holds what the step changed of what git keeps, the
step's own entry of dvc.lock, and, of two folders that git ignores, what spares later runs work: results that were
computed, and runs that wait for MLflow. So the commits of steps side by side can all be laid over that one commit.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import content, git, prefix
from kiban.operate import remote
from kiban.operate.remote import RUNS

HELPERS = (paths.CACHE, paths.OUTBOX)
"""The folders that git ignores, of which a step leaves what later runs need."""
KEPT_RUNS, KEPT_DAYS = 5, 14
"""A run is forgotten when it is neither among the newest nor young."""
SOMEBODY = {"NAME": "kiban", "EMAIL": "kiban@localhost"}
"""Who makes a commit on a machine where git was told no name."""

DELETED = f"0 {'0' * 40}"

Files = dict[str, str]
"""By path from the root of git: the mode and the blob, or "" if the file was deleted."""


class Step(NamedTuple):
    """A step that is done: its stage and its commit."""

    stage: str
    commit: str


def name_of(run: str) -> str:
    """The name of a run as a part of a ref, after the folder of the project in the repository, as in runners/clone.sh.

    A scheduler's name may have colons and more. Raises KibanError if nothing is left of it.
    """
    if not re.search(r"\w", run, re.ASCII):
        raise KibanError(f"--run {run!r}: give a name with a letter or a digit")
    return re.sub(r"[^A-Za-z0-9_]+", "-", f"{prefix(Path())}{run}").strip("-")


def fetch(run: str, base: str) -> dict[str, Step]:
    """The steps of a run that are done, by their stage.

    Raises KibanError if one of them began at another commit than `base`, or if origin cannot be reached.
    """
    remote.fetch_refs([f"{RUNS}/{run}/*"])
    done = {}
    for line in git(
        Path(), "for-each-ref", "--format=%(refname) %(objectname) %(parent)", f"{RUNS}/{run}"
    ).splitlines():
        name, commit, parent = line.split(" ", 2)
        stage = name.removeprefix(f"{RUNS}/{run}/")
        if parent != base:
            raise KibanError(
                f"the step {stage} of the run {run} began at the commit {parent[:7]}, and this clone is at {base[:7]}: "
                "check that commit out, or begin another run"
            )
        done[stage] = Step(stage, commit)
    return done


def earlier(run: str, stage: str) -> str | None:
    """The commit of the same step of the newest other run that has left something to this project, or None."""
    remote.fetch_refs([f"{RUNS}/*/{stage}"])
    lines = git(Path(), "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", RUNS).splitlines()
    of_stage = [line.split(" ") for line in lines if line.endswith(f"/{stage}")]
    others = (commit for commit, name in of_stage if name != f"{RUNS}/{run}/{stage}")
    return next((commit for commit in others if git(_top(), "ls-tree", commit, "--", *_helpers())), None)


def push(run: str, step: Step) -> bool:
    """Let origin have a step. False if it has another commit of this step already."""
    return remote.push_refs({f"{RUNS}/{run}/{step.stage}": step.commit})


def forget_old() -> list[str]:
    """Remove the runs from origin that nobody needs any more, and return their names."""
    remote.fetch_refs([f"{RUNS}/*"])
    lines = git(Path(), "for-each-ref", "--format=%(committerdate:unix) %(refname)", RUNS).splitlines()
    newest: dict[str, int] = {}
    for line in lines:
        date, name = line.split(" ")
        run = name.removeprefix(f"{RUNS}/").partition("/")[0]
        newest[run] = max(newest.get(run, 0), int(date))
    ordered = sorted(newest, key=newest.__getitem__, reverse=True)
    old = [run for run in ordered[KEPT_RUNS:] if newest[run] < time.time() - KEPT_DAYS * 86_400]
    remote.remove_refs([line.split(" ")[1] for line in lines if line.split("/")[3] in old])
    return old


def lay(base: str, steps: Sequence[Step], before: Mapping[str, Sequence[str]]) -> None:
    """Give the working tree, which is that of `base`, what steps have made, each after those that come before it.

    Raises KibanError if two stages, of which neither is `before` the other, have made one file differently.
    """
    laid: dict[str, tuple[str, str]] = {}
    helpers, lock_path = _helpers(), from_root(paths.LOCK)
    for step in steps:
        own = {path: blob for path, blob in changed(base, step.commit).items() if path != lock_path}
        for path, blob in own.items():
            stage, other = laid.get(path, (step.stage, blob))
            if other != blob and not path.startswith(helpers) and stage not in before[step.stage]:
                raise KibanError(
                    f"{path}: the stages {stage} and {step.stage} of the run have both made it, differently"
                )
            laid[path] = step.stage, blob
        _restore(step.commit, own)
    if steps:
        lock = paths.LOCK.read_text() if paths.LOCK.exists() else ""
        paths.LOCK.write_text(_with_entries(lock, [_entry(step) for step in steps]))


def lay_helpers(commit: str) -> None:
    """Give the working tree what a step of an earlier run has left in the folders that git ignores."""
    listing = git(_top(), "ls-tree", "-r", "-z", commit, "--", *_helpers()).split("\0")
    _restore(commit, {path: head.split(" ")[2] for head, path in (line.split("\t", 1) for line in listing if line)})


def record(base: str, before: str, stage: str, message: str) -> Step:
    """The commit of a step whose working tree was the tree `before` when its stage began."""
    project, lock_path = prefix(Path()), from_root(paths.LOCK)
    entries = {path: blob for path, blob in changed(before, snapshot(base)).items() if path != lock_path}
    files = (path for folder in HELPERS for path in sorted(folder.rglob("*")) if path.is_file())
    used = [f"{project}{path.as_posix()}" for path in files if _is_needed(path)]
    names = "".join(f"{path}\n" for path in used)
    digests = git(_top(), "hash-object", "-w", "--no-filters", "--stdin-paths", given=names).split()
    entries |= {path: f"100644 {digest}" for path, digest in zip(used, digests, strict=True)}
    if (entry := _entries(paths.LOCK.read_bytes()).get(stage)) is not None:
        lock = _with_entries(content(base, paths.LOCK) or "", [(stage, entry)])
        digest = git(Path(), "hash-object", "-w", "--stdin", given=lock).strip()
        entries[lock_path] = f"100644 {digest}"
    given = "".join(f"{blob or DELETED}\t{path}\0" for path, blob in entries.items())
    with _index(base) as index:
        git(Path(), "update-index", "-z", "--index-info", given=given, variables=index)
        tree = git(Path(), "write-tree", variables=index).strip()
    return Step(stage, commit(tree, base, message))


def snapshot(base: str, new: Sequence[str] | None = None) -> str:
    """The tree of what git keeps of the working tree. Of files that it does not know, all count, or only `new`."""
    with _index(base) as index:
        git(Path(), "add", "--all" if new is None else "--update", "--", ".", variables=index)
        if there := [path for path in new or () if Path(path).exists()]:
            git(Path(), "add", "--", *there, variables=index)
        return git(Path(), "write-tree", variables=index).strip()


def commit(tree: str, parent: str, message: str, seconds: int | None = None) -> str:
    """A commit of a tree, at a time in seconds since 1970, or now."""
    who = {} if _has_name() else {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in SOMEBODY.items()}
    if seconds is not None:
        who |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{seconds} +0000")
    return git(Path(), "commit-tree", tree, "-p", parent, "-F", "-", given=message, variables=who).strip()


def changed(old: str, new: str) -> Files:
    """The files of this project that differ from one tree or commit to another."""
    raw = git(_top(), "diff-tree", "-r", "-z", "--no-renames", old, new, "--", prefix(Path()) or ".").split("\0")
    files = {}
    for head, path in zip(raw[::2], raw[1::2], strict=False):
        _, mode, _, blob, kind = head.split(" ")
        files[path] = "" if kind == "D" else f"{mode} {blob}"
    return files


def _restore(commit: str, files: Mapping[str, str]) -> None:
    """Write files of a commit to the working tree, and remove those that it has deleted."""
    top, helpers = _top(), _helpers()
    there = [path for path, blob in files.items() if blob]
    for path in files.keys() - there:
        (top / path).unlink(missing_ok=True)
    if there:
        options = (f"--source={commit}", "--worktree", "--pathspec-from-file=-", "--pathspec-file-nul")
        git(top, "restore", *options, given="\0".join(there), variables={"GIT_LITERAL_PATHSPECS": "1"})
    for path in there:
        if path.startswith(helpers):
            os.utime(top / path, (0, 0))  # so that its use shows: core.memo gives it the present time


def _is_needed(path: Path) -> bool:
    """Whether later runs need a file of HELPERS: a result that this step has used, or a run that waits."""
    if paths.OUTBOX in path.parents:
        return len(path.relative_to(paths.OUTBOX).parts) > 1
    return path.suffix == ".json" and path.stat().st_mtime > 0


def _entry(step: Step) -> tuple[str, Any]:
    """The stage of a step and its entry of dvc.lock."""
    return step.stage, _entries((content(step.commit, paths.LOCK) or "").encode())[step.stage]


def _entries(lock: bytes) -> dict[str, Any]:
    """The entries of a dvc.lock by stage."""
    return dict((yaml.load(lock, yaml.CSafeLoader) or {}).get("stages", {}))


def _with_entries(lock: str, entries: Sequence[tuple[str, Any]]) -> str:
    """A dvc.lock with the entries of stages, byte for byte as DVC writes it (dvc/utils/serialize/_yaml.py)."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    content = parse_yaml_for_update(lock, paths.LOCK) or {"schema": "2.0"}
    content.setdefault("stages", {}).update(entries)
    return str(dumps_yaml(content))


@contextmanager
def _index(base: str) -> Iterator[dict[str, str]]:
    """The variables with which git uses an index of its own, which is that of a commit."""
    with TemporaryDirectory() as folder:
        variables = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(Path(), "read-tree", base, variables=variables)
        yield variables


def tree_of(commit: str) -> str:
    """The tree of a commit."""
    return git(Path(), "rev-parse", f"{commit}^{{tree}}").strip()


def _has_name() -> bool:
    try:
        git(Path(), "var", "GIT_COMMITTER_IDENT")
    except subprocess.CalledProcessError:
        return False
    return True


def _top() -> Path:
    return Path(git(Path(), "rev-parse", "--show-toplevel").removesuffix("\n"))


def from_root(path: Path) -> str:
    return f"{prefix(Path())}{path.as_posix()}"


def _helpers() -> tuple[str, ...]:
    return tuple(f"{from_root(folder)}/" for folder in HELPERS)
