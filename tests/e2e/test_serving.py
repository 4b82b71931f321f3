"""A real BentoML server on loopback, from the working tree and from a Bento in a venv of its own requirements."""

import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import http_cases
import httpx
import pytest
import yaml
from clones import run, served_with
from http_cases import JSON, Case
from servers import free_port_between, process_of, serving
from slice import KNOWN_FLIGHT, ROOT

from kiban.servable.load import load

RECORD: dict[str, Any] = {**KNOWN_FLIGHT, "state_origin_delay_3h": 35.5}
BODY = json.dumps({"records": [RECORD]}).encode()


@pytest.fixture(scope="module")
def client(served: Path) -> Iterator[httpx.Client]:
    with serving(served, "bentoml", "serve") as client:
        yield client


@pytest.fixture(scope="module")
def model_id(served: Path) -> str:
    return load(served / "models/servable").model_id


def test_the_server_answers_as_the_servable(client: httpx.Client, model_id: str) -> None:
    records = [RECORD, {**RECORD, "state_carrier_delay_24h": 170.0}]
    answer = client.post("/predict", json={"records": records}).json()
    assert answer["model_id"] == model_id
    first, second = (prediction["probability"] for prediction in answer["predictions"])
    assert 0 < second < 1
    assert first != second


@http_cases.refused
def test_a_request_that_is_wrong_is_refused_with_its_place(client: httpx.Client, model_id: str, case: Case) -> None:
    http_cases.check_refused(client, case, model_id)


@http_cases.answered
def test_what_the_contract_only_warns_of_is_answered_with_a_warning(
    client: httpx.Client, content: bytes, warned: list[tuple[int, str]]
) -> None:
    http_cases.check_answered(client, content, warned)


def test_the_limit_of_bytes_holds_on_every_route(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(60):
            yield b" " * 1_000_000

    assert client.post("/predict", content=chunks(), headers=JSON).status_code == 413
    for path in client.get("/openapi.json").json()["paths"]:
        method = "POST" if path in ("/predict", "/invocations") else "GET"
        assert client.request(method, path, content=b" " * 2_000_001, headers=JSON).status_code == 413


def test_every_path_of_the_document_is_there(client: httpx.Client, model_id: str) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if "get" in operations:
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["x-model-id"] == model_id
            assert answer.headers["content-type"].split(";")[0] in operations["get"]["responses"]["200"]["content"]
    assert client.get("/ping").json() == {"model_id": model_id}
    assert client.get("/model").json()["evaluation"]["splits"]["test"]["rows"] > 0
    assert client.get("/static_content/swagger-ui-bundle.js").status_code == 200


def test_a_monitor_may_ask_with_head(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/ping", "/", "/model"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(client.get(path).content)
    assert client.head("/predict").status_code == 405
    assert client.post("/model").headers["allow"] == "GET, HEAD"


def test_metrics_have_a_bounded_number_of_series(client: httpx.Client) -> None:
    def series() -> set[str]:
        return {line.split(" ")[0] for line in client.get("/metrics").text.splitlines() if not line.startswith("#")}

    client.get("/nothing")
    before = series()
    assert 'kiban_requests_total{path="/predict",status="200"}' in before
    assert any(name.startswith("kiban_predictions_total{label=") for name in before)
    for number in range(200):
        client.get(f"/nothing-{number}")
    assert series() == before


def test_sagemaker_can_call_it_at_the_port_that_is_asked_for(client: httpx.Client) -> None:
    """`bentoml serve --port 8080`, as in the README: `serving` has given a port of its own by the same option."""
    assert client.get("/ping").status_code == 200
    answer = client.post("/invocations", content=http_cases.ROW, headers=http_cases.CSV)
    assert answer.status_code == 400  # without the columns that may be null it needs a header
    answer = client.post("/invocations", content=f"{http_cases.HEADER}\n{http_cases.ROW}", headers=http_cases.CSV)
    assert answer.status_code == 200
    probability, label = answer.text.strip().split(",")
    assert 0 < float(probability) < 1
    assert label in ("true", "false")


def test_limits_are_configuration(evaluated: Path, tmp_path: Path) -> None:
    limits = {"max_records": 2, "max_bytes": 5000, "max_seconds": 1, "max_waiting": 3, "workers": 2}
    folder = served_with(evaluated, tmp_path / "limited", **limits)
    with serving(folder, "bentoml", "serve") as client:
        assert client.post("/predict", json={"records": [RECORD] * 2}).status_code == 200
        assert client.post("/predict", json={"records": [RECORD] * 3}).status_code == 422
        assert client.post("/predict", content=b" " * 5001, headers=JSON).status_code == 413
        assert client.get("/model").json()["limits"] == {"max_records": 2, "max_bytes": 5000}
        slow_bodies_end(client)
        requests_beyond_the_limit_are_sent_away(client)
        # Both workers' counts are in the sum, whichever of them is asked.
        refused = 'kiban_requests_total{path="/predict",status="413"} '
        texts = [httpx.get(f"{client.base_url}/metrics").text for _ in range(8)]
        assert all(f"{refused}1.0\n" in text for text in texts)


def slow_bodies_end(client: httpx.Client) -> None:
    """A body that comes a byte at a time is given up, and so is one that never comes."""
    for rest in (b" " * 99, b""):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=60) as connection:
            head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head)
            started = time.monotonic()
            sender = threading.Thread(target=drip, args=(connection, rest), daemon=True)
            sender.start()
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert 0.9 < time.monotonic() - started < 15  # a body of 20 seconds
            sender.join()


