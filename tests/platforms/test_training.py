"""A training job of SageMaker: the image of the steps, its contract, and no network."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import run
from containers import Podman

pytestmark = pytest.mark.platform
ACCOUNT = "1234"
WRITABLE = ("/tmp", "/home/kiban")  # noqa: S108
Job = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ours(weather: Path, tmp_path: Path) -> Path:
    """The repository of the image, with its data in a store."""
    folder = tmp_path / "ours"
    shutil.copytree(weather / "ours", folder, symlinks=True)
    run(folder, "dvc", "remote", "add", "-q", "-d", "--local", "store", str(tmp_path / "store"))
    run(folder, "kiban", "push")
    return folder


@pytest.fixture
def ml(ours: Path, tmp_path: Path) -> Path:
    """The folder /opt/ml of a job whose channel is the store."""
    folder = tmp_path / "ml"
    for name in ("input/config", "input/data", "model", "output/data"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(tmp_path / "store", folder / "input/data/store")
    run(tmp_path, "chown", "-R", f"{ACCOUNT}:{ACCOUNT}", "ml")
    return folder


def command(image: str, ml: Path, *options: str) -> list[str]:
    """The job as another account, who may write /opt/ml, /tmp and its home alone."""
    places = [word for path in WRITABLE for word in ("--tmpfs", f"{path}:rw,exec,mode=1777")]
    limits = ["--read-only", "--read-only-tmpfs=false", "--network", "none", "--user", f"{ACCOUNT}:{ACCOUNT}"]
    return ["podman", "run", "--rm", *options, *limits, *places, "-v", f"{ml}:/opt/ml", image, "train"]


def test_a_job_gives_the_bytes_of_one_machine(ours: Path, steps_image: str, ml: Path) -> None:
    (ml / "input/config/hyperparameters.json").write_text(json.dumps({"model.alphas": "[1.0, 10.0]"}))
    done = subprocess.run(command(steps_image, ml), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (ml / "output/failure").exists()
    run(ours, "kiban", "compose", "model.alphas=[1.0,10.0]")
    run(ours, "dvc", "repro")
    for name in ("dvc.lock", "params.yaml", "reports/metrics.json"):
        assert (ml / "output/data" / name).read_bytes() == (ours / name).read_bytes(), name
    for path in (ours / "models/servable").iterdir():
        assert (ml / "model" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{"model": "nonsense"}', "nonsense"),
        ('{"model.alphas": 1}', "hyperparameters.json is not a mapping of names to texts"),
    ],
)
def test_what_is_wrong_is_told(steps_image: str, ml: Path, given: str, message: str) -> None:
    (ml / "input/config/hyperparameters.json").write_text(given)
    done = subprocess.run(command(steps_image, ml), capture_output=True, text=True)
    assert done.returncode == 1
    assert message in (ml / "output/failure").read_text()
    assert "Traceback" not in done.stderr


def test_a_job_that_is_ended_ends_all_it_started(podman: Podman, steps_image: str, ml: Path) -> None:
    (ml / "input/config/hyperparameters.json").write_text(json.dumps({"model.alphas": "[1.0, 10.0]"}))
    job = subprocess.Popen(command(steps_image, ml, "--name", "kiban-tests-ended"), stdout=subprocess.PIPE, text=True)
    try:
        assert job.stdout
        for line in job.stdout:  # logs come as they are written
            if "Running stage" in line:
                break
        started = time.monotonic()
        podman("stop", "--time", "60", "kiban-tests-ended")
        assert time.monotonic() - started < 30
        assert job.wait() == 1
    finally:
        subprocess.run(["podman", "rm", "-f", "-i", "kiban-tests-ended"], capture_output=True)
    assert (ml / "output/failure").read_text() == "the job was ended by SIGTERM"
