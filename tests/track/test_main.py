"""Against MLflow's own store in sqlite, a real `mlflow server`, and servers and disks that fail."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from clones import lay_runs
from clones import run as run_command
from servers import MlflowServer, free_port_between, wait_for
from slice import PICTURES, ROOT, prepared_rows, run_stage

from kiban.cli.track import track
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.servable import columns
from kiban.servable.load import load
from kiban.track import champion, mlflow_store, outbox
from kiban.track.champion import Champion

STAMP = Path("reports/track.stamp")
IMPORTS = 5  # seconds that a new process takes to import what this one has


@pytest.fixture(autouse=True)
def _local(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "dvc.lock", project)
    lay_runs(project)
    yield
    mlflow.set_tracking_uri(None)


def runs(uri: str) -> list[Any]:
    found: list[Any] = mlflow.MlflowClient(uri).search_runs(
        [each.experiment_id for each in mlflow.MlflowClient(uri).search_experiments()]
    )
    return found


def models(uri: str) -> list[Any]:
    client = mlflow.MlflowClient(uri)
    found: list[Any] = client.search_logged_models([each.experiment_id for each in client.search_experiments()])
    return found


def local(project: Path) -> str:
    return f"sqlite:///{project}/mlruns/mlflow.db"


def waiting() -> int:
    return len(outbox.waiting(Path()))


def deliver() -> None:
    track.main(["--deliver"], standalone_mode=False)


def another_lock(number: int) -> None:
    """A dvc.lock of another run."""
    text = (ROOT / "dvc.lock").read_text()
    assert "learning_rate: 0.05" in text
    Path("dvc.lock").write_text(text.replace("learning_rate: 0.05", f"learning_rate: 0.{number}"))


@pytest.fixture(scope="module")
def tracked(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which only conf/ is committed, and whose run is in MLflow. Not to be changed."""
    folder = tmp_path_factory.mktemp("tracked") / "project"
    shutil.copytree(evaluated, folder)
    for file in ("dvc.lock", "dvc.yaml"):
        shutil.copy(ROOT / file, folder)
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    for command in (["git", "init", "-q"], ["git", "add", "conf"], ["git", "commit", "-q", "-m", "conf"]):
        run_command(folder, *command)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        run_stage("track")
    return folder


def test_a_run_is_logged_with_all_that_it_came_from(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tracked)
    (run,) = runs(local(tracked))
    assert run.info.status == "FINISHED"
    assert waiting() == 0
    tags = run.data.tags
    assert tags["model_id"] == load().model_id
    assert tags["git.commit"] == run_command(tracked, "git", "rev-parse", "HEAD").strip()
    assert tags["git.dirty"] == "true"  # data/ is not committed
    assert tags["validation.prepared"].startswith("3 batches accepted, 0 rejected")
    evaluation = json.loads(Path("reports/evaluation.json").read_text())
    assert tags["gate"] in ("passed", "not passed")
    assert tags["mlflow.note.content"].startswith(f"ROC AUC on the test rows: {evaluation['test']['roc_auc']}, gate ")
    assert run.data.params["model.max_iter"] == "20"
    assert run.data.metrics["test.roc_auc"] == evaluation["test"]["roc_auc"]
    history = mlflow.MlflowClient(local(tracked)).get_metric_history(run.info.run_id, "by_batch.roc_auc")
    assert {point.step: point.value for point in history} == {
        int(batch.replace("-", "")): of["roc_auc"] for batch, of in evaluation["by_batch"].items()
    }
    lock = (ROOT / "dvc.lock").read_text()
    data = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
    assert set(data) == {"data/raw/flights", "data/prepared/flights"}
    assert all(f"{digest}.dir" in lock for digest in data.values())
    artifacts = tracked / "mlruns/artifacts" / run.info.run_id / "artifacts"
    for path in (
        "params.yaml",
        "reports/plots/roc.csv",
        "models/servable/manifest.json",
        "reports/validation/raw/index.html",
        "dvc.lock",
    ):
        assert (artifacts / path).read_bytes() == Path(path).read_bytes()


def test_plots_are_logged_as_pictures(tracked: Path) -> None:
    (run,) = runs(local(tracked))
    pictures = tracked / "mlruns/artifacts" / run.info.run_id / "artifacts/pictures"
    assert {path.stem for path in pictures.iterdir()} == set(PICTURES)


def test_the_logged_model_answers_as_the_servable(tracked: Path) -> None:
    mlflow.set_tracking_uri(local(tracked))
    (run,) = runs(local(tracked))
    (logged,) = models(local(tracked))
    assert logged.source_run_id == run.info.run_id
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    servable = load()
    features = servable.contract.features()
    assert model.metadata.get_input_schema().input_names() == list(features)
    of_test = columns.from_arrow(prepared_rows("2013-03"), features)
    frame = columns.frame(of_test).astype({name: "float64" for name in features if features[name].type != "string"})
    np.testing.assert_allclose(model.predict(frame)[:, 1], servable.score(of_test), atol=1e-5)


