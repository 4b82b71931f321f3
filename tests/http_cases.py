"""What a caller may send, and what it gets: one table, for the routes without a server and with one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from slice import KNOWN_FLIGHT
from starlette.testclient import TestClient

from kiban.serve import guard
from kiban.serve.app import create_app, predictions, ready
from kiban.serve.model import Served
from kiban.serve.prediction_log import PredictionLog

_JSON = "application/json"
JSON = {"content-type": _JSON}
CSV = {"content-type": "text/csv"}
LINES = {"content-type": "application/jsonlines"}
HEADER = ",".join(KNOWN_FLIGHT)
ROW = ",".join(str(value) for value in KNOWN_FLIGHT.values())
LINE = json.dumps(KNOWN_FLIGHT)


@dataclass
class Case:
    """A request, and the status it gets; `at` is the (record, field) of the first finding."""

    status: int
    content: bytes
    at: tuple[int | None, str | None] = (None, None)
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    method: str = "POST"
    path: str = "/predict"


def edited(**edit: Any) -> bytes:
    """A request of two records, of which the second is edited; a field that is ... is left out."""
    record = {name: value for name, value in {**KNOWN_FLIGHT, **edit}.items() if value is not ...}
    return json.dumps({"records": [KNOWN_FLIGHT, record]}).encode()


def rejected(name: str, **edit: Any) -> Case:
    return Case(422, edited(**edit), (1, name))


REFUSED = {
    "a string for a number": rejected("departure_minute", departure_minute="1020"),
    "true for 1": rejected("departure_minute", departure_minute=True),
    "a number for a string": rejected("carrier", carrier=1),
    "a fraction for an integer": rejected("departure_minute", departure_minute=10.5),
    "next to nothing for an integer": rejected("departure_minute", departure_minute=2.6e-42),
    "a list for a number": rejected("distance", distance=[1]),
    "NaN": rejected("weather_pressure", weather_pressure=float("nan")),
    "Infinity": rejected("weather_pressure", weather_pressure=float("inf")),
    "a number that is too large for a model": rejected("weather_pressure", weather_pressure=1e300),
    "an integer of 400 digits": rejected("distance", distance=10**400),
    "a level that rejects": rejected("origin", origin="XXX"),
    "out of a range that rejects": rejected("departure_minute", departure_minute=1440),
    "null where it must not be": rejected("origin", origin=None),
    "a missing field": rejected("distance", distance=...),
    "an unknown field": rejected("late", late=True),
    "more fields than there are": rejected("x0", **{f"x{number}": 1 for number in range(40)}),
    "a large list for a number": rejected("distance", distance=[0] * 300_000),
    "a record that is none": Case(422, b'{"records": [[]]}', (0, None)),
    "null for a record": Case(422, b'{"records": [null]}', (0, None)),
    "no record": Case(422, b'{"records": []}', (None, "records")),
    "too many records": Case(422, json.dumps({"records": [KNOWN_FLIGHT] * 1001}).encode(), (None, "records")),
    "no records key": Case(422, b"{}", (None, "records")),
    "another key": Case(422, b'{"records": [{}], "x": 1}', (None, "records")),
    "records that are no list": Case(422, b'{"records": {}}', (None, "records")),
    "a body that is no object": Case(422, b"[]", (None, "records")),
    "null": Case(422, b"null", (None, "records")),
    "no body": Case(400, b""),
    "half a body": Case(400, b'{"records": ['),
    "two bodies": Case(400, b"{}{}"),
    "bad UTF-8": Case(400, b'{"records": [{"carrier": "\xff"}]}'),
    "half of a surrogate pair": Case(400, b'{"records": [{"carrier": "\\ud800"}]}'),
    "two byte order marks": Case(400, b"\xef\xbb\xbf\xef\xbb\xbf{}"),
    "deep nesting": Case(400, b'{"records": ' + b"[" * 100_000),
    "deep nesting of objects": Case(400, b'{"records":' * 100_000),
    "a number of a million digits": Case(400, b'{"records": [' + b"9" * 1_000_000 + b"]}"),
    "too large": Case(413, b" " * 2_000_001),
    "no content type": Case(415, edited(), (None, "Content-Type"), {}),
    "another content type": Case(415, b"carrier=UA", (None, "Content-Type"), {"content-type": "text/plain"}),
    "a form": Case(415, b"a=1", (None, "Content-Type"), {"content-type": "application/x-www-form-urlencoded"}),
    "a bad boundary": Case(415, b"--x", (None, "Content-Type"), {"content-type": "multipart/form-data; boundary="}),
    "another charset": Case(415, edited(), (None, "Content-Type"), {"content-type": f"{_JSON}; charset=latin-1"}),
    "a compressed body": Case(415, edited(), (None, "Content-Encoding"), {**JSON, "content-encoding": "gzip"}),
    "CSV for /predict": Case(415, ROW.encode(), (None, "Content-Type"), CSV),
    "an unknown path": Case(404, b"", path="/predictions"),
    "a path that BentoML has": Case(404, b"", method="GET", path="/schema.json"),
    "a path with a slash more": Case(404, b"", path="/predict/"),
    "another method": Case(405, b"", method="GET"),
    "another method on a route of BentoML": Case(405, b"", path="/livez"),
    "CSV with text for a number": Case(
        422, f"{HEADER}\n{ROW.replace('2565', 'far')}".encode(), (0, "distance"), CSV, path="/invocations"
    ),
    "CSV with a field too few": Case(400, f"{HEADER}\nUA,EWR".encode(), (0, None), CSV, path="/invocations"),
    "CSV with a column twice": Case(400, b"carrier,carrier\nUA,UA", headers=CSV, path="/invocations"),
    "CSV with a bare quote": Case(400, b'"a"b,', headers=CSV, path="/invocations"),
    "CSV that is not UTF-8": Case(400, b"\xff,", headers=CSV, path="/invocations"),
    "CSV without what must be there": Case(422, b"carrier\nUA", (0, "origin"), CSV, path="/invocations"),
    "CSV with many blank lines": Case(422, b"\n" * 100_000, (None, "records"), CSV, path="/invocations"),
    "many lines of JSON": Case(422, b"1\n" * 100_000, (None, "records"), LINES, path="/invocations"),
    "CSV with a number that JSON does not know": Case(
        422, f"{HEADER}\n{ROW.replace('2565', '2_565')}".encode(), (0, "distance"), CSV, path="/invocations"
    ),
    "empty CSV": Case(422, b"", (None, "records"), CSV, path="/invocations"),
    "a broken line": Case(400, f"{LINE}\n{{".encode(), headers=LINES, path="/invocations"),
    "a line that is no record": Case(422, f"{LINE}\n1".encode(), (1, None), LINES, path="/invocations"),
    "no line": Case(422, b"", (None, "records"), LINES, path="/invocations"),
    "a type that cannot be written": Case(
        406, edited(), (None, "Accept"), {**JSON, "accept": "application/x-npy"}, path="/invocations"
    ),
}  # fmt: skip

ANSWERED = {
    "as it is": (edited(), []),
    "an integer with a fraction of none": (edited(distance=2565.0), []),
    "null where it may be": (edited(weather_pressure=None), []),
    "a level that warns": (edited(dest="XXX"), [(1, "dest")]),
    "an empty string": (edited(carrier=""), [(1, "carrier")]),
    "out of a range that warns": (
        edited(distance=25650, weather_pressure=1),
        [(1, "distance"), (1, "weather_pressure")],
    ),
    "text of any script": (edited(dest="基盤\x00🛫"), [(1, "dest")]),
}

refused = pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
answered = pytest.mark.parametrize(("content", "warned"), ANSWERED.values(), ids=ANSWERED.keys())


def check_refused(client: Any, case: Case, model_id: str) -> None:
    """Send it: the status, one shape for all, and the place of the first finding."""
    answer = client.request(case.method, case.path, content=case.content, headers=case.headers)
    assert answer.status_code == case.status, answer.text
    body = answer.json()
    assert body.keys() == {"model_id", "errors"}
    assert body["model_id"] == answer.headers["x-model-id"] == model_id
    assert 1 <= len(body["errors"]) <= 50
    assert all(each.keys() == {"record", "field", "problem", "allowed"} for each in body["errors"])
    assert (body["errors"][0]["record"], body["errors"][0]["field"]) == case.at
    assert len(answer.content) < 20_000


def check_answered(client: Any, content: bytes, warned: list[tuple[int, str]]) -> None:
    answer = client.post("/predict", content=content, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 2
    assert [(each["record"], each["field"]) for each in answer.json()["warnings"]] == warned
    assert answer.headers["x-warnings"] == str(len(warned))


def client_of(served: Served, keys: tuple[bytes, ...] = (), aliases: dict[str, str] | None = None) -> TestClient:
    """The service's application, with the guard before it, without a server."""
    return _client(served, PredictionLog(Path("logs"), served.limits.prediction_log, workers=1), keys, aliases)


@contextmanager
def logging_client(served: Served) -> Iterator[tuple[TestClient, PredictionLog]]:
    """The same, with one event loop for all requests, and with its log, which the caller starts and closes."""
    log = PredictionLog(Path("logs"), served.limits.prediction_log, workers=1)
    with _client(served, log, (), None) as client:
        yield client, log


def _client(served: Served, log: PredictionLog, keys: tuple[bytes, ...], aliases: dict[str, str] | None) -> TestClient:
    app = create_app(bool(keys))
    answering = ready(served, app, bool(keys))
    methods = {route.path: method for route in app.routes for method in route.methods}  # type: ignore[attr-defined]
    methods["/livez"] = "GET"
    direct = predictions(log)
    guarded = guard.Guard(app, methods, aliases or {}, served.limits, keys, lambda: answering, direct, log.refuse)
    return TestClient(guarded, raise_server_exceptions=False)
