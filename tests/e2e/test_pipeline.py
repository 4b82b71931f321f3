"""The real `dvc repro` and `dvc exp run` on the whole year, in a new clone that each test leaves as it found it."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from clones import environment, run, with_installed
from sklearn.metrics import brier_score_loss, roc_auc_score
from slice import ROOT

from kiban.data import parquet
from kiban.servable import columns
from kiban.servable.load import load

STAGES = ["config", "ingest", "validate_raw", "prepare", "validate_prepared", "train", "evaluate", "track"]
RAW = "data/raw/flights/flights/2013-05.parquet"


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` or `dvc exp run` ran."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def clean(year: Path) -> bool:
    return run(year, "git", "status", "--porcelain") == ""


@pytest.fixture(scope="module")
def cold(clone: Path) -> tuple[bytes, str]:
    """The clone's dvc.lock before its first run, and what that run says, under variables that must not matter."""
    hostile = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}
    return (clone / "dvc.lock").read_bytes(), run(clone, "dvc", "repro", **hostile)


@pytest.fixture(scope="module")
def year(clone: Path, cold: tuple[bytes, str]) -> Path:
    """The clone after its first run."""
    return clone


def restore(year: Path) -> None:
    """Bring back what is committed, and what belongs to it."""
    run(year, "git", "checkout", "-q", ".")
    run(year, "dvc", "checkout", "-q", "--force")
    assert clean(year)


def test_a_cold_run_gives_the_committed_hashes(year: Path, cold: tuple[bytes, str]) -> None:
    lock, output = cold
    assert ran(output) == STAGES
    assert (year / "dvc.lock").read_bytes() == lock
    assert clean(year)
    assert (year / "mlruns/mlflow.db").exists()


def test_an_edit_to_serving_runs_no_stage(year: Path) -> None:
    """Its settings aside, whose type the stage config checks."""
    edited = [path for path in (year / "src/kiban/serve").glob("*.py") if path.name != "settings.py"]
    assert edited
    for path in edited:
        path.write_text(path.read_text() + "\n# edited\n")
    assert ran(run(year, "dvc", "repro")) == []
    run(year, "git", "checkout", "-q", "src")


def test_an_edit_under_conf_is_said_and_runs_what_it_changes_when_it_is_composed(year: Path) -> None:
    edited = year / "conf/model/hist_gradient_boosting.yaml"
    edited.write_text(edited.read_text().replace("learning_rate: 0.05", "learning_rate: 0.1"))
    output = run(year, "dvc", "repro", status=255)
    assert "error: conf/ was edited after params.yaml was composed from it: run `kiban compose`" in output
    assert "Traceback" not in output
    assert ran(output) == ["config"]
    run(year, "kiban", "compose")
    assert ran(run(year, "dvc", "repro")) == ["config", "train", "evaluate", "track"]
    assert not clean(year)
    restore(year)
    assert ran(run(year, "dvc", "repro")) == []
    assert clean(year)


def test_a_train_that_fails_leaves_the_old_model(year: Path) -> None:
    models = {path: path.read_bytes() for path in (year / "models").rglob("*") if path.is_file()}
    params = year / "params.yaml"  # by hand: `kiban compose` refuses it
    params.write_text(re.sub(r"_target_: sklearn\S+", "_target_: sklearn.linear_model.Logistic", params.read_text()))
    output = run(year, "dvc", "repro", status=255)
    assert ran(output) == ["config", "train"]
    assert "error: params.yaml: model._target_: there is no class 'sklearn.linear_model.Logistic'" in output
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in models} == models
    run(year, "git", "checkout", "-q", ".")
    assert ran(run(year, "dvc", "repro")) == []


@pytest.mark.long
def test_a_raw_file_altered_on_disk_stops_and_comes_back(year: Path) -> None:
    whole = (year / RAW).read_bytes()
    (year / RAW).unlink()  # it may be a link into the cache
    (year / RAW).write_bytes(whole[:10000])
    output = run(year, "dvc", "repro", status=255)
    assert f"error: {RAW} is not the snapshot that the ledger records" in output
    assert "Traceback" not in output
    assert ran(output) == ["ingest"]
    (year / RAW).unlink()
    run(year, "dvc", "repro")
    assert (year / RAW).read_bytes() == whole
    assert clean(year)