def test_the_registry_and_mlflows_own_server_take_the_model(tracked: Path) -> None:
    mlflow.set_tracking_uri(local(tracked))
    (logged,) = models(local(tracked))
    model_id = json.loads(Path("reports/evaluation.json").read_text())["model_id"]
    for day, version in enumerate(("v0.1.0", "v0.2.0", "v0.1.0"), 1):  # a rollback
        told = Champion(name="flights", model_id=model_id, version=version, at=f"2013-01-0{day}T00:00:00+00:00")
        mlflow_store.set_champion(told, local(tracked))
        mlflow_store.set_champion(told.model_copy(update={"version": "v0.0.1", "at": "2012"}), local(tracked))
        present = mlflow.MlflowClient().get_model_version_by_alias("flights", "champion")
        assert (present.tags["kiban.version"], present.source) == (version, f"models:/{logged.model_id}")
    assert str(present.version) == "1"
    port = free_port_between(10000, 12000)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/flights/1", "-p", str(port)]
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--host", "127.0.0.1"],
        env={**os.environ, "MLFLOW_TRACKING_URI": local(tracked)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(port, 120)
        features = load().contract.features()
        rows = columns.from_arrow(prepared_rows("2013-03").slice(0, 3), features)
        records = [
            {
                name: None if of[i] != of[i] else of[i] if isinstance(of[i], str) else float(of[i])
                for name, of in rows.items()
            }
            for i in range(3)
        ]
        import httpx

        answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json={"dataframe_records": records}, timeout=60)
        answered = [row[1] for row in answer.json()["predictions"]]
        np.testing.assert_allclose(answered, load().score(rows), atol=1e-5)
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def test_the_same_run_is_logged_once_and_another_one_beside_it(project: Path) -> None:
    """The stage's own entry in the lock makes no other run."""
    run_stage("track")
    text = Path("dvc.lock").read_text()
    assert "reports/track.stamp" in text
    Path("dvc.lock").write_text(text.replace("reports/track.stamp", "reports/other.stamp"))
    run_stage("track")
    assert len(runs(local(project))) == 1
    another_lock(1)
    run_stage("track")
    assert len(runs(local(project))) == 2