def drip(connection: socket.socket, content: bytes) -> None:
    for byte in content:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(0.2)


def requests_beyond_the_limit_are_sent_away(client: httpx.Client) -> None:
    """Ten do not send their bodies: three a worker are waited for; the rest get 429, and health is answered."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    address = (client.base_url.host, client.base_url.port or 0)
    held = [socket.create_connection(address, timeout=60) for _ in range(10)]
    for connection in held:
        connection.sendall(head)
    time.sleep(0.3)
    assert client.get("/readyz").status_code == 200
    assert client.get("/ping").status_code == 200
    statuses = [connection.recv(65536)[9:12] for connection in held]
    for connection in held:
        connection.close()
    assert set(statuses) == {b"408", b"429"}
    assert statuses.count(b"408") <= 6
    assert client.post("/predict", content=BODY, headers=JSON).status_code == 200


def test_who_sends_no_body_takes_nobodys_place(evaluated: Path, tmp_path: Path) -> None:
    folder = served_with(evaluated, tmp_path / "few", max_concurrency=2)
    with serving(folder, "bentoml", "serve") as client, contextlib.ExitStack() as stack:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        for _ in range(120):
            stack.enter_context(connected(client, head % 1000 + b"{"))
        assert client.post("/predict", content=BODY, headers=JSON).status_code == 200
        # Their bodies come at once, and are many: two places, and the others are sent away.
        many = [stack.enter_context(connected(client, head % len(BODY))) for _ in range(50)]
        time.sleep(0.3)
        (worker,) = (each for each in process_of(client).children() if "--worker-id" in each.cmdline())
        worker.suspend()
        for connection in many:
            connection.sendall(BODY)
        worker.resume()
        statuses = [connection.recv(65536)[9:12] for connection in many]
        assert set(statuses) == {b"200", b"429"}
        assert client.post("/predict", content=BODY, headers=JSON).status_code == 200


def test_keys_guard_the_real_server_and_can_be_rotated(served: Path) -> None:
    old, new = "old-key-0123456789", "new-key-0123456789"
    with serving(served, "bentoml", "serve", KIBAN_API_KEYS=f"{old},{new}") as client:
        for path in ("/livez", "/readyz", "/ping", "/metrics", "/model"):
            assert client.get(path).status_code == 200
        for key, status in ((old, 200), (new, 200), ("another-key-012345", 401)):
            headers = {**JSON, "authorization": f"Bearer {key}"}
            assert client.post("/predict", content=BODY, headers=headers).status_code == status
    logs = "".join(path.read_text() for path in served.glob("serve-*.log"))
    assert old not in logs


def test_a_service_whose_keys_are_missing_does_not_start(served: Path) -> None:
    output = run(
        served, "bentoml", "serve", "--port", str(free_port_between(16000, 18000)), status=1, KIBAN_API_KEYS=""
    )
    assert "error: KIBAN_API_KEYS: each key must have at least 16 ASCII characters" in output
    assert "Traceback" not in output


def test_a_tampered_servable_is_not_served(served: Path) -> None:
    model = served / "models/servable/model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        output = run(served, "bentoml", "serve", "--port", str(free_port_between(16000, 18000)), status=1)
    finally:
        model.write_bytes(content)
    assert "model.onnx differs from the file that the manifest names" in output
    assert "Traceback" not in output


def test_callers_that_go_away_leave_nothing_behind(served: Path) -> None:
    """Half a request, and the connection is closed: no traceback (`serving` looks), and no place is kept."""
    with serving(served, "bentoml", "serve") as client:
        for _ in range(120):
            with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
                connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert client.post("/predict", content=BODY, headers=JSON).status_code == 200


def test_callers_that_do_not_read_keep_no_place_and_leave_no_traceback(evaluated: Path, tmp_path: Path) -> None:
    """They ask for much, do not read it, and reset their connections in the end."""
    folder = served_with(evaluated, tmp_path / "few", max_concurrency=5)
    with serving(folder, "bentoml", "serve") as client:
        asked = b"GET /static_content/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 60
        held = [connected(client, asked) for _ in range(30)]
        time.sleep(1)
        assert client.post("/predict", content=BODY, headers=JSON).status_code == 200
        for connection in held:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
            connection.close()
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(BODY)}\r\n\r\n"
        for _ in range(20):
            connection = connected(client, (head.encode() + BODY) * 30)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert client.post("/predict", content=BODY, headers=JSON).status_code == 200


def connected(client: httpx.Client, content: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((client.base_url.host, client.base_url.port or 0))
    connection.sendall(content)
    return connection


def test_nothing_but_the_service_listens(client: httpx.Client) -> None:
    """The supervisor takes commands, and runs them: only over sockets that no other account can reach."""
    server = process_of(client)
    processes = [server, *server.children(recursive=True)]
    listeners = [each for process in processes for each in process.net_connections("inet") if each.status == "LISTEN"]
    assert {listener.laddr.port for listener in listeners} == {client.base_url.port}
    assert not [each for process in processes for each in process.net_connections("udp")]
    sockets = [Path(each.laddr) for each in server.net_connections("unix") if str(each.laddr).endswith("/control")]
    assert sockets
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in sockets} == {0o700}
    if os.getuid() == 0:
        connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        command = [sys.executable, "-c", connect, str(sockets[0])]
        assert subprocess.run(command).returncode == 0
        nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        refused = subprocess.run([*nobody, "/usr/bin/env", "python3", *command[1:]], capture_output=True, text=True)
        assert "PermissionError" in refused.stderr


def test_a_head_without_an_end_is_nobody_elses_matter(client: httpx.Client) -> None:
    slowest = 0.0
    with connected(client, b"GET /livez HTTP/1.1\r\nX: ") as connection, contextlib.suppress(ConnectionError):
        for _ in range(200):
            connection.sendall(b"x" * 50_000)
            started = time.monotonic()
            assert client.get("/livez").status_code == 200
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1


def test_a_trailer_opens_no_door(served: Path) -> None:
    key = "some-key-0123456789"
    with serving(served, "bentoml", "serve", KIBAN_API_KEYS=key) as client:
        head = (
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        body = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(BODY), BODY, key.encode())
        with connected(client, head + body) as connection:
            assert connection.recv(2000).startswith(b"HTTP/1.1 401 ")


def test_a_caller_that_offers_http_2_is_answered(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    command = ["curl", "-sS", "--http2", "-H", "Content-Type: application/json", "--data-binary", "@body"]
    answer = json.loads(run(tmp_path, *command, f"{client.base_url}/predict"))
    assert answer == client.post("/predict", content=BODY, headers=JSON).json()


def test_many_callers_at_once_get_their_own_answers(client: httpx.Client) -> None:
    minutes = range(300, 1200, 15)
    alone = [ask(client, minute) for minute in minutes]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda minute: ask(client, minute), minutes))
    assert together == alone
    assert len(set(alone)) > 1


def ask(client: httpx.Client, minute: int) -> float:
    answer = client.post("/predict", json={"records": [{**RECORD, "departure_minute": minute}]})
    probability: float = answer.json()["predictions"][0]["probability"]
    return probability


def test_the_bento_answers_the_same_from_its_own_requirements(
    served: Path, client: httpx.Client, tmp_path: Path
) -> None:
    """As the image has it: packages from its lock alone, the image's entrypoint, a model laid elsewhere, read-only."""
    offline = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    run(served, "bentoml", "build", BENTOML_HOME=str(tmp_path / "bentos"), **offline)
    (bento,) = (path for path in (tmp_path / "bentos/bentos/kiban").iterdir() if path.is_dir())
    the_bento_has_what_is_needed_and_no_more(bento)
    venv = tmp_path / "venv"
    run(tmp_path, sys.executable, "-m", "venv", "--without-pip", str(venv))
    requirements = str(bento / "env/python/requirements.txt")
    # BentoML adds itself once more, without a hash, so they cannot be required; uv checks those that there are. What
    # had to be built would want a compiler, which the image has not.
    run(tmp_path, "uv", "pip", "sync", "-q", "--no-build", "--python", str(venv), requirements)
    installed = run(tmp_path, "uv", "pip", "list", "--python", str(venv), "--format", "freeze")
    names = {line.split("==")[0] for line in installed.splitlines()}
    assert not names & {"scikit-learn", "pandas", "mlflow", "dvc", "great-expectations", "skl2onnx", "pyarrow"}
    model = shutil.copytree(bento / "src/models/servable", tmp_path / "model")
    where = {"BENTO_PATH": str(bento), "KIBAN_SERVABLE": str(model), "KIBAN_PREDICTION_LOG": str(tmp_path / "log")}
    path = f"{venv / 'bin'}:{os.environ['PATH']}"
    (arguments,) = re.findall(r"args: (\[serve.*?\])", (ROOT / "deploy/kubernetes.yaml").read_text())
    arguments = yaml.safe_load(arguments)
    command = [*read_only(bento), "env", f"PATH={path}", "bash", str(bento / "env/docker/entrypoint.sh"), *arguments]
    with serving(tmp_path, *command, **where) as other:
        for route in ("/model", "/openapi.json"):
            assert other.get(route).json() == client.get(route).json()
        assert other.post("/predict", content=BODY, headers=JSON).json() == (
            client.post("/predict", content=BODY, headers=JSON).json()
        )
    assert [path.suffix for path in (tmp_path / "log").iterdir()] == [".jsonl"]


