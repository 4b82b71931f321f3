"""`kiban tune` on the slice, whose three months are all training months for the split of conf/."""

import csv
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pytest
import yaml
from clones import lay_runs
from filelock import FileLock
from slice import SMALL_SEARCH as SMALL
from slice import compose_here, prepared_rows, run_stage

from kiban.cli.compose import compose
from kiban.cli.tune import tune
from kiban.config.composition import composed
from kiban.core.errors import KibanError
from kiban.core.settings import load
from kiban.data.split import parse
from kiban.servable.load import load as load_servable
from kiban.tune import search
from kiban.tune.search import folds

NAMES = ["hist_gradient_boosting", "logistic"]  # of the flights; a team may have more
REPORT = Path("reports/tuning/small.csv")


@pytest.fixture(autouse=True)
def _in_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    lay_runs(project)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run in this process: others take longer to start than a trial takes."""
    monkeypatch.setattr(joblib, "parallel_config", lambda **_: nullcontext())
    monkeypatch.setattr(search, "_piece", search._piece.__wrapped__)


def write(**changes: Any) -> None:
    Path("conf/tune/small.yaml").write_text(yaml.safe_dump({**SMALL, **changes}))


def run(*arguments: str) -> None:
    tune.main([*(arguments or ["small"])], standalone_mode=False)


def table(path: Path = REPORT) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name != "logistic" else name for name in NAMES]
)
def test_what_is_shipped_searches_and_its_best_becomes_an_overlay_that_trains(name: str) -> None:
    file = Path(f"conf/tune/{name}.yaml")
    file.write_text(file.read_text().replace("folds: 4", "folds: 2"))
    run(name, "--trials", "3")
    rows = table(Path(f"reports/tuning/{name}.csv"))
    assert len(rows) == 3
    assert rows == sorted(rows, key=lambda row: -float(row["roc_auc"]))
    if Path(f"conf/experiment/tuned_{name}.yaml").exists():
        compose_here(f"experiment=tuned_{name}")
    else:
        assert rows[0]["trial"] == "0"  # the default itself
        compose_here(f"model={name}")
    before = load_servable().model_id
    run_stage("train")
    assert load_servable().model_id != before


def test_a_search_that_does_not_fit_is_refused_before_it_begins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    monkeypatch.setenv("KIBAN_MEMORY", "20MB")
    with pytest.raises(
        KibanError, match=r"needs? about 0\.\d+ GB for 1?\d,\d{3} rows.*a share of the rows \(sample: 0\.\d"
    ):
        run()


@pytest.mark.usefixtures("_here")
def test_every_trial_is_in_the_table_and_in_mlflow_and_the_best_in_the_overlay(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    run()
    rows = table()
    assert sorted(int(row["trial"]) for row in rows) == list(range(6))
    for row in rows:
        by_fold = [float(row[batch]) for batch in ("2013-02", "2013-03")]
        assert float(row["roc_auc"]) == pytest.approx(sum(by_fold) / 2, abs=1e-6)
    best = rows[0]
    overlay = load(composed(Path(), ["experiment=tuned_small"]))["model"]
    assert overlay["max_iter"] == int(best["model.max_iter"])
    assert overlay["learning_rate"] == pytest.approx(float(best["model.learning_rate"]))
    assert f"roc_auc {float(best['roc_auc']):.4f}" in capsys.readouterr().out
    store = mlflow.MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    (experiment,) = [each for each in store.search_experiments() if each.name == "flights, tuning"]
    logged = store.search_runs([experiment.experiment_id])
    (parent,) = [each for each in logged if "mlflow.parentRunId" not in each.data.tags]
    trials = {each.info.run_name: each for each in logged if each is not parent}
    assert {each.data.tags["mlflow.parentRunId"] for each in trials.values()} == {parent.info.run_id}
    assert set(trials) == {f"trial {number}" for number in range(6)}
    of_best = trials[f"trial {best['trial']}"]
    assert of_best.data.params["model.max_iter"] == best["model.max_iter"]
    assert (
        of_best.data.metrics["roc_auc"]
        == parent.data.metrics["roc_auc"]
        == pytest.approx(float(best["roc_auc"]), abs=1e-6)
    )


@pytest.mark.usefixtures("_here")
def test_errors_may_cost(project: Path) -> None:
    """The least cost of a search is the best, and less than that of labelling all flights, or none."""
    write(
        metric="cost",
        trials=2,
        overrides=[
            *SMALL["overrides"],
            "decision.threshold=null",
            "decision.cost={false_positive: 1.0, false_negative: 3.0}",
        ],
    )
    run()
    costs = [float(row["cost"]) for row in table()]
    assert costs == sorted(costs)
    late = [prepared_rows(batch)["late"].to_numpy().mean() for batch in ("2013-02", "2013-03")]
    assert costs[0] < min(3 * np.mean(late), np.mean([1 - share for share in late]))


@pytest.mark.long
@pytest.mark.usefixtures("_here")
def test_the_default_is_tried_first_and_more_trials_go_on_from_those_done() -> None:
    write(overrides=[*SMALL["overrides"], "model.max_iter=20"])
    run("small", "--trials", "2")
    first = {row["trial"]: row for row in table()}
    assert (first["0"]["model.max_iter"], first["0"]["model.learning_rate"]) == ("20", "0.05")
    run("small", "--trials", "4")
    second = {row["trial"]: row for row in table()}
    assert len(second) == 4
    assert {number: second[number] for number in first} == first


def test_a_search_that_was_killed_goes_on_where_it_was() -> None:
    write(trials=8)
    command = [str(Path(sys.executable).with_name("kiban")), "tune", "small"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)

    def scored() -> int:
        return sum(journal.read_text().count('"scores"') for journal in Path(".kiban_studies").glob("*.journal"))

    while scored() < 3:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, 9)
    process.wait()
    done = scored()
    assert not REPORT.exists()
    run()
    rows = table()
    assert len(rows) == 8
    assert 3 <= done < 8
    assert scored() == 8  # none was tried twice that had ended
    assert len({(row["model.max_iter"], row["model.learning_rate"]) for row in rows}) == 8  # nor by chance


@pytest.mark.long
def test_the_lock_of_a_search_that_was_killed_while_it_wrote_is_not_waited_for() -> None:
    write()
    run("small", "--trials", "1")
    (journal,) = Path(".kiban_studies").glob("*.journal")
    Path(f"{journal}.lock").symlink_to(journal)  # as Optuna's
    command = [str(Path(sys.executable).with_name("kiban")), "tune", "small", "--trials", "2"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=120)
    assert len(table()) == 2


@pytest.mark.long
def test_a_journal_whose_last_line_was_cut_off_goes_on() -> None:
    write()
    run("small", "--trials", "2")
    (journal,) = Path(".kiban_studies").glob("*.journal")
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "trial_')
    run("small", "--trials", "3")
    assert len(table()) == 3


@pytest.mark.usefixtures("_here")
def test_what_was_adopted_is_tuned_and_kept() -> None:
    write(overrides=[*SMALL["overrides"]])
    Path("params.yaml").write_bytes(composed(Path(), ["missing.share=0.25"]))
    compose.main(["--adopt", "more_nulls"], standalone_mode=False)
    run("small", "--trials", "2")
    assert load(composed(Path(), ["experiment=tuned_small"]))["missing"]["share"] == 0.25


@pytest.mark.long
@pytest.mark.usefixtures("_here")
def test_other_data_or_another_space_is_another_search() -> None:
    write()
    run("small", "--trials", "1")
    write(space={"model.max_iter": {"low": 5, "high": 60}})
    run("small", "--trials", "1")
    assert len(list(Path(".kiban_studies").glob("small-*.journal"))) == 2


@pytest.mark.usefixtures("_here")
def test_folds_go_forward_in_time_and_validation_and_test_are_never_seen() -> None:
    split = parse(yaml.safe_load(Path("params.yaml").read_text())["split"], [])
    found = folds(split, ["2013-03", "2013-01", "2013-02", "2013-04"], 2)
    assert [([piece.batch for piece in fold.train], fold.name) for fold in found] == [
        (["2013-01", "2013-02"], "2013-03"),
        (["2013-01", "2013-02", "2013-03"], "2013-04"),
    ]
    write(
        folds=1,
        overrides=[
            *SMALL["overrides"],
            "split.train.last='2013-02'",
            "split.validation={first: '2013-03', last: '2013-03'}",
        ],
    )
    run("small", "--trials", "1")
    assert {name for name in table()[0] if name.startswith("2013")} == {"2013-02"}


@pytest.mark.usefixtures("_here")
def test_a_trial_that_scikit_learn_refuses_is_kept_with_its_reason_and_the_others_go_on() -> None:
    write(trials=8, space={"model.max_leaf_nodes": {"choices": [1, 8]}, "model.max_iter": {"low": 5, "high": 9}})
    run()
    rows = table()
    assert len(rows) == 8
    refused = [row for row in rows if row["error"]]
    assert refused
    assert all("max_leaf_nodes" in row["error"] and row["model.max_leaf_nodes"] == "1" for row in refused)
    assert rows[0]["model.max_leaf_nodes"] == "8"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"model.nosuch": {"low": 1, "high": 2}}}, "HistGradientBoostingClassifier has no such argument"),
        ({"space": {"split.train": {"low": 1, "high": 2}}}, "is not a key of model, preprocessing or missing"),
        ({"space": {"model.C": {"low": 2, "high": 1}}}, "low must be less than high"),
        ({"space": {"model.max_iter": {"low": 1, "high": 9, "step": 0.5}}}, "step must be positive, and an integer"),
        ({"folds": 3}, "3 folds need at least 4 training batches; there are 3"),
        ({"trials": 0}, "trials: Input should be greater than 0"),
        ({"overrides": ["model=nosuch"]}, "conf/ does not compose"),
        ({"space": {"model.max_leaf_nodes": {"choices": [1, 0]}}, "trials": 2}, "no trial could be scored"),
    ],
)
@pytest.mark.usefixtures("_here")
def test_what_cannot_be_searched_is_said_and_leaves_no_overlay(changes: dict[str, Any], said: str) -> None:
    write(**changes)
    with pytest.raises(KibanError, match=said.replace("(", r"\(")):
        run()
    assert not Path("conf/experiment/tuned_small.yaml").exists()


def test_an_unknown_search_and_a_second_one_at_once_are_said() -> None:
    with pytest.raises(
        KibanError, match="there is no conf/tune/nosuch.yaml; the searches are: hist_gradient_boosting, logistic"
    ):
        run("nosuch")
    write()
    Path(".kiban_studies").mkdir()
    with (
        FileLock(".kiban_studies/small.lock"),
        pytest.raises(KibanError, match="another `kiban tune small` is"),
    ):
        run()
