"""Kubeflow: the pipeline as it is committed, and run by its local runner; a job of its trainer; by podman."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clones import run
from containers import Podman
from seattle import check_same_bytes
from servers import Store, free_port_between, wait_for
from slice import ROOT

PYTHON = ROOT / ".venv/kubeflow/bin/python"
pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not PYTHON.exists(), reason="Kubeflow's packages are not installed: `make test-runners`"),
]
PIPELINE = """\
import json
import sys
from kfp import local
sys.path.insert(0, "runners/kubeflow")
from pipeline import pipeline

given = json.loads(sys.argv[1])
local.init(local.DockerRunner(network_mode="host", environment=given["environment"]), pipeline_root=given["root"])
pipeline(**given["parameters"])
"""
TRAINJOB = """\
import json
import sys
from kubeflow.trainer import ContainerBackendConfig, CustomTrainer, TrainerClient
from kubeflow.trainer.types import types

given = json.loads(sys.argv[1])

def job():
    import subprocess
    subprocess.run(["kiban-clone", "dvc", "repro", "config"], check=True)

client = TrainerClient(backend_config=ContainerBackendConfig(
    container_runtime="podman", container_host=given["socket"], pull_policy="Never", auto_remove=True))
runtime = types.Runtime(name="torch-distributed", kind=types.RuntimeKind.TRAINING_RUNTIME, trainer=types.RuntimeTrainer(
    trainer_type=types.TrainerType.CUSTOM_TRAINER, framework="plain", image=given["image"], num_nodes=1))
trainer = CustomTrainer(func=job, image=given["image"], env=given["environment"])
name = client.train(runtime=runtime, trainer=trainer)
try:
    print(client.wait_for_job_status(name, status={"Complete", "Failed"}, timeout=300).status)
finally:
    client.delete_job(name)
"""


@pytest.fixture
def socket(podman: Podman, tmp_path: Path) -> Iterator[str]:
    """The address at which podman answers as Docker does."""
    address = f"unix://{tmp_path}/podman.sock"
    service = subprocess.Popen(["podman", "system", "service", "--time", "0", address])
    while not (tmp_path / "podman.sock").exists():
        time.sleep(0.1)
    yield address
    service.terminate()
    service.wait()


@pytest.fixture
def address(moved: Path, store: Store, tmp_path: Path) -> Iterator[str]:
    """The address of origin, whose store is S3."""
    run(moved, "dvc", "remote", "add", "-q", "-d", "store", "s3://dvc/weather")
    run(moved, "kiban", "compose", "model.alphas=[1.0,10.0]")  # that there is something to do
    run(moved, "git", "commit", "-q", "-a", "-m", "a store, and other parameters")
    run(moved, "kiban", "push", **store.environment)
    run(tmp_path, "git", "clone", "-q", "--bare", str(moved), "origin.git")
    port = free_port_between(30000, 32000)
    options = ["--export-all", "--enable=receive-pack", "--reuseaddr", f"--base-path={tmp_path}"]
    daemon = subprocess.Popen(["git", "daemon", "--listen=127.0.0.1", f"--port={port}", *options], process_group=0)
    wait_for(port)
    yield f"git://127.0.0.1:{port}/origin.git"
    subprocess.run(["kill", "--", f"-{daemon.pid}"], check=True)
    daemon.wait()


def test_the_pipeline_is_the_committed_one(tmp_path: Path) -> None:
    run(ROOT, str(PYTHON), "runners/kubeflow/pipeline.py", str(tmp_path / "pipeline.yaml"))
    assert (tmp_path / "pipeline.yaml").read_text() == (ROOT / "runners/kubeflow/pipeline.yaml").read_text()


def test_the_pipeline_gives_the_bytes_of_one_machine(
    moved: Path, address: str, store: Store, socket: str, steps_image: str, tmp_path: Path
) -> None:
    settings = moved / "runners/kubeflow.yaml"
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), "image": steps_image}))
    given = {"environment": store.environment, "root": str(tmp_path / "root")}
    given |= {"parameters": {"repository": address}}
    run(moved, str(PYTHON), "-c", PIPELINE, json.dumps(given), DOCKER_HOST=socket)
    run(moved, "git", "checkout", "-q", "runners")
    origin = tmp_path / "origin.git"
    (branch,) = run(origin, "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/kiban-run-*").split()
    check_same_bytes(moved, origin, branch)


def test_a_job_of_the_trainer_runs_a_stage_in_a_fresh_clone(socket: str, steps_image: str, tmp_path: Path) -> None:
    """In a network of its own, from which this machine is not reached: origin is the repository of the image."""
    given = {"socket": socket, "image": steps_image, "environment": {"KIBAN_REPOSITORY": "/opt/kiban"}}
    (tmp_path / "job.py").write_text(TRAINJOB)  # the source of the job's function is read from its file
    assert run(tmp_path, str(PYTHON), "job.py", json.dumps(given)) == "Complete\n"
