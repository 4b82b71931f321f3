"""The result of a run as one commit: a branch to be looked at, or an experiment. Never the default branch."""

import time
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, git
from kiban.operate import push, remote
from kiban.runners import graph, refs
from kiban.runners.step import SECONDS, check_clean, lay, restore

SPARED = ("main", "master")
"""Branches that are never written to, whatever origin calls its default one."""


def publish(run: str, branch: str | None, is_here: bool) -> None:
    """Let origin have the result of a run, as the branch `branch`, or kiban-run-RUN.

    It is what the steps have made, or, if `is_here`, what was run in this working tree, whose outputs are sent to the
    store first. If other parameters were run than those of the commit it is an experiment, which `dvc exp show` lists.
    Nothing is published where nothing has changed. Raises KibanError if a step is not done, and if origin has another
    branch or experiment of that name.
    """
    base, wanted = commit_of("HEAD"), branch
    branch = branch or f"kiban-run-{run}"
    if branch in (*SPARED, remote.default(), git(Path(), "branch", "--show-current").strip()):
        raise KibanError(f"--branch {branch}: name another one, from which a pull request can be made")
    if is_here:
        _check_run()
        push.push(None, SECONDS)
        tree, seconds = refs.snapshot(base, graph.kept_by_git()), int(time.time())
    else:
        tree, seconds = _of_steps(run, base)
    changes = refs.changed(base, tree)
    if not changes:
        print(f"publish: the run {run} has changed nothing")
        return
    is_experiment = refs.from_root(paths.PARAMS) in changes
    if is_experiment and wanted:
        raise KibanError(
            f"--branch {wanted}: other parameters than those of the commit make an experiment: leave it out"
        )
    ref = f"refs/exps/{base[:2]}/{base[2:]}/{run}" if is_experiment else f"refs/heads/{branch}"
    message = _message(base, refs.commit(tree, base, "", seconds), run)
    commit = refs.commit(tree, base, message, seconds)
    there = remote.brought(ref)
    if there is not None and (refs.tree_of(there), commit_of(f"{there}^")) == (tree, base):
        commit = there  # a repetition
    elif there is not None or not remote.push_refs({ref: commit}):
        raise KibanError(
            f"origin has another {ref.removeprefix('refs/heads/')}: `git push origin --delete {ref}` removes it, "
            "or give another name"
        )
    print(message.partition("\n")[0])
    print(f"publish: {'the experiment ' + run if is_experiment else 'the branch ' + branch} is at {commit[:7]}")


def _check_run() -> None:
    """Raise KibanError if a stage has to run: the results are of other code, data or parameters then."""
    for stage in graph.read_all():
        if graph.is_changed(stage):
            raise KibanError(f"the stage {stage.own.addressing} has not run with what is here: `dvc repro` comes first")


def _of_steps(run: str, base: str) -> tuple[str, int]:
    """The tree that the steps of a run have made, and the time of the last one. The working tree stays as it is."""
    check_clean()
    done, before = refs.fetch(run, base), graph.before()
    try:
        lay(list(before), before, done, run, base)
        # The same steps give the same commit, so that a repetition changes nothing.
        seconds = max(int(git(Path(), "show", "--no-patch", "--format=%ct", step.commit)) for step in done.values())
        return refs.snapshot(base), seconds
    finally:
        restore()


def _message(base: str, commit: str, run: str) -> str:
    """The verdict in one line, then the report."""
    from kiban.review.comparison import compare
    from kiban.review.report import markdown
    from kiban.review.revision import Revision

    before, after = Revision(base), Revision(commit)
    try:
        report = markdown(before, after, compare(before, after), {})
    except KibanError as error:
        return f"Run {run}: no report: {error}\n"
    title, _, text = report.partition("\n")
    text = text.replace(f"{commit} ({commit[:7]})", "this commit").replace(commit, "this commit")
    return f"{title.lstrip('# ')}\n\nThe run {run}.\n{text}"
