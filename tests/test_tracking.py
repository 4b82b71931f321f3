"""Against a real MLflow store in sqlite, and against servers that are down."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from conftest import run_stage

from kiban import prepared, tracking
from kiban.servable import manifest


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri(None)


def test_a_run_is_logged_with_all_that_it_came_from(project: Path) -> None:
    run_stage("track")
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlruns/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["flights"], output_format="list")
    _, model_id = manifest.read_checked(manifest.FOLDER)
    assert run.data.tags["model_id"] == model_id
    assert run.data.params["model.max_iter"] == "20"
    assert 0.5 < run.data.metrics["test.roc_auc"] < 1
    for batch, digest in prepared.accepted("flights").items():
        assert batch == "2013-03" or f"{batch}:{digest[:12]}" in run.data.tags["data.prepared"]
    artifacts = project / "mlruns/artifacts" / run.info.run_id / "artifacts"
    for path in (
        "params.yaml",
        "reports/plots/roc.csv",
        "models/servable/manifest.json",
        "reports/validation/raw/index.html",
    ):
        assert (artifacts / path).read_bytes() == Path(path).read_bytes()


def test_the_logged_model_answers_as_the_servable(project: Path) -> None:
    import numpy as np

    from kiban import columns, estimator
    from kiban.servable.load import load

    run_stage("track")
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlruns/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["flights"], output_format="list")
    (logged,) = mlflow.search_logged_models(output_format="list")
    assert logged.source_run_id == run.info.run_id
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    servable = load()
    features = servable.contract.features()
    assert model.metadata.get_input_schema().input_names() == list(features)
    of_test = columns.from_arrow(prepared.read("flights", ["2013-03"]), features)
    frame = estimator.frame(of_test).astype({name: "float64" for name in features if features[name].type != "string"})
    np.testing.assert_allclose(model.predict(frame)[:, 1], servable.score(of_test), atol=1e-5)


@pytest.fixture(params=["refused", "never answers"])
def dead_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "never answers":
            listener.listen()
        yield f"http://someone:secret@127.0.0.1:{listener.getsockname()[1]}"


def test_a_dead_server_is_not_in_the_way(
    project: Path, dead_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_server)
    started = time.monotonic()
    run_stage("track")
    assert time.monotonic() - started < 10
    printed = capsys.readouterr().err
    assert "warning: the run was not tracked: " in printed
    assert "secret" not in printed
    assert Path("reports/track.stamp").exists()


def test_a_password_in_the_address_is_not_printed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuchscheme://someone:secret@localhost/db")
    run_stage("track")
    printed = capsys.readouterr()
    assert "warning: the run was not tracked: " in printed.err
    assert "secret" not in printed.err + printed.out


def test_flatten_names_leaves_by_their_path() -> None:
    assert dict(tracking.flatten({"a": {"b": 1, "c": [2]}, "d": None})) == {"a.b": 1, "a.c": [2], "d": None}


def test_outside_a_git_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert tracking.git_state(tmp_path) == {}
    assert set(tracking.git_state(Path(__file__).parent)) == {"git.commit", "git.dirty"}
