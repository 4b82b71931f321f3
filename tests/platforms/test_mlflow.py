"""MLflow Projects: `mlflow run .` with the environment that is activated, and with one that it makes of the lock."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from clones import run

pytestmark = pytest.mark.platform
STORE = "sqlite:///mlruns/mlflow.db"
OTHER = "model.alphas=[1.0,10.0]"


@pytest.fixture
def ours(weather: Path, tmp_path: Path) -> Path:
    shutil.copytree(weather / "ours", tmp_path / "ours", symlinks=True)
    return tmp_path / "ours"


def project(folder: Path, *options: str) -> str:
    """Run the project, and give the id of MLflow's run of it."""
    output = run(folder, "mlflow", "run", ".", *options, MLFLOW_TRACKING_URI=STORE)
    assert "Run (ID '" in output, output
    return output.rpartition("Run (ID '")[2].partition("'")[0]


def tags(folder: Path) -> dict[str, dict[str, str]]:
    """By run: its tags."""
    by_run: dict[str, dict[str, str]] = {}
    with contextlib.closing(sqlite3.connect(folder / "mlruns/mlflow.db")) as store:
        for identity, key, value in store.execute("select run_uuid, key, value from tags"):
            by_run.setdefault(identity, {})[key] = value
    return by_run


@pytest.mark.parametrize("manager", ["local", "uv"])
def test_a_project_gives_the_bytes_of_one_machine(ours: Path, tmp_path: Path, manager: str) -> None:
    shutil.copytree(ours, tmp_path / "other", symlinks=True)
    identity = project(ours, "--env-manager", manager, "-P", OTHER)
    run(tmp_path / "other", "kiban", "compose", OTHER)
    run(tmp_path / "other", "dvc", "repro")
    for name in ("dvc.lock", "params.yaml", "reports/metrics.json"):
        assert (ours / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    by_run = tags(ours)
    (child,) = (each for each in by_run.values() if each.get("mlflow.parentRunId") == identity)
    assert child["model_id"] == by_run[identity]["model_id"]
    assert "model.alphas" in run(ours, "kiban", "experiments")


def test_where_nothing_had_to_run_the_run_that_exists_is_named(ours: Path) -> None:
    before = tags(ours)
    identity = project(ours, "--env-manager", "local")
    named = tags(ours)[identity]
    assert named["kiban.results"] in before
    assert named["model_id"] == before[named["kiban.results"]]["model_id"]
    assert len(tags(ours)) == len(before) + 1


def test_what_is_wrong_is_one_line(ours: Path) -> None:
    output = run(
        ours, "mlflow", "run", ".", "--env-manager", "local", "-P", "model=none", MLFLOW_TRACKING_URI=STORE, status=1
    )
    assert "error: `dvc exp run` failed" in output or "Could not find 'model/none'" in output
