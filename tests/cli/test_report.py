"""`kiban report` on the slice, with all that a version has in git; tests/e2e has DVC's cache and store."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from clones import commit, run
from slice import PICTURES, SMALL_TREES, compose_here, run_stage

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
    assert text.startswith("## Model: worse; gate ")
    assert "`model._target_` | sklearn.ensemble.HistGradientBoostingClassifier | sklearn.dummy.DummyClassifier" in text
    assert "(day, 6 of them)" in text
    assert text.count("![") == len(list(Path("pictures").glob("*.png"))) == len(PICTURES)


def test_the_gate_is_that_of_the_base(repository: Path) -> None:
    """A branch that calls only a change of a half a change does not get away with it."""
    compose_here("model=dummy", "gate.minimum_change=0.5", "gate.cluster=row")
    run_stage("train")
    run_stage("evaluate")
    text = report("main")
    assert text.startswith("## Model: worse; gate ")
    assert "| `gate.minimum_change` | 0.002 | 0.5 |" in text


def test_errors_cost_what_the_base_says(repository: Path) -> None:
    """A branch does not pass a gate by cost because it says that errors are cheap."""
    by_cost = ["decision.threshold=null", "gate.metric=cost", "gate.threshold=1.0"]
    compose_here(*SMALL_TREES, *by_cost, "decision.cost={false_positive: 1.0, false_negative: 4.0}")
    for stage in ("train", "evaluate"):
        run_stage(stage)
    commit(repository, "costs")
    compose_here(*SMALL_TREES, *by_cost, "decision.cost={false_positive: 0.01, false_negative: 0.04}")
    for stage in ("train", "evaluate"):
        run_stage(stage)
    text = report("main")
    costs = [json.loads(run(repository, "git", "show", "main:reports/evaluation.json"))["test"]["cost"]]
    assert json.loads(Path("reports/evaluation.json").read_text())["test"]["cost"] < 0.1 * costs[0]
    assert f"cost of a row (less is better) on the test rows is {costs[0]:.4f}, the maximum 1.0000" in text
    assert f"| cost of a row (less is better) | {costs[0]:.4f} | {costs[0]:.4f} |" in text


def test_nothing_changed_is_unchanged(repository: Path) -> None:
    text = report("main")
    assert text.startswith("## Model: unchanged; gate ")
    assert "| before | after | change |" not in text


def test_the_same_model_with_other_figures_shows_them(repository: Path) -> None:
    compose_here(*SMALL_TREES, "split.test={first: 2013-03, last: 2013-04}")
    path = Path("reports/evaluation.json")
    evaluation = json.loads(path.read_text())
    evaluation["test"]["brier"] += 0.1
    path.write_text(json.dumps(evaluation))
    text = report("main")
    assert text.startswith("## Model: unchanged; gate ")
    assert "| test, each version on its own rows | before | after |" in text
    assert "| `split.test.last` | 2013-03 | 2013-04 |" in text


def test_a_cluster_that_there_is_not_and_a_version_without_results_are_said(repository: Path) -> None:
    compose_here(*SMALL_TREES, "gate.cluster=nosuch")
    commit(repository, "a gate by nothing")
    compose_here("model=dummy")
    run_stage("train")
    run_stage("evaluate")
    with pytest.raises(KibanError, match=r"gate\.cluster: 'nosuch' is not one of row, day, week, month, scheduled"):
        report("HEAD")
    run(repository, "git", "rm", "-q", "--cached", "reports/evaluation.json")
    run(repository, "git", "commit", "-q", "-m", "no results")
    with pytest.raises(KibanError, match=r"HEAD has no reports/evaluation\.json: run `dvc repro` there"):
        report("HEAD")


def test_the_gate_speaks_first_and_fails_the_command(repository: Path) -> None:
    compose_here("model=dummy", "gate.threshold=0.1")  # by its own gate it would pass
    run_stage("train")
    run_stage("evaluate")
    text = report("main")
    gate = "ROC AUC on the test rows is 0.5000, the minimum 0.7000"
    assert text.startswith(f"## Model: worse; gate not passed\n\n**Gate not passed**: {gate}.\n")
    assert re.search(r"\nClearly worse, by their 95 % intervals: ROC AUC −0\.\d+ \(", text)
    with pytest.raises(KibanError, match=f"gate not passed: {gate}; to merge it all the same"):
        CliRunner().invoke(commands, ["gate", "main"], catch_exceptions=False)


def test_an_override_counts_for_its_model_alone(repository: Path) -> None:
    compose_here("model=dummy")
    run_stage("train")
    run_stage("evaluate")
    model_id = json.loads(Path("reports/evaluation.json").read_text())["model_id"]
    reason = "+gate.override.reason=the old one cannot be explained"
    compose_here("model=dummy", f"+gate.override.model_id={model_id}", reason)
    assert report("main").startswith("## Model: worse; gate not passed, overridden\n")
    assert "The branch says why it may be merged: the old one cannot be explained\n" in report("main")
    judged = CliRunner().invoke(commands, ["gate", "main"], catch_exceptions=False)
    assert "gate not passed, overridden: ROC AUC" in judged.stdout
    compose_here("model=dummy", f"+gate.override.model_id={'0' * 64}", reason)
    assert report("main").startswith("## Model: worse; gate not passed\n")


def test_a_gate_of_an_earlier_release_is_completed(repository: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    for key in ("minimum_change", "cluster"):
        del params["gate"][key]
    params["gate"]["threshold"] = 0.99
    Path("params.yaml").write_text(yaml.safe_dump(params))
    run(Path(), "git", "commit", "-qam", "an old gate")
    compose_here(*SMALL_TREES)
    assert "the minimum 0.9900" in report("main")


def test_text_of_others_is_text(repository: Path) -> None:
    """A parameter's name must not end the report, and its value not run on."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["model"]["<!-- pictures -->`|\x1b[31m"] = "\x1b]0;" + "long" * 100_000
    Path("params.yaml").write_text(yaml.safe_dump(params))
    text = report("main")
    assert "<!-- pictures -->" not in text
    assert "\x1b" not in text
    assert len(text) < 5000


def test_models_of_different_targets_are_not_compared(repository: Path) -> None:
    path = Path("conf/contract/flights/prepared.yaml")
    contract = yaml.safe_load(path.read_text())
    contract["columns"]["late"]["role"] = "info"
    contract["columns"]["weekday"] |= {"role": "target", "positive": "Sat"}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    compose_here(*SMALL_TREES)
    run_stage("train")
    run_stage("evaluate")
    text = report("main")
    assert text.startswith("## Model: not comparable; gate ")
    assert "the target is another one" in text
