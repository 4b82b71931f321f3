"""One stage, run in a fresh clone on a machine of its own, and what it made handed on to the stages after it."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, content, git
from kiban.core.store import PATIENCE
from kiban.maintain.pull import pull
from kiban.operate import push
from kiban.runners import graph, refs

INGEST = "ingest"
SECONDS = 3600
"""The longest that the outputs of a stage may take to be sent."""


def step(stage: str, run: str, overrides: Sequence[str], new: bool, until: str | None) -> None:
    """Run a stage of the run `run`, if origin does not have that step yet, and let origin have it.

    The working directory is a clone at the commit that the run begins from, in which nothing is changed. `overrides` of
    conf/ are taken by the stage that begins the run. With `new`, the stage ingest first takes what its sources have and
    the ledger lacks, up to the batch `until`. Raises KibanError if a stage before it is not done, if what that made is
    not there, and if the stage fails.
    """
    base = commit_of("HEAD")
    check_clean()
    before = graph.before()
    if stage not in before:
        raise KibanError(f"dvc.yaml has no stage {stage!r}: it has {', '.join(before)}")
    done = refs.fetch(run, base)
    is_first = not before[stage]
    if stage in done:
        if is_first:
            _check_overrides(done[stage], run, overrides)
        print(f"step: {stage} of the run {run} is done already")
        return
    lay(before[stage], before, done, run, base)
    if (earlier := refs.earlier(run, stage)) is not None:
        refs.lay_helpers(earlier)
    tree = refs.snapshot(base)
    if is_first:
        _check_store(base)
        with suppress(KibanError):  # another machine may do the same just now
            refs.forget_old()
        if overrides:
            _run("kiban", "compose", *overrides)
    if new and stage == INGEST:
        _run("kiban", "ingest", "--new", *(["--until", until] if until else []))
    read = graph.read(stage)
    if graph.is_changed(read):
        _bring(read)
        _reproduce(stage)
    else:
        print(f"step: nothing that {stage} depends on has changed")
    _deliver()
    message = f"{stage} of the run {run}\n" + (f"\n{shlex.join(overrides)}\n" if is_first and overrides else "")
    made = refs.record(base, tree, stage, message)
    print(f"step: {stage} of the run {run} is {'done' if refs.push(run, made) else 'done: another machine was faster'}")


def every(run: str, overrides: Sequence[str], new: bool, until: str | None) -> None:
    """Run all stages of a run as steps in this clone, one after another, and leave its working tree as it was.

    What an interrupted run has done is not done again. Raises KibanError as `step` does.
    """
    check_clean()
    for stage in graph.before():
        try:
            step(stage, run, overrides, new, until)
        finally:
            restore()


def restore() -> None:
    """Let the working tree, in which nothing was changed before, be that of its commit again."""
    git(Path(), "checkout", "--quiet", "HEAD", "--", ".")
    git(Path(), "clean", "--quiet", "--force", "-d", "--", ".")


def _check_overrides(first: refs.Step, run: str, overrides: Sequence[str]) -> None:
    """Raise KibanError if a run was begun with other overrides: what it has made is of those."""
    began = git(Path(), "show", "--no-patch", "--format=%b", first.commit).strip()
    if began != shlex.join(overrides):
        raise KibanError(
            f"the run {run} began with {began or 'no overrides'}, and not with {shlex.join(overrides) or 'none'}: "
            "name another run"
        )


def _check_store(base: str) -> None:
    """Raise KibanError if the store cannot be asked, before hours of work could not be sent to it.

    Says so if the store lacks what the commit names: what has not changed is taken from there.
    """
    if content(base, paths.LOCK) is None:
        return
    answer = push.check(base, None, PATIENCE)
    if answer.state == "not checked":
        raise KibanError(f"the store cannot be asked: {answer.sentence.partition('; ')[2]}")
    if answer.state == "not pushed":
        print(f"warning: {answer.line}, where that was made", file=sys.stderr)


def _reproduce(stage: str) -> None:
    """Run a stage, whose inputs are here now, if it has to run, and send what it makes to the store."""
    if not graph.is_changed(graph.read(stage)):
        print(f"step: nothing that {stage} depends on has changed, as its inputs show")
        return
    _run("dvc", "repro", "--single-item", stage)
    sent = push.push(None, SECONDS, stage)
    print(f"step: {sent.files} files sent to the store")


def lay(
    stages: Sequence[str], before: Mapping[str, Sequence[str]], done: Mapping[str, refs.Step], run: str, base: str
) -> None:
    """Lay what stages have made. Raises KibanError if one of them is not done."""
    if lacking := [each for each in stages if each not in done]:
        raise KibanError(
            f"{lacking[0]} of the run {run} is not done: `kiban step {lacking[0]} --run {run}` comes before"
        )
    refs.lay(base, [done[each] for each in sorted(stages, key=lambda each: len(before[each]))], before)


def check_clean() -> None:
    """Raise KibanError if the working tree is not that of its commit: what differs would be taken for a step's."""
    if changes := git(Path(), "status", "--porcelain", "--", ".").splitlines():
        raise KibanError(
            f"{changes[0][3:]} is changed: a step begins in a fresh clone, or after `git stash --include-untracked`"
        )


def _bring(stage: graph.Stage) -> None:
    """Bring what a stage reads and adds to. Raises KibanError if that is not what the stages before it made."""
    problem = pull(PATIENCE, "any", graph.needs(stage)).problem
    try:
        graph.check(stage)
    except KibanError as error:
        raise KibanError(f"{error}{f'; {problem}' if problem else ''}") from None


def _deliver() -> None:
    """Deliver runs that wait for MLflow since an earlier run. It is never in the way."""
    if any(path.is_dir() for path in paths.OUTBOX.glob("*")):
        subprocess.run(["kiban", "track", "--deliver"], check=False)


def _run(*command: str) -> None:
    """Run a command of the user's. Raises KibanError if it fails; it has said why."""
    if subprocess.run(command, check=False).returncode:
        raise KibanError(f"`{' '.join(command)}` failed, see above")
