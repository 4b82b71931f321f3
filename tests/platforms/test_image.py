"""The images of the service and of the steps, built by podman, and run as another account from a read-only root."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from clones import commit, copy_to, run, served_with
from containers import BASE, Podman, build
from servers import free_port_between, wait_for
from slice import KNOWN_FLIGHT

pytestmark = pytest.mark.platform
ACCOUNT = "1234:1234"
SERVICE = "localhost/kiban-tests:service"
NAME = "kiban-tests-service"
CANARY = f"canary-{uuid4()}"
PLACES = ["--tmpfs", "/tmp:rw,exec,mode=1777", "-e", "BENTOML_HOME=/tmp/bentoml"]  # noqa: S108


@pytest.fixture(scope="module")
def image(evaluated: Path, podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a Bento, by BentoML's own commands."""
    folder = tmp_path_factory.mktemp("bento") / "clone"
    served_with(evaluated, folder, watch_seconds=0.2)
    podman("tag", BASE, "docker.io/library/python:{}.{}.{}-slim".format(*sys.version_info))
    home = {"BENTOML_HOME": str(folder.parent / "bentos"), "KIBAN_ANY_MODEL": "1"}
    run(folder, "bentoml", "build", **home)
    options = ["--opt", "isolation=chroot", "--opt", "network=host"]
    run(folder, "bentoml", "containerize", "kiban:latest", "--backend", "buildah", "-t", SERVICE, *options, **home)
    return SERVICE


@contextmanager
def answering(podman: Podman, image: str, *options: str, port: int) -> Iterator[httpx.Client]:
    """A container that answers at the port, as another account, from a read-only root."""
    limits = ["--read-only", "--read-only-tmpfs=false", "--user", ACCOUNT, "--network", "host"]
    podman("run", "-d", "--name", NAME, *limits, *PLACES, "-e", "BENTOML_HOST=127.0.0.1", *options, image)
    try:
        wait_for(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    except TimeoutError:
        raise AssertionError(podman("logs", NAME)) from None
    finally:
        subprocess.run(["podman", "rm", "-f", NAME], capture_output=True)


def test_the_image_answers_takes_another_model_and_ends(
    podman: Podman, image: str, models: list[Path], tmp_path: Path
) -> None:
    volume, log = tmp_path / "models", tmp_path / "log"
    shutil.copytree(models[0], volume / "servable")
    log.mkdir()
    run(tmp_path, "chown", ACCOUNT, "log")
    port = free_port_between(20000, 24000)
    mounted = ["-v", f"{volume}:/models:ro", "-v", f"{log}:/log", "-e", "KIBAN_SERVABLE=/models/servable"]
    with answering(podman, image, *mounted, "-e", f"BENTOML_PORT={port}", port=port) as client:
        before = client.post("/predict", json={"records": [KNOWN_FLIGHT]}).raise_for_status().json()
        assert before["model_id"] == json.loads(client.get("/model").text)["model_id"]
        shutil.copytree(models[1], volume / "beside")
        (volume / "servable").rename(volume / "old")
        (volume / "beside").rename(volume / "servable")
        after = before
        for _ in range(100):
            after = client.post("/predict", json={"records": [KNOWN_FLIGHT]}).raise_for_status().json()
            if after["model_id"] != before["model_id"]:
                break
            time.sleep(0.3)
        assert after["predictions"] != before["predictions"]
        podman("stop", "--time", "30", NAME)
        assert podman("inspect", NAME, "--format", "{{.State.ExitCode}}").strip() == "0"
    lines = [line for path in log.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(lines) > 1


def test_the_image_answers_as_vertex_ai_asks(podman: Podman, image: str) -> None:
    port = free_port_between(20000, 24000)
    routes = {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": "/health",
        "AIP_PREDICT_ROUTE": "/v1/models/kiban:predict",
    }
    given = [word for name, value in routes.items() for word in ("-e", f"{name}={value}")]
    with answering(podman, image, *given, "-e", "KIBAN_PREDICTION_LOG=/tmp/log", port=port) as client:
        assert client.get("/health").status_code == 200
        answer = client.post("/v1/models/kiban:predict", json={"instances": [KNOWN_FLIGHT]}).raise_for_status().json()
        assert list(answer) == ["predictions"]
        assert answer["predictions"] == client.post("/predict", json={"records": [KNOWN_FLIGHT]}).json()["predictions"]


def test_nothing_of_the_working_tree_is_in_the_image_of_the_steps(podman: Podman, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    run(copy_to(ours, with_runs=False), "git", "init", "-q", "-b", "main")
    (ours / "past.txt").write_text(CANARY)
    commit(ours, "a project")
    run(ours, "git", "rm", "-q", "past.txt")
    commit(ours, "a file less")
    past = run(ours, "git", "rev-parse", "HEAD^").strip()
    run(ours, "git", "switch", "-q", "-c", "secret")
    (ours / "committed.txt").write_text(CANARY)
    commit(ours, CANARY)
    secret = run(ours, "git", "rev-parse", "HEAD").strip()
    run(ours, "git", "switch", "-q", "main")
    run(ours, "git", "remote", "add", "origin", f"https://user:{CANARY}@git.example.com/kiban.git")
    for name in (
        "deploy/.env",
        ".dvc/config.local",
        "mlruns/x",
        "logs/x",
        "data/raw/x",
        "untracked.txt",
        ".kiban_cache/x",
    ):
        (ours / name).parent.mkdir(parents=True, exist_ok=True)
        (ours / name).write_text(CANARY)
    (ours / "README.md").write_text(CANARY)
    (ours / "staged.txt").write_text(CANARY)
    run(ours, "git", "add", "staged.txt")
    image = build(ours, "localhost/kiban-tests:secrets")
    found = podman(
        "run", "--rm", "--user", "0", image, "grep", "-rlI", CANARY, "/opt", "/home", "/etc", "/var", status=1
    )
    assert found == ""
    assert str(tmp_path) not in podman("run", "--rm", image, "cat", "/opt/kiban/.git/config")
    for other in (secret, past):
        podman("run", "--rm", image, "git", "-C", "/opt/kiban", "cat-file", "-e", other, status=1)
    assert podman("run", "--rm", image, "git", "-C", "/opt/kiban", "status", "--porcelain") == ""
    podman("image", "rm", "-f", image)
