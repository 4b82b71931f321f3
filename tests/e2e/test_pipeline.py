"""The real `dvc repro` and `dvc exp run` on the whole year, in a new clone. The tests share it, in this order."""

import csv
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from clones import environment, run, with_installed
from sklearn.metrics import brier_score_loss, roc_auc_score
from slice import ROOT

from kiban.data import parquet
from kiban.servable import columns
from kiban.servable.load import load

STAGES = ["config", "ingest", "validate_raw", "prepare", "validate_prepared", "train", "evaluate", "track"]
EXP_SHOW = ["dvc", "exp", "show", "--only-changed", "--drop", "State|Executor|Created|conf|models|reports|src"]
RAW = "data/raw/flights/flights/2013-05.parquet"


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` or `dvc exp run` ran."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def clean(clone: Path) -> bool:
    return run(clone, "git", "status", "--porcelain") == ""


def test_a_cold_run_gives_the_committed_hashes(clone: Path) -> None:
    hostile = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"}
    lock = (clone / "dvc.lock").read_bytes()
    output = run(clone, "dvc", "repro", **hostile)
    assert ran(output) == STAGES
    assert (clone / "dvc.lock").read_bytes() == lock
    assert clean(clone)
    assert (clone / "mlruns/mlflow.db").exists()


def test_nothing_changed_nothing_runs(clone: Path) -> None:
    assert ran(run(clone, "dvc", "repro")) == []


def test_an_edit_to_serving_runs_no_stage(clone: Path) -> None:
    for path in (clone / "src/kiban/serving").glob("*.py"):
        path.write_text(path.read_text() + "\n# edited\n")
    assert ran(run(clone, "dvc", "repro")) == []
    run(clone, "git", "checkout", "-q", "src")


def test_an_edit_under_conf_is_not_ignored(clone: Path) -> None:
    edited = clone / "conf/model/hist_gradient_boosting.yaml"
    edited.write_text(edited.read_text().replace("learning_rate: 0.05", "learning_rate: 0.1"))
    output = run(clone, "dvc", "repro", status=255)
    assert "error: conf/ was edited after params.yaml was composed from it: run `kiban compose`" in output
    assert "Traceback" not in output
    assert ran(output) == ["config"]


def test_a_changed_learning_rate_runs_train_and_what_follows(clone: Path) -> None:
    run(clone, "kiban", "compose")
    assert ran(run(clone, "dvc", "repro")) == ["config", "train", "evaluate", "track"]
    assert not clean(clone)
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q", "--force")
    assert ran(run(clone, "dvc", "repro")) == []
    assert clean(clone)


def test_a_train_that_fails_leaves_the_old_model(clone: Path) -> None:
    models = {path: path.read_bytes() for path in (clone / "models").rglob("*") if path.is_file()}
    run(clone, "kiban", "compose", "model._target_=sklearn.linear_model.Logistic")
    output = run(clone, "dvc", "repro", status=255)
    assert ran(output) == ["config", "train"]
    assert "error: params.yaml: model._target_: there is no class 'sklearn.linear_model.Logistic'" in output
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in models} == models
    run(clone, "git", "checkout", "-q", ".")
    assert ran(run(clone, "dvc", "repro")) == []


def test_a_raw_file_altered_on_disk_stops_and_comes_back(clone: Path) -> None:
    whole = (clone / RAW).read_bytes()
    (clone / RAW).unlink()  # it may be a link into the cache
    (clone / RAW).write_bytes(whole[:10000])
    output = run(clone, "dvc", "repro", status=255)
    assert f"error: {RAW} is not the snapshot that the ledger records" in output
    assert "Traceback" not in output
    assert ran(output) == ["ingest"]
    (clone / RAW).unlink()
    run(clone, "dvc", "repro")
    assert (clone / RAW).read_bytes() == whole
    assert clean(clone)


def test_a_bad_batch_stops_before_any_later_stage(clone: Path) -> None:
    """Here it is the contract that changes: no flight is shorter than 100 miles any more."""
    contract = clone / "conf/contract/flights.raw.yaml"
    contract.write_text(contract.read_text().replace("min: 10, max: 6000", "min: 100, max: 6000", 1))
    models = {path: path.read_bytes() for path in (clone / "models").rglob("*") if path.is_file()}
    output = run(clone, "dvc", "repro", status=255)
    assert ran(output) == ["config", "ingest", "validate_raw"]
    assert "did not pass validation (see reports/validation/raw/index.html)" in output
    assert "Traceback" not in output
    assert 'class="rejected">2013-05' in (clone / "reports/validation/raw/index.html").read_text()
    assert {path: path.read_bytes() for path in models} == models
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "repro")
    assert clean(clone)


def experiment_metrics(clone: Path, commit: str) -> dict[str, float]:
    text = run(clone, "git", "show", f"{commit}:reports/metrics.json")
    metrics: dict[str, dict[str, float]] = json.loads(text)
    return metrics["test"]


def experiment_model(clone: Path, commit: str) -> str:
    params = yaml.safe_load(run(clone, "git", "show", f"{commit}:params.yaml"))
    target: str = params["model"]["_target_"]
    return target


def revision(clone: Path, name: str) -> str:
    """The commit of an experiment."""
    refs = run(clone, "git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    return next(line.split()[0] for line in refs if line.endswith(f"/{name}"))


def test_an_experiment_in_the_workspace(clone: Path) -> None:
    output = run(clone, "dvc", "exp", "run", "-n", "in-workspace", "-S", "model=logistic")
    assert ran(output) == ["config", "train", "evaluate", "track"]
    commit = revision(clone, "in-workspace")
    assert experiment_model(clone, commit) == "sklearn.linear_model.LogisticRegression"
    assert experiment_metrics(clone, commit) == json.loads((clone / "reports/metrics.json").read_text())["test"]
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q", "--force")
    assert clean(clone)


def test_an_experiment_runs_its_own_code(clone: Path) -> None:
    """The code is changed when the experiments are made, and changed back before those of the queue run."""
    code = clone / "src/kiban/evaluate/metrics.py"
    committed = code.read_text()
    code.write_text(committed.replace("DECIMALS = 6", "DECIMALS = 2"))
    run(clone, "dvc", "exp", "run", "--temp", "-n", "in-temp", "-S", "model=dummy")
    run(clone, "dvc", "exp", "run", "--queue", "-n", "in-queue", "-S", "experiment=large_trees")
    run(clone, "dvc", "exp", "run", "--queue", "-n", "sweep", "-S", "model.max_iter=20,30")
    code.write_text(committed)
    run(clone, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    assert clean(clone)
    trees = "HistGradientBoostingClassifier"
    for name, target in (("in-temp", "DummyClassifier"), ("in-queue", trees), ("sweep-1", trees), ("sweep-2", trees)):
        commit = revision(clone, name)
        assert experiment_model(clone, commit).endswith(target)
        metrics = experiment_metrics(clone, commit)
        assert all(value == round(value, 2) for value in metrics.values())
    params = yaml.safe_load(run(clone, "git", "show", f"{revision(clone, 'in-queue')}:params.yaml"))
    assert params["model"]["max_leaf_nodes"] == 15


def test_every_run_is_in_the_clones_own_mlflow(clone: Path) -> None:
    """Those of workers in parallel too, none of which was locked out."""
    import mlflow

    head = run(clone, "git", "rev-parse", "HEAD").strip()
    mlflow.set_tracking_uri(f"sqlite:///{clone}/mlruns/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["flights"], output_format="list")
    mlflow.set_tracking_uri(None)
    names = [each.info.run_name for each in runs]
    for name in ("in-workspace", "in-temp", "in-queue", "sweep-1", "sweep-2"):
        assert names.count(name) == 1
    assert {each.info.status for each in runs} == {"FINISHED"}
    assert {each.data.tags["git.commit"] for each in runs} == {head}
    by_name = {each.info.run_name: each.data.tags["git.dirty"] for each in runs}
    assert by_name["in-workspace"] == "false"  # only what a run writes differs from the commit
    assert by_name["in-queue"] == "true"  # its code was not committed
    assert "0 runs wait" in run(clone, "kiban", "track")


def test_exp_show_fits_the_screen_and_names_what_was_changed(clone: Path) -> None:
    with_installed(clone)
    table = run(clone, "make", "experiments", COLUMNS="200")
    for name in ("in-workspace", "in-temp", "in-queue", "sweep-1", "sweep-2"):
        assert f"[{name}]" in table
    rows = list(csv.DictReader(io.StringIO(run(clone, *EXP_SHOW, "--csv"))))
    figures = {"validation.roc_auc", "test.roc_auc", "validation.brier", "test.brier"}
    others = {name for name in rows[0] if name not in ("Experiment", "rev", "typ", "parent")} - figures
    assert figures <= set(rows[0])
    assert others
    assert all(name.startswith(("model.", "preprocessing.")) for name in others)


def test_a_winner_becomes_an_overlay_and_main_stays_the_composition(clone: Path) -> None:
    run(clone, "dvc", "exp", "apply", "sweep-2")
    applied = yaml.safe_load((clone / "params.yaml").read_text())
    output = run(clone, "kiban", "compose", "--adopt", "thirty_rounds")
    assert "conf/experiment/thirty_rounds.yaml is the default now; `dvc repro`, then commit" in output
    overlay = (clone / "conf/experiment/thirty_rounds.yaml").read_text()
    assert overlay.endswith("defaults:\n  - override /model: hist_gradient_boosting\nmodel:\n  max_iter: 30\n")
    run(clone, "git", "checkout", "-q", "src")  # the experiment had its own code
    run(clone, "kiban", "compose", "--check")
    assert ran(run(clone, "dvc", "repro")) == ["config", "evaluate", "track"]  # the model itself is the experiment's
    now = yaml.safe_load((clone / "params.yaml").read_text())
    assert {**now, "conf_digest": ""} == {**applied, "conf_digest": ""}
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "git", "clean", "-qfd", "conf")
    run(clone, "dvc", "checkout", "-q", "--force")
    assert clean(clone)


def test_plots_are_drawn(clone: Path, tmp_path: Path) -> None:
    run(clone, "dvc", "plots", "show", "-o", str(tmp_path / "plots"))
    html = (tmp_path / "plots/index.html").read_text()
    for title in ("ROC (test months)", "Calibration", "ROC AUC lost when", "Late rate by month"):
        assert title in html


def test_a_killed_run_loses_nothing(clone: Path) -> None:
    """The process group is killed in prepare; what was there is there, and the next run ends as if undisturbed."""
    shutil.rmtree(clone / "data/prepared/flights")
    shutil.rmtree(clone / ".dvc/cache/runs")  # or the results would be taken from it
    process = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", "prepare"], cwd=clone, env=environment(), start_new_session=True
    )
    for _ in range(600):
        if len(list((clone / "data/prepared/flights").glob("*.parquet"))) > 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, 9)
    assert process.wait() == -9
    assert 2 < len(list((clone / "data/prepared/flights").glob("*.parquet"))) < 12
    run(clone, "dvc", "repro")
    assert clean(clone)


def test_what_a_caller_does_not_know_costs_what_the_readme_says(clone: Path) -> None:
    servable = load(clone / "models/servable")
    features = servable.contract.features()
    rows = pa.concat_tables([parquet.read(clone / f"data/prepared/flights/2013-{month}.parquet") for month in (11, 12)])
    known, late = columns.from_arrow(rows, features), rows["late"].to_pylist()
    readme = (ROOT / "README.md").read_text()
    for unknown in (["plane_*"], ["weather_*"], ["state_*"], ["weather_*", "state_*"]):
        scores = servable.score(columns.without(known, features, unknown))
        cost = f"{roc_auc_score(late, scores):.3f}, {brier_score_loss(late, scores):.3f}".replace("0.", ".")
        told = next(line for line in readme.splitlines() if line.startswith(f"| `{'` and `'.join(unknown)}`"))
        assert f"| {cost}" in told


def test_features_asked_for_at_the_time_are_those_of_training(clone: Path, tmp_path: Path) -> None:
    """At moments of November: what is not yet known then is hidden, and the flights of the next hour are asked about.

    Each is then past its own cut-off, an hour before it leaves, so that its row must be the training row.
    """
    key = ["scheduled_departure", "carrier", "flight"]
    order = [(name, "ascending") for name in key]
    raw = {table: parquet.read(clone / f"data/raw/flights/{table}/2013-11.parquet") for table in ("flights", "weather")}
    october = {table: parquet.read(clone / f"data/raw/flights/{table}/2013-10.parquet") for table in raw}
    flights, weather = (pa.concat_tables([october[table], raw[table]]) for table in ("flights", "weather"))
    trained = parquet.read(clone / "data/prepared/flights/2013-11.parquet").drop_columns("late")
    compared = 0
    for moment in pd.date_range("2013-11-01 15:00Z", periods=6, freq="121h"):
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
        run(clone, "kiban", "features", *given, "--for", paths["asked"], "-o", paths["found"])
        found = pq.read_table(paths["found"])
        assert found.num_rows == len(asked)
        # Without those that did not arrive, which have no training row.
        expected = trained.join(found.select(key), key, join_type="left semi").sort_by(order)
        again = found.join(expected.select(key), key, join_type="left semi").sort_by(order)
        assert again.select(trained.column_names).equals(expected)
        compared += expected.num_rows
    assert compared > 150


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
