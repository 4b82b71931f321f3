"""`kiban step` on a small graph, with two stages side by side. Each step has a fresh clone, and all share a store."""

import contextlib
import itertools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
from clones import commit, environment, run

from kiban.cli import commands
from kiban.core.errors import KibanError
from kiban.core.git import commit_of
from kiban.runners import refs
from kiban.runners.publish import publish
from kiban.runners.step import every, step

GRAPH = """\
stages:
  numbers: {cmd: seq $(wc -l < params.yaml) > numbers.txt, deps: [params.yaml], outs: [numbers.txt]}
  even:
    cmd: mkdir -p even && cp numbers.txt even/$(cksum < numbers.txt | cut -d ' ' -f 1) && cp numbers.txt even/last
    deps: [numbers.txt]
    outs: [even: {persist: true}]
  odd: {cmd: head -n 1 numbers.txt > odd.txt, deps: [numbers.txt], outs: [odd.txt: {cache: false}]}
  both: {cmd: cat even/last odd.txt > both.txt, deps: [even/last, odd.txt], outs: [both.txt]}
"""
PARAMS = "dataset: {tables: {numbers: {}}}\n"
STAGES = ("numbers", "odd", "even", "both")
Clone = Callable[[], Path]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def begun(once: Callable[..., Path]) -> Path:
    """A bare repository of the graph, with a store beside it, and all steps but the last of the run one."""

    def fill(folder: Path) -> None:
        first = folder / "first"
        run(folder, "git", "init", "-q", "-b", "main", "first")
        run(first, "dvc", "init", "-q")
        run(first, "dvc", "remote", "add", "-q", "-d", "store", "../store")
        (first / "dvc.yaml").write_text(GRAPH)
        (first / "params.yaml").write_text(PARAMS)
        (first / ".gitignore").write_text("/numbers.txt\n/even\n/both.txt\n/.kiban_cache\n/.kiban_outbox\n")
        commit(first, "a graph")
        run(folder, "git", "clone", "-q", "--bare", "first", "origin.git")
        shutil.rmtree(first)
        for stage in STAGES[:-1]:
            run(folder, "git", "clone", "-q", "origin.git", "clone")
            run(folder / "clone", "kiban", "step", stage, "--run", "one")
            shutil.rmtree(folder / "clone")

    return once("steps", fill)


@pytest.fixture
def origin(begun: Path, tmp_path: Path) -> Path:
    """The bare repository."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return tmp_path / "origin.git"


@pytest.fixture
def fresh(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """Makes a fresh clone, which is the working directory then."""
    names: Iterator[int] = itertools.count()

    def made() -> Path:
        folder = tmp_path / f"clone{next(names)}"
        run(tmp_path, "git", "clone", "-q", str(origin), str(folder))
        monkeypatch.chdir(folder)
        return folder

    return made


def steps(fresh: Clone, *stages: str, run: str = "one") -> None:
    for stage in stages:
        fresh()
        step(stage, run, [], new=False, until=None)


def published(fresh: Clone, run: str = "one") -> Path:
    """A fresh clone with the branch of a run, and its data."""
    fresh()
    publish(run, None, is_here=False)
    whole = fresh()
    git("checkout", "-q", f"kiban-run-{run}")
    command("dvc", "pull", "--quiet")
    return whole


def git(*arguments: str) -> str:
    return command("git", *arguments)


def command(*words: str) -> str:
    return run(Path.cwd(), *words)


def test_steps_in_fresh_clones_end_as_one_run(origin: Path, fresh: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    steps(fresh, "both")
    made = published(fresh)
    assert (made / "both.txt").read_text() == "1\n1\n"
    assert command("dvc", "status", "--quiet") == ""
    assert git("diff", "--name-only", "main").split() == ["dvc.lock", "odd.txt"]
    lock = (made / "dvc.lock").read_bytes()
    branches = run(origin, "git", "for-each-ref", "refs/heads")
    fresh()
    command("dvc", "repro")
    assert Path("dvc.lock").read_bytes() == lock

    fresh()
    for branch in ("main", "master"):
        with pytest.raises(KibanError, match="name another one, from which a pull request can be made"):
            publish("one", branch, is_here=False)
    publish("one", None, is_here=False)
    assert run(origin, "git", "for-each-ref", "refs/heads") == branches  # nothing new
    assert git("status", "--porcelain") == ""
    there = git("log", "-1", "--format=%B", "origin/kiban-run-one")
    assert not re.search(r"→ [0-9a-f]{40}", there)  # of a commit that is nowhere
    git("push", "-q", "origin", "origin/kiban-run-one:main")
    steps(fresh, *STAGES, run="two")
    assert "nothing that both depends on has changed, as its inputs show" in capsys.readouterr().out
    fresh()
    publish("two", None, is_here=False)
    assert "the run two has changed nothing" in capsys.readouterr().out


def test_a_stage_adds_to_what_only_the_store_has(fresh: Clone) -> None:
    steps(fresh, "both")
    published(fresh)
    Path("params.yaml").write_text(PARAMS + "more: 1\n")
    git("commit", "-q", "-a", "-m", "more")
    git("push", "-q", "origin", "HEAD:main")
    steps(fresh, *STAGES, run="two")
    made = published(fresh, "two")
    assert len(list((made / "even").iterdir())) == 3
    assert (made / "both.txt").read_text() == "1\n2\n1\n"


def test_all_steps_in_one_clone_end_as_in_many(fresh: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that another machine had done before it was killed are taken from it."""
    steps(fresh, "both")
    lock = (published(fresh) / "dvc.lock").read_bytes()
    fresh()
    every("one", [], new=False, until=None)
    assert capsys.readouterr().out.count("is done already") == 4
    every("alone", [], new=False, until=None)
    assert git("status", "--porcelain") == ""
    assert (published(fresh, "alone") / "dvc.lock").read_bytes() == lock

    Path("params.yaml").write_text("changed: here\n")
    Path("notes.txt").write_text("ours\n")
    with pytest.raises(KibanError, match="is changed: a step begins in a fresh clone"):
        every("other", [], new=False, until=None)
    assert (Path("params.yaml").read_text(), Path("notes.txt").read_text()) == ("changed: here\n", "ours\n")


