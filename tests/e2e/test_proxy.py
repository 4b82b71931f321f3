"""The real service behind a real Caddy with deploy/Caddyfile."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers import free_port_between, serving, wait_for
from slice import KNOWN_FLIGHT, ROOT

KEY = "a-key-of-the-caller-0123"


@pytest.fixture(scope="module")
def inside(served: Path) -> Iterator[httpx.Client]:
    with serving(served, "bentoml", "serve", KIBAN_API_KEYS=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def outside(inside: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not installed: apt-get install caddy")
    folder, port = tmp_path_factory.mktemp("caddy"), free_port_between(18000, 20000)
    where = {"KIBAN_SITE": f"http://127.0.0.1:{port}", "KIBAN_UPSTREAM": f"127.0.0.1:{inside.base_url.port}"}
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(ROOT / "deploy/Caddyfile")]
    with (folder / "log").open("wb") as log:
        proxy = subprocess.Popen(
            command, env={"PATH": os.environ["PATH"], "HOME": str(folder), **where}, stdout=log, stderr=log
        )
    try:
        wait_for(port)
        with httpx.Client(base_url=where["KIBAN_SITE"], timeout=30) as client:
            yield client
    finally:
        proxy.terminate()
        proxy.wait(30)


def test_predictions_and_the_page_are_published(outside: httpx.Client, inside: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": "through-the-proxy"}
    answer = outside.post("/predict", json={"records": [KNOWN_FLIGHT]}, headers=headers)
    assert answer.json() == inside.post("/predict", json={"records": [KNOWN_FLIGHT]}, headers=headers).json()
    assert answer.headers["x-request-id"] == "through-the-proxy"
    assert outside.post("/predict", json={"records": [KNOWN_FLIGHT]}).status_code == 401
    for path in ("/", "/docs", "/openapi.json", "/static_content/swagger-ui.css"):
        assert outside.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/model", "/metrics", "/livez", "/readyz", "/ping", "/invocations", "/nothing"])
def test_what_is_for_the_inside_is_not_published(outside: httpx.Client, inside: httpx.Client, path: str) -> None:
    assert outside.get(path).status_code == 404
    assert outside.post(path).status_code == 404
    assert inside.get(path).status_code in (200, 404, 405)


def test_the_proxy_ends_an_idle_connection_before_the_service_does(inside: httpx.Client) -> None:
    """Or the service would end one to which a request has just been given."""
    (kept,) = re.findall(r"keepalive (\d+)s", (ROOT / "deploy/Caddyfile").read_text())
    connection = http.client.HTTPConnection(inside.base_url.host, inside.base_url.port)
    for pause in (0.0, float(kept) + 0.5):
        time.sleep(pause)
        connection.auto_open = int(not pause)  # the same connection
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def test_large_bodies_and_headers_and_slow_heads_end_at_the_proxy(outside: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    answer = outside.post("/predict", content=b" " * 2_500_000, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["errors"][0]["problem"] == "the body is too large"  # the service's own words
    assert outside.get("/", headers={"x-much": "a" * 40_000}).status_code == 431
    with socket.create_connection((outside.base_url.host, outside.base_url.port or 0), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert b" 200 " not in connection.recv(65536)
        assert 3 < time.monotonic() - started < 15
