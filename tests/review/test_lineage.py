"""From the id of a model to what it came from, in a repository with two models."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from clones import commit, run
from slice import SMALL_TREES, compose_here, run_stage

from kiban.cli import commands
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.ingest import ledger
from kiban.servable import load


@pytest.fixture
def models(repository: Path) -> dict[str, str]:
    """The commit of each model by its id: trees, and a dummy on a branch of its own; a later commit changes none."""
    made = {load.load().model_id: commit(repository, "trees")}
    run(repository, "git", "checkout", "-q", "-b", "dummy")
    compose_here("model=dummy")
    run_stage("train")
    run_stage("evaluate")
    made[load.load().model_id] = commit(repository, "a dummy")
    run(repository, "git", "checkout", "-q", "main")
    (repository / "notes.txt").write_text("nothing")
    commit(repository, "notes")
    return made


def lineage(*arguments: str) -> str:
    return CliRunner().invoke(commands, ["lineage", *arguments], catch_exceptions=False).stdout


def test_an_id_leads_to_the_commit_that_brought_the_model_in(models: dict[str, str]) -> None:
    for (model_id, revision), target in zip(models.items(), ("HistGradient", "Dummy"), strict=True):
        for given in (model_id, model_id[:7]):
            found = json.loads(lineage(given, "--json"))
            assert (found["model_id"], found["commit"]["hash"]) == (model_id, revision)
            assert target in found["parameters"]["model"]["_target_"]


def test_data_metrics_and_validation_are_those_of_the_commit(models: dict[str, str]) -> None:
    model_id, *_ = models
    found = json.loads(lineage(model_id, "--json"))
    for table, entries in ledger.read(paths.ledger("flights")).items():
        for batch, entry in entries.items():
            assert found["data"][table][batch]["sha256"] == entry.sha256
            assert found["data"][table][batch]["rows"] == entry.rows
    assert list(found["data"])[-1] == "prepared"
    for batch, of in found["data"]["prepared"].items():
        assert files.is_file(Path(f"data/prepared/flights/{batch}.parquet"), of["sha256"])
    assert [of["split"] for of in found["data"]["prepared"].values()] == ["train", "validation", "test"]
    assert set(found["metrics"]) == {"train", "validation", "test"}
    assert found["validation"]["prepared"]["rejected"] == {}


def test_the_text_has_all_of_it_and_fits(models: dict[str, str]) -> None:
    model_id, *_ = models
    text = lineage(model_id[:12])
    assert f"model   {model_id}\n" in text
    assert ": trees\n" in text
    assert "model.max_iter: " in text
    assert "3 batches accepted, 0 rejected" in text
    table = paths.raw_contract("flights")
    assert table.exists()
    assert all(len(line) <= 100 for line in text.splitlines()[3:])
    entry = next(iter(ledger.read(paths.ledger("flights"))["weather"].values()))
    assert entry.sha256[:12] in text


def test_a_model_that_is_not_committed_is_said_so(repository: Path) -> None:
    commit(repository, "trees")
    compose_here(*SMALL_TREES, "model.max_iter=3")
    run_stage("train")
    run_stage("evaluate")
    assert "none yet: only the working tree has this model" in lineage(load.load().model_id)


def test_a_commit_of_the_branch_is_named_before_that_of_an_experiment(repository: Path) -> None:
    commit(repository, "before")
    compose_here(*SMALL_TREES, "model.max_iter=4")
    run_stage("train")
    run_stage("evaluate")
    model_id = load.load().model_id
    experiment = commit(repository, "an experiment")
    run(repository, "git", "update-ref", "refs/exps/ab/cdef/try", experiment)
    run(repository, "git", "reset", "-q", "--soft", "HEAD~1")
    run(repository, "git", "commit", "-q", "--date", "2999-01-01T00:00", "-m", "adopted")
    assert json.loads(lineage(model_id, "--json"))["commit"]["subject"] == "adopted"
    run(repository, "git", "reset", "-q", "--hard", "HEAD~1")
    assert json.loads(lineage(model_id, "--json"))["commit"]["subject"] == "an experiment"


def test_models_of_merges_are_found(repository: Path) -> None:
    """One that a merge itself brought in, and one of a branch that a merge left out and that is gone."""
    report = Path("reports/evaluation.json")
    said = json.loads(report.read_text())

    def model(digit: str) -> str:
        report.write_text(json.dumps({**said, "model_id": digit * 64}, indent=1))
        return digit * 64

    commit(repository, "trees")
    for branch, digit in (("merged", "b"), ("left-out", "e")):
        run(repository, "git", "checkout", "-q", "-b", branch, "main")
        model(digit)
        commit(repository, branch)
        run(repository, "git", "checkout", "-q", "main")
    run(repository, "git", "merge", "-q", "--no-ff", "--no-commit", "merged")
    model("d")
    merge = commit(repository, "a merge")
    run(repository, "git", "merge", "-q", "-s", "ours", "left-out", "-m", "without it")
    run(repository, "git", "branch", "-D", "merged", "left-out")
    assert json.loads(lineage("ddddddd", "--json"))["commit"]["hash"] == merge
    assert json.loads(lineage("bbbbbbb", "--json"))["commit"]["subject"] == "merged"
    assert json.loads(lineage("eeeeeee", "--json"))["commit"]["subject"] == "left-out"


def test_a_shallow_clone_does_not_guess(
    models: dict[str, str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(repository, "git", "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    monkeypatch.chdir(repository / "shallow")
    with pytest.raises(KibanError, match="git fetch --unshallow"):
        lineage(next(iter(models)))


@pytest.mark.parametrize("given", ["", "abc", "not-an-id", "A" * 64, "0" * 65, "--all"])
def test_what_is_no_id_is_refused(repository: Path, given: str) -> None:
    with pytest.raises(KibanError, match="is not the id of a model: give 7 to 64 hex digits"):
        lineage("--", given)


def test_an_unknown_model_is_said_so(models: dict[str, str]) -> None:
    with pytest.raises(KibanError, match="no commit here has a model 0000000: `git fetch --all` brings"):
        lineage("0000000")


def test_digits_that_two_models_share_are_not_guessed_at(repository: Path) -> None:
    report = Path("reports/evaluation.json")
    said = json.loads(report.read_text())
    for last in "12":
        report.write_text(json.dumps({**said, "model_id": "a" * 63 + last}, indent=1))
        commit(repository, f"model {last}")
    with pytest.raises(KibanError, match="aaaaaaa may mean a{63}1 or a{63}2: give more digits"):
        lineage("aaaaaaa")


def test_without_git_there_is_no_lineage(project: Path) -> None:
    with pytest.raises(KibanError, match="this is not a git repository"):
        lineage("0000000")
