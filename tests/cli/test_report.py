"""`kiban report` on the slice, with all that a version has in git; tests/e2e has DVC's cache and store."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from clones import commit, run
from slice import SMALL_TREES, compose_here, run_stage

from kiban.cli import commands
from kiban.core.errors import KibanError


@pytest.fixture(autouse=True)
def _committed(repository: Path) -> None:
    commit(repository, "trees")


def report(*arguments: str) -> str:
    result = CliRunner().invoke(commands, ["report", *arguments], catch_exceptions=False)
    return result.stdout


def test_a_worse_model_in_the_working_tree_is_called_worse_and_drawn(repository: Path) -> None:
    compose_here("model=dummy")
    run_stage("train")
    run_stage("evaluate")
    text = report("main", "--pictures", "pictures")
    assert text.startswith("## Model: worse\n")
    assert "`model._target_` | sklearn.ensemble.HistGradientBoostingClassifier | sklearn.dummy.DummyClassifier" in text
    assert "(day, 6 of them)" in text
    assert text.count("![") == len(list(Path("pictures").glob("*.png"))) == 6


def test_the_gate_is_that_of_the_base(repository: Path) -> None:
    """A branch that calls only a change of a half a change does not get away with it."""
    compose_here("model=dummy", "gate.minimum_change=0.5", "gate.cluster=nosuch")
    run_stage("train")
    run_stage("evaluate")
    text = report("main")
    assert text.startswith("## Model: worse\n")
    assert "| `gate.minimum_change` | 0.002 | 0.5 |" in text


def test_nothing_changed_is_unchanged(repository: Path) -> None:
    text = report("main")
    assert text.startswith("## Model: unchanged\n\nBoth versions have the same model.\n")
    assert "| before | after | change |" not in text


def test_the_same_model_with_other_figures_shows_them(repository: Path) -> None:
    compose_here(*SMALL_TREES, "split.test={first: 2013-03, last: 2013-04}")
    path = Path("reports/evaluation.json")
    evaluation = json.loads(path.read_text())
    evaluation["test"]["brier"] += 0.1
    path.write_text(json.dumps(evaluation))
    text = report("main")
    assert text.startswith("## Model: unchanged\n")
    assert "| test, each version on its own rows | before | after |" in text
    assert "| `split.test.last` | 2013-03 | 2013-04 |" in text


def test_a_cluster_that_there_is_not_and_a_version_without_results_are_said(repository: Path) -> None:
    compose_here(*SMALL_TREES, "gate.cluster=nosuch")
    commit(repository, "a gate by nothing")
    compose_here("model=dummy")
    run_stage("train")
    run_stage("evaluate")
    with pytest.raises(KibanError, match=r"gate\.cluster: 'nosuch' is not one of day, week, month, scheduled"):
        report("HEAD")
    run(repository, "git", "rm", "-q", "--cached", "reports/evaluation.json")
    run(repository, "git", "commit", "-q", "-m", "no results")
    with pytest.raises(KibanError, match=r"HEAD has no reports/evaluation\.json: run `dvc repro` there"):
        report("HEAD")