def test_runs_in_parallel_do_not_lock_each_other_out(project: Path, tmp_path: Path) -> None:
    """As the workers of a queue: copies of the project, one root, and no database there yet."""
    processes = []
    for number in range(1, 5):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(project, copy)
        (copy / "dvc.lock").write_text((copy / "dvc.lock").read_text().replace("rate: 0.05", f"rate: 0.{number}"))
        environment = {**os.environ, "DVC_ROOT": str(project), "DVC_EXP_NAME": f"number-{number}"}
        command = [sys.executable, "-m", "kiban.track"]
        processes.append(subprocess.Popen(command, cwd=copy, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0
        assert "did not take" not in errors
    found = runs(local(project))
    assert sorted(run.info.run_name for run in found) == [f"number-{number}" for number in range(1, 5)]
    assert {run.info.status for run in found} == {"FINISHED"}


@contextmanager
def answering(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def drip(handler: BaseHTTPRequestHandler) -> None:
    """An answer that never ends, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(60):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.5)


@contextmanager
def dead(kind: str) -> Iterator[int]:
    """The port of a server that is no use."""
    if kind == "answers 500":
        with answering(lambda handler: handler.send_error(500)) as port:
            yield port
        return
    if kind == "never ends its answer":
        with answering(drip) as port:
            yield port
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        callers = []
        if kind != "refused":
            listener.listen(0 if kind == "black-holed" else 10)
        if kind == "black-holed":  # its queue is full, and what comes is dropped in silence
            for _ in range(4):
                caller = socket.socket()
                caller.setblocking(False)
                caller.connect_ex(listener.getsockname())
                callers.append(caller)
        yield listener.getsockname()[1]
        for caller in callers:
            caller.close()


_healthy: dict[str, float] = {}


@pytest.fixture
def healthy(project: Path) -> float:
    """How many seconds the stage takes if all is well and the database is there; measured once."""
    if not _healthy:
        another_lock(7)
        run_stage("track")
        another_lock(8)
        started = time.monotonic()
        run_stage("track")
        _healthy["seconds"] = time.monotonic() - started
        shutil.rmtree("mlruns")
        STAMP.unlink()
        shutil.copy(ROOT / "dvc.lock", project)
    return _healthy["seconds"]


@pytest.mark.parametrize(
    "kind",
    [
        "never answers",
        *(
            pytest.param(kind, marks=pytest.mark.long)
            for kind in ("refused", "black-holed", "answers 500", "never ends its answer")
        ),
    ],
)
def test_a_dead_server_costs_at_most_ten_seconds_and_the_run_waits(
    project: Path, healthy: float, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with dead(kind) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
        started = time.monotonic()
        run_stage("track")
        assert time.monotonic() - started < healthy + 10
    printed = capfd.readouterr()
    assert f"warning: http://127.0.0.1:{port} did not take the run: " in printed.err
    assert "1 runs wait in .kiban_outbox: the next run delivers them, or `kiban track --deliver`" in printed.err
    assert "secret" not in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert STAMP.read_text() == "the run was offered to MLflow\n"
    assert waiting() == 1


def test_the_next_run_delivers_what_waits(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dead("refused") as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        run_stage("track")
    assert waiting() == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    another_lock(9)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("time_limit: 8", "time_limit: 60"))  # for a busy machine
    run_stage("track")
    assert waiting() == 0
    assert len(runs(local(project))) == 2


@pytest.mark.long
def test_the_name_of_the_folder_is_no_part_of_an_address(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "odd/a?b%20c#d"
    shutil.copytree(tracked, folder, ignore=shutil.ignore_patterns("mlruns", ".kiban_outbox"))
    monkeypatch.chdir(folder)
    run_stage("track")
    assert waiting() == 0
    assert (folder / "mlruns/mlflow.db").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    (run,) = runs("sqlite:///mlruns/mlflow.db")
    (artifacts,) = (folder / "mlruns/artifacts").glob(f"{run.info.run_id}/artifacts")
    assert (artifacts / "dvc.lock").read_bytes() == Path("dvc.lock").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_disk_that_is_full_or_read_only_is_not_in_the_way(project: Path, healthy: float, options: str) -> None:
    """mlruns/ is a file system of its own, in a mount namespace of the stage's."""
    script = f"mount -t tmpfs -o {options} tmpfs mlruns && exec {sys.executable} -m kiban.track"
    Path("mlruns").mkdir(exist_ok=True)
    inside = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c"]
    if subprocess.run([*inside, "mount -t tmpfs tmpfs mlruns"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system")
    started = time.monotonic()
    done = subprocess.run([*inside, script], capture_output=True, text=True)
    assert time.monotonic() - started < healthy + 10 + IMPORTS
    assert done.returncode == 0
    assert "did not take the run: " in done.stderr
    assert "Traceback" not in done.stderr
    assert STAMP.exists()
    assert waiting() == 1
    deliver()
    assert waiting() == 0
    assert len(runs(local(project))) == 1


def test_a_wrong_address_is_said_without_its_password(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuchscheme://someone:secret@localhost/db")
    run_stage("track")
    printed = capfd.readouterr()
    assert "did not take the run: " in printed.err
    assert "secret" not in printed.err + printed.out
    with pytest.raises(KibanError, match=r"1 runs still wait in \.kiban_outbox"):
        deliver()


def assert_one_whole_model(uri: str, run: Any) -> None:
    (logged,) = [each for each in models(uri) if each.source_run_id == run.info.run_id]
    assert str(logged.status) == "READY"
    mlflow.set_tracking_uri(uri)
    assert mlflow.pyfunc.load_model(f"models:/{logged.model_id}").metadata.get_input_schema()


def kill_once_a_run_is_there(server: MlflowServer) -> threading.Thread:
    def watch() -> None:
        client = mlflow.MlflowClient(f"sqlite:///{server.folder}/mlflow.db")
        while not client.search_runs([each.experiment_id for each in client.search_experiments()]):
            time.sleep(0.01)
        server.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.long
def test_a_server_that_is_killed_in_mid_run_gets_the_run_once(
    project: Path, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    watcher = kill_once_a_run_is_there(mlflow_server)
    run_stage("track")
    watcher.join(10)
    assert not watcher.is_alive()
    assert "did not take the run: " in capfd.readouterr().err
    assert waiting() == 1
    mlflow_server.start()
    (partial,) = runs(mlflow_server.uri)
    assert partial.info.status != "FINISHED"
    deliver()
    assert waiting() == 0
    (whole,) = runs(mlflow_server.uri)
    assert whole.info.run_id != partial.info.run_id  # the part was removed
    assert whole.info.status == "FINISHED"
    assert whole.data.metrics["test.roc_auc"] > 0.5
    assert_one_whole_model(mlflow_server.uri, whole)
    run_stage("track")  # the same run again
    deliver()
    assert len(runs(mlflow_server.uri)) == 1
    names = [each.path for each in mlflow.MlflowClient(mlflow_server.uri).list_artifacts(whole.info.run_id)]
    assert {"params.yaml", "dvc.lock", "reports", "models"} <= set(names)


def test_a_delivery_that_was_cut_off_at_the_client_ends_with_one_whole_run(
    project: Path, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process group of the stage is killed at several moments, and at last let through."""
    before = {run.info.run_id for run in runs(mlflow_server.uri)}
    another_lock(3)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.uri}
    command = [sys.executable, "-m", "kiban.track"]
    for moment in range(3):
        process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
        while waiting() == 0 and process.poll() is None:
            time.sleep(0.02)
        if moment:
            while len(runs(mlflow_server.uri)) == len(before) and process.poll() is None:
                time.sleep(0.02)
        time.sleep(0.1 * moment)
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait()
        assert waiting() == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    deliver()
    (new,) = [run for run in runs(mlflow_server.uri) if run.info.run_id not in before]
    assert new.info.status == "FINISHED"
    assert_one_whole_model(mlflow_server.uri, new)
    assert waiting() == 0


def test_a_delivery_that_was_cut_off_in_the_model_ends_with_a_whole_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow names a model in its run before the model's files are there."""
    from kiban.track import mlflow_store

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    run_stage("track")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    ((entry, run),) = outbox.waiting(Path())
    Path("mlruns").mkdir(exist_ok=True)
    artifacts = (project / "mlruns/artifacts").as_uri()

    def cut_off(*_: object) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", cut_off)
        with pytest.raises(OSError, match="cut off"):
            mlflow_store.deliver(entry, run, local(project), artifacts, lambda: None)
    assert len(runs(local(project))) == 1
    deliver()
    (whole,) = runs(local(project))
    assert whole.info.status == "FINISHED"
    assert_one_whole_model(local(project), whole)
    assert len(models(local(project))) == 1


def test_a_relative_store_is_the_repositorys_and_not_that_of_a_copy(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    run_stage("track")
    assert not (copy / "own.db").exists()
    (run,) = runs(f"sqlite:///{project}/own.db")
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith((project / "mlruns/artifacts").as_uri())


def test_a_damaged_entry_is_said_and_keeps_no_other_back(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("no-run", "no-model"):
        (paths.OUTBOX / name).mkdir(parents=True)
    run_stage("track")
    another_lock(1)
    (paths.OUTBOX / "no-model/run.json").write_text(
        json.dumps(
            {
                "key": "no-model",
                "at": 9_000_000_000_000,
                "experiment": "flights",
                "name": "n",
                "parameters": {},
                "metrics": [],
                "tags": {},
                "model": {"features": {}, "requirements": []},
            }
        )
    )
    capfd.readouterr()
    run_stage("track")
    printed = capfd.readouterr()
    assert "is in sqlite" in printed.out
    assert len(runs(local(project))) == 2
    track.main([], standalone_mode=False)
    printed = capfd.readouterr()
    assert "1 runs wait for" in printed.out
    assert ".kiban_outbox/no-run holds no run that this version can read" in printed.out


@pytest.mark.long
def test_what_one_run_is_refused_for_keeps_no_other_back(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_stage("track")
    client = mlflow.MlflowClient(local(project))
    client.delete_experiment(runs(local(project))[0].info.experiment_id)
    another_lock(1)
    run_stage("track")
    said = capfd.readouterr().err
    assert "did not take the run: the experiment 'flights' of MLflow was deleted: `mlflow experiments restore" in said
    another_lock(2)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("experiment: flights", "experiment: others"))
    run_stage("track")
    assert waiting() == 1
    (run,) = runs(local(project))
    assert run.info.status == "FINISHED"


def test_the_command_lists_what_waits(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    run_stage("track")
    capfd.readouterr()
    track.main([], standalone_mode=False)
    printed = capfd.readouterr().out
    assert f"flights  HistGradientBoostingClassifier {load().model_id[:12]}" in printed
    assert "1 runs wait for http://127.0.0.1:1" in printed


def test_the_champion_waits_until_mlflow_has_its_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    champion.put(project, Champion(name="flights", model_id="0" * 64, version="v0.1.0", at="1"))
    champion.put(project, Champion(name="flights", model_id=load().model_id, version="v0.2.0", at="2"))
    track.main([], standalone_mode=False)
    assert "flights v0.2.0 waits for its alias champion" in capfd.readouterr().out
    with pytest.raises(KibanError, match=f"no run has the model {load().model_id[:12]}"):
        track.main(["--deliver"], standalone_mode=False)
    run_stage("track")
    assert champion.waiting(project) is None
    version = mlflow.MlflowClient(local(project)).get_model_version_by_alias("flights", "champion")
    assert version.tags["kiban.version"] == "v0.2.0"


def test_a_servable_that_is_not_whole_is_said_and_the_pipeline_goes_on(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (paths.SERVABLE / "model.onnx").write_bytes(b"")
    run_stage("track")
    assert "warning: the run was not tracked: " in capfd.readouterr().err
    assert STAMP.exists()
