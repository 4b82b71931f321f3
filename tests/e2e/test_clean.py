"""`kiban clean` after experiments, of which one was removed: the others, and every commit, are still whole."""

import shutil
from pathlib import Path

import pytest
from clones import commit, copy_to, run, with_results
from slice import SLICE, SMALL_TREES

pytestmark = pytest.mark.long


@pytest.fixture
def tried(evaluated: Path, tmp_path: Path) -> Path:
    """A repository with two commits that have a model, and an experiment of each kind: kept and removed."""
    folder = copy_to(tmp_path / "project")
    run(folder, "git", "init", "-q", "-b", "main")
    with_results(folder, evaluated)
    run(folder, "dvc", "repro")
    commit(folder, "the first model")
    run(folder, "kiban", "compose", *SLICE, *SMALL_TREES, "model.max_iter=25")
    run(folder, "dvc", "repro")
    commit(folder, "the second model")
    for name, value in (("kept", 30), ("removed", 35)):
        overrides = (*SLICE, *SMALL_TREES, f"model.max_iter={value}")
        settings = [word for override in overrides for word in ("-S", override)]
        run(folder, "dvc", "exp", "run", "--temp", "-n", name, *settings)
    run(folder, "dvc", "exp", "remove", "removed")
    return folder


def sizes(folder: Path) -> dict[str, int]:
    return {
        name: sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
        for name in (".dvc/cache/files", "mlruns/artifacts")
    }


def test_what_nothing_names_goes_and_the_rest_can_be_brought_back(tried: Path) -> None:
    before = sizes(tried)
    output = run(tried, "kiban", "clean")
    assert "1 run of models that nothing names" in output
    assert "1 experiment kept" in output
    assert "may go: `kiban clean --yes` removes it" in output
    assert sizes(tried) == before  # a plan removes nothing

    run(tried, "kiban", "clean", "--yes")
    after = sizes(tried)
    assert all(after[name] < before[name] for name in before)
    assert "clean: all is named" in run(tried, "kiban", "clean")
    assert run(tried, "dvc", "status", "--quiet") == ""
    for revision in ("HEAD~1", "main"):
        shutil.rmtree(tried / "models")
        run(tried, "git", "checkout", "-q", "--force", revision)
        run(tried, "dvc", "checkout", "--force")
        assert (tried / "models/servable/manifest.json").exists()
    run(tried, "dvc", "exp", "apply", "kept")
    runs = run(tried, "python", "-c", RUNS).split()
    assert len(runs) == 3
    assert "kept" in runs
    assert "removed" not in runs


RUNS = """
import mlflow
client = mlflow.MlflowClient("sqlite:///mlruns/mlflow.db")
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], run_view_type=3):
        print(run.info.run_name.replace(" ", "-"))
"""


def test_a_cache_that_others_may_use_is_left(tried: Path, tmp_path: Path) -> None:
    run(tried, "dvc", "cache", "dir", "--local", str(tmp_path / "shared"))
    assert "outside of this project, so that others may use it" in run(tried, "kiban", "clean", status=1)