@pytest.mark.long
def test_a_bad_batch_stops_before_any_later_stage(year: Path) -> None:
    """Here it is the contract that changes: no flight is shorter than 100 miles any more."""
    contract = year / "conf/contract/flights/raw.yaml"
    contract.write_text(contract.read_text().replace("min: 10, max: 6000", "min: 100, max: 6000", 1))
    models = {path: path.read_bytes() for path in (year / "models").rglob("*") if path.is_file()}
    output = run(year, "dvc", "repro", status=255)
    assert ran(output) == ["config", "ingest", "validate_raw"]
    assert "did not pass validation (see reports/validation/raw/index.html)" in output
    assert "Traceback" not in output
    assert 'class="rejected">2013-05' in (year / "reports/validation/raw/index.html").read_text()
    assert {path: path.read_bytes() for path in models} == models
    run(year, "git", "checkout", "-q", ".")
    run(year, "dvc", "repro")
    assert clean(year)


def experiment_metrics(year: Path, commit: str) -> dict[str, float]:
    text = run(year, "git", "show", f"{commit}:reports/metrics.json")
    metrics: dict[str, dict[str, float]] = json.loads(text)
    return metrics["test"]


def experiment_model(year: Path, commit: str) -> str:
    params = yaml.safe_load(run(year, "git", "show", f"{commit}:params.yaml"))
    target: str = params["model"]["_target_"]
    return target


