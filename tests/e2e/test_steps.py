"""`kiban step` of the real pipeline: every step in a fresh clone, and the bytes are those of one machine."""

import contextlib
import itertools
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import run
from seattle import lay

pytestmark = pytest.mark.long  # tests/runners/test_step.py is quick

STAGES = ("config", "ingest", "validate_raw", "prepare", "validate_prepared", "train", "evaluate", "track")
Steps = Callable[..., dict[str, str]]


@pytest.fixture
def origin(own: Path, tmp_path: Path) -> Path:
    """The bare repository of the weather, with all of June in its store."""
    run(own, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    run(own, "git", "commit", "-q", "-a", "-m", "a store")
    run(own, "kiban", "push")
    run(tmp_path, "git", "clone", "-q", "--bare", str(own), "origin.git")
    return tmp_path / "origin.git"


@pytest.fixture
def steps(origin: Path, tmp_path: Path) -> Steps:
    """Take every step of a run in a fresh clone, and say what each printed."""
    numbers = itertools.count()

    def taken(name: str, *options: str, **variables: str) -> dict[str, str]:
        said = {}
        for stage in STAGES:
            clone = tmp_path / f"clone{next(numbers)}"
            run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
            asked = options if stage == ("ingest" if "--new" in options else "config") else ()
            said[stage] = run(clone, "kiban", "step", stage, *asked, "--run", name, **variables)
            shutil.rmtree(clone)
        clone = tmp_path / f"clone{next(numbers)}"
        run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
        said["publish"] = run(clone, "kiban", "step", "--publish", "--run", name)
        return said

    return taken


def test_a_scheduled_run_takes_what_is_new_and_ends_as_one_machine_does(
    own: Path, feed: Path, origin: Path, steps: Steps, tmp_path: Path
) -> None:
    lay(feed, "2012-07")
    said = steps("july", "--new", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "wait" in said["track"]  # no MLflow there
    assert said["publish"].startswith("Model: ")
    run(own, "git", "fetch", "-q", str(origin), "kiban-run-july")
    run(own, "git", "checkout", "-q", "FETCH_HEAD", "--", "data/weather.batches.yaml")  # it has the time of the taking
    run(own, "dvc", "repro")
    run(own, "git", "add", "--all")
    assert run(own, "git", "diff", "--cached", "--stat", "FETCH_HEAD") == ""
    assert run(origin, "git", "log", "-1", "--format=%s", "kiban-run-july").startswith("Model: ")

    run(origin, "git", "update-ref", "refs/heads/main", "kiban-run-july")
    for file in feed.glob("*.csv"):
        file.unlink()
    lay(feed, "2012-08")
    runs = tmp_path / "mlflow/mlflow.db"
    runs.parent.mkdir()
    said = steps("august", "--new", "--until", "2012-08", MLFLOW_TRACKING_URI=f"sqlite:///{runs}")
    assert "2012-08" in said["ingest"]
    assert "8 batches, 0 taken from their source, 7 from DVC's cache or its store" in said["ingest"]
    assert "1 batches computed" in said["prepare"]
    assert "is in sqlite" in said["track"]
    with contextlib.closing(sqlite3.connect(runs)) as store:
        assert store.execute("select count(*) from runs").fetchone() == (2,)  # that of July too
    ledger = run(origin, "git", "show", "kiban-run-august:data/weather.batches.yaml")
    assert "2012-08" in ledger


def test_overrides_come_back_as_an_experiment(own: Path, origin: Path, steps: Steps) -> None:
    said = steps("deeper", "model.alphas=[1.0,10.0]")
    assert "the experiment deeper" in said["publish"]
    assert "nothing that ingest depends on has changed" in said["ingest"]
    run(own, "git", "remote", "add", "origin", str(origin))
    run(own, "git", "fetch", "-q", "origin")
    run(own, "dvc", "exp", "pull", "-q", "origin", "deeper")
    assert "deeper" in run(own, "dvc", "exp", "show", "--csv")
    again = steps("nothing")
    assert all("nothing that" in again[stage] for stage in STAGES)
    assert "has changed nothing" in again["publish"]