def test_a_store_that_cannot_be_asked_ends_a_run_before_it_works(
    fresh: Clone, capsys: pytest.CaptureFixture[str]
) -> None:
    steps(fresh, "both")
    published(fresh)
    git("push", "-q", "origin", "HEAD:main")
    fresh()
    shutil.rmtree("../store")
    step("numbers", "two", [], new=False, until=None)
    assert "warning: not pushed: " in capsys.readouterr().err
    fresh()
    command("dvc", "remote", "remove", "store")
    git("commit", "-q", "-a", "-m", "no store")
    with pytest.raises(KibanError, match="the store cannot be asked: there is no remote yet: `dvc remote add -d store"):
        step("numbers", "three", [], new=False, until=None)


def test_a_step_that_is_done_does_nothing(origin: Path, fresh: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    before = run(origin, "git", "for-each-ref")
    steps(fresh, "numbers")
    assert "numbers of the run one is done already" in capsys.readouterr().out
    fresh()
    with pytest.raises(
        KibanError, match="the run one began with no overrides, and not with model=none: name another run"
    ):
        step("numbers", "one", ["model=none"], new=False, until=None)
    assert run(origin, "git", "for-each-ref") == before
    assert not Path("numbers.txt").exists()


def test_of_two_that_do_one_step_both_end_well(fresh: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast, push = fresh(), fresh(), refs.push

    def second(*arguments: Any) -> bool:
        with contextlib.chdir(fast), mock.patch.object(refs, "push", push):
            step("both", "one", [], new=False, until=None)
        return push(*arguments)

    with contextlib.chdir(slow), mock.patch.object(refs, "push", second):
        step("both", "one", [], new=False, until=None)
    assert "another machine was faster" in capsys.readouterr().out
    published(fresh)


def test_a_step_needs_those_before_it(fresh: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    with pytest.raises(KibanError, match="numbers of the run two is not done: `kiban step numbers --run two` comes"):
        step("both", "two", [], new=False, until=None)
    with pytest.raises(KibanError, match="dvc.yaml has no stage 'all': it has numbers, even, odd, both"):
        step("all", "one", [], new=False, until=None)
    with pytest.raises(click.UsageError, match="OVERRIDEs are for the stage that begins a run: odd takes"):
        commands.commands["step"].main(["odd", "model=none", "--run", "two"], standalone_mode=False)
    with monkeypatch.context() as patch:
        patch.setenv("KIBAN_OVERRIDES", "a='b")
        with pytest.raises(KibanError, match="KIBAN_OVERRIDES cannot be read as words: No cl"):
            commands.commands["step"].main(["numbers", "--run", "two"], standalone_mode=False)
    with pytest.raises(KibanError, match="both of the run one is not done"):
        publish("one", None, is_here=False)
    Path("params.yaml").write_text("changed: here\n")
    with pytest.raises(KibanError, match=r"params.yaml is changed: a step begins in a fresh clone"):
        step("both", "one", [], new=False, until=None)


def test_a_run_is_of_one_commit(fresh: Clone) -> None:
    fresh()
    git("commit", "-q", "--allow-empty", "-m", "another")
    with pytest.raises(KibanError, match=r"of the run one began at the commit \w{7}, and this clone is at"):
        step("both", "one", [], new=False, until=None)


def test_a_step_that_fails_leaves_nothing(origin: Path, fresh: Clone) -> None:
    fresh()
    Path("dvc.yaml").write_text(GRAPH.replace("seq $(", "false && seq $("))
    git("commit", "-q", "-a", "-m", "it fails")
    git("push", "-q", "origin", "main")
    with pytest.raises(KibanError, match="`dvc repro --single-item numbers` failed"):
        steps(fresh, "numbers", run="two")
    assert "runs/two" not in run(origin, "git", "for-each-ref")


def test_what_is_not_what_its_stage_made_is_refused(tmp_path: Path, fresh: Clone) -> None:
    fresh()
    odd = refs.fetch("one", commit_of("HEAD"))["odd"]
    blob = run(Path.cwd(), "sh", "-c", "echo other | git hash-object -w --stdin").strip()
    with refs._index(odd.commit) as index:
        run(Path.cwd(), "git", "update-index", "--cacheinfo", f"100644,{blob},odd.txt", **index)
        tree = run(Path.cwd(), "git", "write-tree", **index).strip()
    other = refs.commit(tree, commit_of("HEAD"), "not what it says\n")
    git("push", "-q", "--force", "origin", f"{other}:refs/kiban/runs/one/odd")
    with pytest.raises(KibanError, match=r"odd\.txt has other bytes than the stage odd has made"):
        steps(fresh, "both")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(KibanError, match=r"even, which the stage even makes, is not here; "):
        steps(fresh, "both")


def test_files_that_two_stages_have_made_differently_are_named(fresh: Clone) -> None:
    fresh()
    even = refs.fetch("one", commit_of("HEAD"))["even"]
    blob = run(Path.cwd(), "sh", "-c", "echo other | git hash-object -w --stdin").strip()
    with refs._index(even.commit) as index:
        run(Path.cwd(), "git", "update-index", "--add", "--cacheinfo", f"100644,{blob},odd.txt", **index)
        tree = run(Path.cwd(), "git", "write-tree", **index).strip()
    other = refs.commit(tree, commit_of("HEAD"), "with a file of another's\n")
    git("push", "-q", "--force", "origin", f"{other}:refs/kiban/runs/one/even")
    with pytest.raises(KibanError, match=r"odd.txt: the stages even and odd of the run have both made it, differently"):
        steps(fresh, "both")


def test_what_was_run_here_is_an_experiment_if_parameters_differ(origin: Path, fresh: Clone) -> None:
    fresh()
    command("dvc", "repro")
    git("checkout", "-q", "-b", "work")
    publish("whole", "results", is_here=True)
    there = run(origin, "git", "rev-parse", "results")
    with mock.patch.object(time, "time", return_value=2_000_000_000):  # a repetition, later
        publish("whole", "results", is_here=True)
    assert run(origin, "git", "rev-parse", "results") == there
    fresh()
    git("checkout", "-q", "-B", "main", "origin/results")
    git("push", "-q", "origin", "main")
    Path("params.yaml").write_text(PARAMS + "more: 1\n")
    command("dvc", "repro")
    git("checkout", "-q", "--detach")
    publish("larger", None, is_here=True)
    fresh()
    store = Path("../store").resolve()  # of a relative one, DVC does not find the way in an experiment
    command("dvc", "remote", "add", "--local", "-f", "-q", "store", str(store))
    command("dvc", "exp", "pull", "-q", "origin", "larger")
    assert "larger" in command("dvc", "exp", "show", "--csv")
    command("dvc", "exp", "apply", "larger")
    assert Path("both.txt").read_text() == "1\n2\n1\n"
    Path("params.yaml").write_text(PARAMS + "more: 1\nand: more\n")
    with pytest.raises(KibanError, match="the stage numbers has not run with what is here: `dvc repro` comes first"):
        publish("larger", None, is_here=True)
    command("dvc", "repro")
    with pytest.raises(KibanError, match="--branch ours: other parameters than those of the commit make an experiment"):
        publish("larger", "ours", is_here=True)
    with pytest.raises(KibanError, match="origin has another refs/exps/.*`git push origin --delete refs/exps/"):
        publish("larger", None, is_here=True)


def test_old_runs_are_forgotten(origin: Path, fresh: Clone) -> None:
    base = run(origin, "git", "rev-parse", "main").strip()
    for number, age in enumerate([1, 2, 3, 20, 21, 22, 23]):
        made = ("git", "commit-tree", f"{base}^{{tree}}", "-p", base, "-m", "a step")
        commit = run(origin, *made, GIT_COMMITTER_DATE=f"{int(time.time()) - age * 86_400} +0000").strip()
        run(origin, "git", "update-ref", f"refs/kiban/runs/run-{number}/numbers", commit)
    fresh()
    assert refs.forget_old() == ["run-4", "run-5", "run-6"]
    names = run(origin, "git", "for-each-ref", "--format=%(refname)", "refs/kiban").split()
    assert {name.split("/")[3] for name in names} == {"one", "run-0", "run-1", "run-2", "run-3"}


@pytest.mark.parametrize(
    ("run_id", "name"),
    [("scheduled__2026-11-02T00:00:00+00:00", "scheduled__2026-11-02T00-00-00-00-00"), ("a/b..--c", "a-b-c")],
)
def test_the_name_of_a_schedulers_run_is_a_name_of_git(run_id: str, name: str) -> None:
    assert refs.name_of(run_id) == name
    with pytest.raises(KibanError, match="--run"):
        refs.name_of("::")