def revision(year: Path, name: str) -> str:
    """The commit of an experiment."""
    refs = run(year, "git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    return next(line.split()[0] for line in refs if line.endswith(f"/{name}"))


def runs(year: Path) -> dict[str, Any]:
    """The clone's runs in its own MLflow, by name."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{year}/mlruns/mlflow.db")
    found = mlflow.search_runs(experiment_names=["flights"], output_format="list")
    mlflow.set_tracking_uri(None)
    by_name = {each.info.run_name: each for each in found}
    assert len(by_name) == len(found)
    return by_name


def test_an_experiment_in_the_workspace(year: Path) -> None:
    output = run(year, "dvc", "exp", "run", "-n", "in-workspace", "-S", "model=logistic")
    assert ran(output) == ["config", "train", "evaluate", "track"]
    commit = revision(year, "in-workspace")
    assert experiment_model(year, commit) == "sklearn.linear_model.LogisticRegression"
    assert experiment_metrics(year, commit) == json.loads((year / "reports/metrics.json").read_text())["test"]
    tags = runs(year)["in-workspace"].data.tags
    assert tags["git.dirty"] == "false"  # only what a run writes differs
    change = "HistGradientBoostingClassifier → sklearn.linear_model.LogisticRegression"
    assert f"- `model._target_`: sklearn.ensemble.{change}\n" in tags["mlflow.note.content"]
    restore(year)


README = (ROOT / "README.md").read_text()
EXPERIMENTS = ("in-temp", "in-queue", "sweep-1", "sweep-2")


@pytest.fixture(scope="module")
def experiments(year: Path) -> Path:
    """The clone with experiments of other code, which is changed back before those of the queue run."""
    code = year / "src/kiban/evaluate/metrics.py"
    committed = code.read_text()
    code.write_text(committed.replace("DECIMALS = 6", "DECIMALS = 2"))
    run(year, "dvc", "exp", "run", "--temp", "-n", "in-temp", "-S", "model=dummy")
    run(year, "dvc", "exp", "run", "--queue", "-n", "in-queue", "-S", "experiment=large_trees")
    run(year, "dvc", "exp", "run", "--queue", "-n", "sweep", "-S", "model.max_iter=20,30")
    code.write_text(committed)
    run(year, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    run(year, "dvc", "queue", "stop")  # a worker that was busy when it was told to end goes on
    assert clean(year)
    return year


@pytest.mark.long
def test_an_experiment_runs_its_own_code(experiments: Path) -> None:
    trees = "HistGradientBoostingClassifier"
    for name, target in zip(EXPERIMENTS, ("DummyClassifier", trees, trees, trees), strict=True):
        commit = revision(experiments, name)
        assert experiment_model(experiments, commit).endswith(target)
        metrics = experiment_metrics(experiments, commit)
        assert all(value == round(value, 2) for value in metrics.values())
    params = yaml.safe_load(run(experiments, "git", "show", f"{revision(experiments, 'in-queue')}:params.yaml"))
    assert params["model"]["max_leaf_nodes"] == 15


@pytest.mark.long
def test_every_run_is_in_the_clones_own_mlflow(experiments: Path) -> None:
    """Those of workers in parallel too, none of which was locked out."""
    head = run(experiments, "git", "rev-parse", "HEAD").strip()
    found = runs(experiments)
    assert found.keys() >= set(EXPERIMENTS)
    assert {each.info.status for each in found.values()} == {"FINISHED"}
    assert {each.data.tags["git.commit"] for each in found.values()} == {head}
    assert found["in-queue"].data.tags["git.dirty"] == "true"  # its code was not committed
    assert "0 runs wait" in run(experiments, "kiban", "track")


@pytest.mark.long
def test_the_table_of_experiments_fits_the_screen_and_names_what_was_changed(experiments: Path) -> None:
    with_installed(experiments)
    table = run(experiments, "make", "experiments")
    for name in EXPERIMENTS:
        assert f"\n    {name} " in table
    assert "model DummyClassifier" in table
    assert "model.max_iter 20" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    heading = next(line for line in table.splitlines() if "what it changed" in line)
    assert heading.split() == next(line for line in README.splitlines() if "what it changed" in line).split()
    run(experiments, "git", "commit", "-q", "--allow-empty", "-m", "a winner was adopted")
    assert "in-queue" in run(experiments, "kiban", "experiments")
    run(experiments, "git", "reset", "-q", "--hard", "HEAD~1")


@pytest.mark.long
def test_a_winner_becomes_an_overlay_and_main_stays_the_composition(experiments: Path) -> None:
    year = experiments
    run(year, "dvc", "exp", "apply", "sweep-2")
    applied = yaml.safe_load((year / "params.yaml").read_text())
    output = run(year, "kiban", "compose", "--adopt", "thirty_rounds")
    assert "conf/experiment/thirty_rounds.yaml is the default now; run `dvc repro`, then commit" in output
    overlay = (year / "conf/experiment/thirty_rounds.yaml").read_text()
    applies = "applies_to:\n  dataset: flights\n"
    assert overlay.endswith(
        f"defaults:\n  - override /model: hist_gradient_boosting\n{applies}model:\n  max_iter: 30\n"
    )
    run(year, "git", "checkout", "-q", "src")  # the experiment had its own code
    run(year, "kiban", "compose", "--check")
    assert ran(run(year, "dvc", "repro")) == ["config", "evaluate", "track"]  # the model itself is the experiment's
    now = yaml.safe_load((year / "params.yaml").read_text())
    asides = {"conf_digest": "", "applies_to": None}
    assert {**now, **asides} == {**applied, **asides}
    run(year, "git", "clean", "-qfd", "conf")
    restore(year)


def test_plots_are_drawn(year: Path, tmp_path: Path) -> None:
    run(year, "dvc", "plots", "show", "-o", str(tmp_path / "plots"))
    html = (tmp_path / "plots/index.html").read_text()
    for title in ("ROC (test months)", "Calibration", "ROC AUC lost when", "Late rate by month"):
        assert title in html


@pytest.mark.long
def test_a_killed_run_loses_nothing(year: Path) -> None:
    """The process group is killed in prepare; what was there is there, and the next run ends as if undisturbed."""
    shutil.rmtree(year / "data/prepared/flights")
    shutil.rmtree(year / ".dvc/cache/runs")  # or the results would be taken from it
    process = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", "prepare"], cwd=year, env=environment(), start_new_session=True
    )
    for _ in range(600):
        if len(list((year / "data/prepared/flights").glob("*.parquet"))) > 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, 9)
    assert process.wait() == -9
    assert 2 < len(list((year / "data/prepared/flights").glob("*.parquet"))) < 12
    run(year, "dvc", "repro")
    assert clean(year)


def test_what_a_caller_does_not_know_costs_what_the_page_says(year: Path) -> None:
    servable = load(year / "models/servable")
    features = servable.contract.features()
    rows = pa.concat_tables([parquet.read(year / f"data/prepared/flights/2013-{month}.parquet") for month in (11, 12)])
    known, late = columns.from_arrow(rows, features), rows["late"].to_pylist()
    page = (ROOT / "docs/serving.md").read_text()
    for unknown in (["plane_*"], ["weather_*"], ["state_*"], ["weather_*", "state_*"]):
        scores = servable.score(columns.without(known, features, unknown))
        cost = f"{roc_auc_score(late, scores):.3f}, {brier_score_loss(late, scores):.3f}".replace("0.", ".")
        told = next(line for line in page.splitlines() if line.startswith(f"| `{'` and `'.join(unknown)}`"))
        assert f"| {cost}" in told


@pytest.mark.parametrize(("moments", "least"), [(2, 50), pytest.param(6, 150, marks=pytest.mark.long)])
def test_features_asked_for_at_the_time_are_those_of_training(
    year: Path, tmp_path: Path, moments: int, least: int
) -> None:
    """At moments of November: what is not yet known then is hidden, and the flights of the next hour are asked about.

    Each is then past its own cut-off, an hour before it leaves, so that its row must be the training row.
    """
    key = ["scheduled_departure", "carrier", "flight"]
    order = [(name, "ascending") for name in key]
    raw = {table: parquet.read(year / f"data/raw/flights/{table}/2013-11.parquet") for table in ("flights", "weather")}
    october = {table: parquet.read(year / f"data/raw/flights/{table}/2013-10.parquet") for table in raw}
    flights, weather = (pa.concat_tables([october[table], raw[table]]) for table in ("flights", "weather"))
    trained = parquet.read(year / "data/prepared/flights/2013-11.parquet").drop_columns("late")
    compared = 0
    for moment in pd.date_range("2013-11-01 15:00Z", periods=moments, freq="121h"):
        asked, recent = as_known_at(moment, flights.to_pandas(types_mapper=pd.ArrowDtype))
        observed = pc.field("time_hour") <= pa.scalar(moment - pd.Timedelta("1h"), pa.timestamp("us", tz="UTC"))
        tables = {
            "asked": pa.Table.from_pandas(asked, flights.schema, preserve_index=False),
            "flights": pa.Table.from_pandas(recent, flights.schema, preserve_index=False),
            "weather": weather.filter(observed),
        }
        paths = {name: str(tmp_path / f"{name}.parquet") for name in (*tables, "found")}
        for name, rows in tables.items():
            pq.write_table(rows, paths[name])
        given = [f"{table}={paths[table]}" for table in ("flights", "weather")]
        run(year, "kiban", "features", *given, "--for", paths["asked"], "-o", paths["found"])
        found = pq.read_table(paths["found"])
        assert found.num_rows == len(asked)
        # Without those that did not arrive, which have no training row.
        expected = trained.join(found.select(key), key, join_type="left semi").sort_by(order)
        again = found.join(expected.select(key), key, join_type="left semi").sort_by(order)
        assert again.select(trained.column_names).equals(expected)
        compared += expected.num_rows
    assert compared > least


def as_known_at(moment: pd.Timestamp, flights: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The flights of the hour after `moment`, and all that are known of by then, without what is not known yet."""
    departure = flights.time_hour + pd.to_timedelta(flights.minute.astype(int), "m")
    left = departure + pd.to_timedelta(flights.dep_delay.astype("Int64"), "m")
    known = flights.copy()
    known.loc[~(left <= moment).fillna(False), ["dep_time", "dep_delay"]] = None
    known.loc[:, ["arr_time", "arr_delay", "air_time"]] = None
    asked = flights[(departure > moment) & (departure <= moment + pd.Timedelta("1h"))].copy()
    asked.loc[:, ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]] = None
    return asked, known[departure <= moment + pd.Timedelta("2h")]