def test_a_bento_does_not_hold_links_in_the_place_of_the_model(served: Path, tmp_path: Path) -> None:
    """As DVC lays them into the folder where `cache.type` is symlink."""
    model = served / "models/servable/model.onnx"
    content = model.rename(tmp_path / "cached.onnx")
    try:
        model.symlink_to(content)
        output = run(served, "bentoml", "build", status=1, BENTOML_HOME=str(tmp_path / "bentos"))
        assert "model.onnx is a link, and a Bento would hold the link: `dvc config --local cache.type copy`" in output
        assert not list((tmp_path / "bentos/bentos").glob("*/*"))
    finally:
        model.unlink()
        content.rename(model)


def the_bento_has_what_is_needed_and_no_more(bento: Path) -> None:
    top = {path.name for path in (bento / "src").iterdir()}
    assert top == {"service.py", "src", "models", "params.yaml", "reports", "bentofile.yaml"}
    kinds = {path.suffix for path in bento.rglob("*") if path.is_file()}
    assert kinds <= {"", ".py", ".yaml", ".json", ".onnx", ".txt", ".in", ".sh", ".md", ".j2", ".css", ".js"}
    dockerfile = (bento / "env/docker/Dockerfile").read_text()
    assert "FROM python:{}.{}.{}-slim".format(*sys.version_info) in dockerfile
    assert "apt-get" not in dockerfile
    assert "\nUSER bentoml\n" in dockerfile
    assert "install -d -o bentoml -g bentoml /log" in dockerfile


def read_only(folder: Path) -> list[str]:
    """What runs a command where the folder cannot be written to, if this system lets anybody mount."""
    unshare = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        return []
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return [*unshare, "sh", "-c", script, str(folder)]
