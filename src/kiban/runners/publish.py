"""The result of a run as one commit: a branch to be looked at, or an experiment. Never the default branch."""

import time
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, git
from kiban.operate import push, remote
from kiban.runners import graph, refs
from kiban.runners.step import SECONDS, check_clean, lay

SPARED = ("main", "master")
"""Branches that are never written to, whatever origin calls its default one."""


def publish(run: str, branch: str | None, is_here: bool) -> None:
    """Let origin have the result of a run, as the branch `branch`, or kiban-run-RUN.

    It is what the steps have made, or, if `is_here`, what was run in this working tree, whose outputs are sent to the
    store first. If other parameters were run than those of the commit it is an experiment, which `dvc exp show` lists.
    Nothing is published where nothing has changed. Raises KibanError if a step is not done, and if origin has another
    branch or experiment of that name.
    """
    base = commit_of("HEAD")
    branch = branch or f"kiban-run-{run}"
    if branch in (*SPARED, remote.default(), git(Path(), "branch", "--show-current").strip()):
        raise KibanError(f"--branch {branch}: name another one, from which a pull request can be made")
    if is_here:
        push.push(None, SECONDS)
        seconds = int(time.time())
    else:
        check_clean()
        done = refs.fetch(run, base)
        before = graph.before()
        lay(list(before), before, done, run, base)
        # The same steps give the same commit, so that a repetition changes nothing.
        seconds = max(int(git(Path(), "show", "--no-patch", "--format=%ct", step.commit)) for step in done.values())
    tree = refs.snapshot(base, graph.kept_by_git() if is_here else None)
    changes = refs.changed(base, tree)
    if not changes:
        print(f"publish: the run {run} has changed nothing")
        return
    is_experiment = refs.from_root(paths.PARAMS) in changes
    ref = f"refs/exps/{base[:2]}/{base[2:]}/{run}" if is_experiment else f"refs/heads/{branch}"
    message = _message(base, refs.commit(tree, base, "", seconds), run)
    commit = refs.commit(tree, base, message, seconds)
    there = remote.brought(ref)
    if there is not None and (refs.tree_of(there), commit_of(f"{there}^")) == (tree, base):
        commit = there  # a repetition
    elif there is not None or not remote.push_refs({ref: commit}):
        raise KibanError(f"origin has another {ref.removeprefix('refs/heads/')}: remove it there, or name another one")
    print(message.partition("\n")[0])
    print(f"publish: {'the experiment ' + run if is_experiment else 'the branch ' + branch} is at {commit[:7]}")


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
    return f"{title.lstrip('# ')}\n\nThe run {run}.\n{text}"
