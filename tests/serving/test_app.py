"""The routes without a server; tests/e2e/test_serving.py has the real one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import KNOWN_FLIGHT as KNOWN
from starlette.testclient import TestClient

from kiban import columns, prepared
from kiban.servable.load import Servable, load
from kiban.serving.app import create_app


@pytest.fixture
def servable(project: Path) -> Servable:
    return load()


@pytest.fixture
def client(servable: Servable) -> Iterator[TestClient]:
    with TestClient(create_app(servable), raise_server_exceptions=False) as client:
        yield client


def test_answers_are_the_servables_in_order(client: TestClient, servable: Servable) -> None:
    features = servable.contract.features()
    rows = prepared.read("flights", ["2013-03"]).slice(0, 50)
    answer = client.post("/predict", json={"records": rows.select(list(features)).to_pylist()}).json()
    scores = servable.score(columns.from_arrow(rows, features))
    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    np.testing.assert_allclose(probabilities, scores, atol=1e-7)
    assert [prediction["label"] for prediction in answer["predictions"]] == servable.labels(scores).tolist()
    assert answer["model_id"] == servable.model_id


def test_what_may_be_null_may_be_absent(client: TestClient, servable: Servable) -> None:
    nulls = {name: None for name, column in servable.contract.features().items() if column.nullable}
    absent, null = (client.post("/predict", json={"records": [record]}) for record in (KNOWN, {**KNOWN, **nulls}))
    assert absent.status_code == null.status_code == 200
    assert absent.json() == null.json()


def test_a_level_that_warns_is_answered(client: TestClient) -> None:
    assert client.post("/predict", json={"records": [{**KNOWN, "dest": "XXX"}]}).status_code == 200


@pytest.mark.parametrize(
    ("edit", "location"),
    [
        ({"origin": "XXX"}, ["body", "records", 0, "origin"]),
        ({"origin": None}, ["body", "records", 0, "origin"]),
        ({"departure_minute": 1440}, ["body", "records", 0, "departure_minute"]),
        ({"departure_minute": "1020"}, ["body", "records", 0, "departure_minute"]),
        ({"departure_minute": True}, ["body", "records", 0, "departure_minute"]),
        ({"departure_minute": 10.5}, ["body", "records", 0, "departure_minute"]),
        ({"weather_pressure": float("nan")}, ["body", "records", 0, "weather_pressure"]),
        ({"weather_pressure": float("inf")}, ["body", "records", 0, "weather_pressure"]),
        ({"weather_pressure": 1e300}, ["body", "records", 0, "weather_pressure"]),
        ({"distance": 10**400}, ["body", "records", 0, "distance"]),
        ({"carrier": "\ud800"}, ["body", "records", 0, "carrier"]),
        ({"late": True}, ["body", "records", 0, "late"]),
    ],
)
def test_what_the_contract_rejects_is_refused_with_its_place(
    client: TestClient, edit: dict[str, Any], location: list[Any]
) -> None:
    body = json.dumps({"records": [{**KNOWN, **edit}]})
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:4] == location


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"records": []}', b'{"records": [{}], "x": 1}', b"\xff"])
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


def test_more_records_than_the_limit_are_refused(client: TestClient) -> None:
    assert client.post("/predict", json={"records": [KNOWN] * 1000}).status_code == 200
    assert client.post("/predict", json={"records": [KNOWN] * 1001}).status_code == 422


def test_the_openapi_document_is_the_contract(client: TestClient, servable: Servable) -> None:
    record = client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    features = servable.contract.features()
    assert list(record["properties"]) == list(features)
    assert record["required"] == [name for name, column in features.items() if not column.nullable]
    assert record["properties"]["origin"]["enum"] == ["EWR", "JFK", "LGA"]
    assert record["properties"]["departure_minute"]["maximum"] == 1439
    assert "[miles]" in record["properties"]["distance"]["description"]
    assert record["additionalProperties"] is False


def test_the_root_says_where_to_go(client: TestClient, servable: Servable) -> None:
    assert servable.model_id in client.get("/").text
