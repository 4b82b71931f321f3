"""A real BentoML server on loopback, from the working tree and from a Bento in a venv of its own requirements."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import KNOWN_FLIGHT

from e2e.conftest import environment, run
from kiban.servable.load import load

RECORD: dict[str, Any] = {**KNOWN_FLIGHT, "state_origin_delay_3h": 35.5}


@contextmanager
def serving(folder: Path, port: int, *command: str, **extra: str) -> Iterator[httpx.Client]:
    """A client of the server that `command` starts, once it is ready."""
    log = folder / "serve.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=environment(**extra), stdout=output, stderr=output
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(300):
                assert server.poll() is None, log.read_text()
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def served(clone: Path, evaluated: Path) -> Path:
    """The clone with the servable of the slice."""
    shutil.copytree(evaluated / "models", clone / "models", dirs_exist_ok=True)
    return clone


def test_the_server_answers_as_the_servable(served: Path, free_port: Callable[[], int]) -> None:
    with serving(served, free_port(), "bentoml", "serve") as client:
        answer = client.post(
            "/predict", json={"records": [RECORD, {**RECORD, "state_carrier_delay_24h": 170.0}]}
        ).json()
        assert answer["model_id"] == load(served / "models/servable").model_id
        first, second = (prediction["probability"] for prediction in answer["predictions"])
        assert 0 < second < 1
        assert first != second
        refused = client.post("/predict", json={"records": [{**RECORD, "origin": "XXX"}]})
        assert refused.status_code == 422
        for path in ("/livez", "/metrics", "/openapi.json", "/"):
            assert client.get(path).status_code == 200


def test_a_tampered_servable_is_not_served(served: Path, free_port: Callable[[], int]) -> None:
    model = served / "models/servable/model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        output = run(served, "bentoml", "serve", "--port", str(free_port()), status=1)
    finally:
        model.write_bytes(content)
    assert "model.onnx is not the file that the manifest names" in output
    assert "Traceback" not in output


def test_the_bento_answers_the_same_from_its_own_requirements(
    served: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    offline = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    run(served, "bentoml", "build", BENTOML_HOME=str(tmp_path / "bentos"), **offline)
    (bento,) = (path for path in (tmp_path / "bentos/bentos/kiban").iterdir() if path.is_dir())
    venv = tmp_path / "venv"
    run(tmp_path, sys.executable, "-m", "venv", "--without-pip", str(venv))
    requirements = str(bento / "env/python/requirements.txt")
    # BentoML adds itself once more, without a hash, so they cannot be required; uv checks those that there are.
    run(tmp_path, "uv", "pip", "sync", "-q", "--python", str(venv), requirements)
    installed = run(tmp_path, "uv", "pip", "list", "--python", str(venv), "--format", "freeze")
    names = {line.split("==")[0] for line in installed.splitlines()}
    assert not names & {"scikit-learn", "pandas", "mlflow", "dvc", "great-expectations", "skl2onnx", "pyarrow"}
    with serving(served, free_port(), "bentoml", "serve") as client:
        expected = client.post("/predict", json={"records": [RECORD]}).json()
    with serving(tmp_path, free_port(), str(venv / "bin/bentoml"), "serve", str(bento)) as client:
        assert client.post("/predict", json={"records": [RECORD]}).json() == expected
