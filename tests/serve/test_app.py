"""The routes and the guard without a server; tests/e2e/test_serving.py has the real one."""

import csv
import html
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import http_cases
import jsonschema
import numpy as np
import pytest
from http_cases import CSV, JSON, LINES, Case, client_of
from slice import KNOWN_FLIGHT as KNOWN
from slice import prepared_rows
from starlette.testclient import TestClient

from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION
from kiban.core.settings import Sections, read
from kiban.data import contract
from kiban.servable import columns
from kiban.servable.load import load
from kiban.serve import guard
from kiban.serve.model import Served
from kiban.serve.settings import Serving

KEY = {"scheduled_departure": "2013-03-01T10:15:00+00:00", "flight": 1545}


class Params(Sections):
    serving: Serving


@pytest.fixture
def served(project: Path) -> Served:
    return Served(load(), read(Params).serving, EVALUATION)


@pytest.fixture
def client(served: Served) -> TestClient:
    return client_of(served)


@http_cases.refused
def test_a_request_that_is_wrong_is_refused_with_its_place(client: TestClient, served: Served, case: Case) -> None:
    http_cases.check_refused(client, case, served.model_id)


@http_cases.answered
def test_what_the_contract_only_warns_of_is_answered_with_a_warning(
    client: TestClient, content: bytes, warned: list[tuple[int, str]]
) -> None:
    http_cases.check_answered(client, content, warned)


def test_a_refusal_says_what_is_wrong_and_what_is_allowed(client: TestClient) -> None:
    record = {**KNOWN, "origin": "XXX", "departure_minute": 1440, "weather_pressure": "high", "dest": None}
    del record["distance"]
    errors = client.post("/predict", json={"records": [record]}).json()["errors"]
    told = {each["field"]: (each["problem"], each["allowed"]) for each in errors}
    assert told["origin"] == ('"XXX" is not among the levels', "one of EWR, JFK, LGA")
    assert told["departure_minute"] == (
        "1440 is too large",
        "an integer from 0 to 1439 [minutes after local midnight]",
    )
    assert told["weather_pressure"] == (
        '"high" is of another type',
        "a number, usually from 850 to 1100 [mbar], or null",
    )
    assert told["dest"][0] == "null is of another type"
    assert told["distance"] == ("it is missing", "an integer, usually from 10 to 6000 [miles]")


def test_a_refusal_of_many_records_is_short(client: TestClient) -> None:
    errors = client.post("/predict", json={"records": [{}] * 1000}).json()["errors"]
    assert len(errors) == 50
    assert {each["record"] for each in errors} == set(range(8))


def test_many_warnings_are_counted_and_not_all_listed(client: TestClient) -> None:
    reply = client.post("/predict", json={"records": [{**KNOWN, "dest": "XXX"}] * 60})
    assert reply.headers["x-warnings"] == "60"
    answer = reply.json()
    assert len(answer["predictions"]) == 60
    assert len(answer["warnings"]) == 51
    assert answer["warnings"][-1]["problem"].startswith("10 more values")


def test_answers_are_the_servables_in_order(client: TestClient, served: Served) -> None:
    servable, features = served.servable, served.schema.features
    rows = prepared_rows("2013-03").slice(0, 50)
    answer = client.post("/predict", json={"records": rows.select(list(features)).to_pylist()}).json()
    scores = servable.score(columns.from_arrow(rows, features))
    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    np.testing.assert_allclose(probabilities, scores, atol=1e-7)
    assert [prediction["label"] for prediction in answer["predictions"]] == servable.labels(scores).tolist()
    assert answer["model_id"] == servable.model_id


def test_a_record_may_say_which_row_it_is(client: TestClient, served: Served) -> None:
    without, with_key, with_part = (
        client.post("/predict", json={"records": [record]})
        for record in (KNOWN, {**KNOWN, **KEY}, {**KNOWN, "flight": None, "scheduled_departure": None})
    )
    assert without.json() == with_key.json() == with_part.json()
    assert [each["name"] for each in client.get("/model").json()["keys"]] == ["scheduled_departure", "flight"]
    errors = client.post("/predict", json={"records": [{**KNOWN, "flight": "x", "scheduled_departure": "10:15"}]})
    assert [(each["field"], each["problem"]) for each in errors.json()["errors"]] == [
        ("scheduled_departure", '"10:15" is not such a time'),
        ("flight", '"x" is of another type'),
    ]
    record = client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    assert KEY.keys() <= record["properties"].keys()
    assert not KEY.keys() & set(record["required"])
    # Columns of CSV without a header are the features alone.
    row = ["" if KNOWN.get(name) is None else str(KNOWN[name]) for name in served.schema.features]
    text = {"content-type": "text/csv"}
    plain = client.post("/invocations", content=",".join(row), headers=text)
    names = ",".join([*served.schema.features, *KEY])
    headed = client.post("/invocations", content=f"{names}\n{','.join([*row, *map(str, KEY.values())])}", headers=text)
    assert plain.status_code == headed.status_code == 200
    assert plain.text == headed.text
    refused = client.post("/invocations", content=f"{names}\n{','.join([*row, 'x', 'y'])}", headers=text)
    assert {each["field"] for each in refused.json()["errors"]} == KEY.keys()


def test_keys_that_a_model_no_longer_takes_are_dropped(served: Served) -> None:
    client = client_of(replace(served, dropped=frozenset({"tail", "flight", "origin"})))
    answers = [client.post("/predict", json={"records": [each]}) for each in (KNOWN, {**KNOWN, **KEY, "tail": "N1"})]
    assert answers[0].json() == answers[1].json()
    refused = client.post("/predict", json={"records": [{**KNOWN, "flight": "x", "tail": 1, "tails": 1}]})
    assert {each["field"] for each in refused.json()["errors"]} == {"flight", "tails"}


def test_what_may_be_null_may_be_absent(client: TestClient, served: Served) -> None:
    nulls = {name: None for name, column in served.schema.features.items() if column.nullable}
    absent, null = (client.post("/predict", json={"records": [record]}) for record in (KNOWN, {**KNOWN, **nulls}))
    assert absent.status_code == null.status_code == 200
    assert absent.json() == null.json()


def test_sagemakers_formats_give_the_same_answers(client: TestClient, served: Served) -> None:
    names = list(served.schema.features)
    rows = prepared_rows("2013-03").slice(0, 20).select(names).to_pylist()
    expected = client.post("/predict", json={"records": rows}).json()["predictions"]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    of_lines = client.post("/invocations", content=lines, headers=LINES)
    assert of_lines.headers["content-type"] == "application/jsonlines"
    said = [json.loads(line) for line in of_lines.text.splitlines()]
    assert [{name: each[name] for name in ("probability", "label")} for each in said] == expected
    assert {each["model_id"] for each in said} == {served.model_id}
    bare = "".join(",".join("" if row[name] is None else str(row[name]) for name in names) + "\n" for row in rows)
    for content in (bare, f"{','.join(names)}\n{bare}", bare.replace("\n", "\r\n")):
        answer = client.post("/invocations", content=content, headers=CSV)
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["x-model-id"] == served.model_id
        found = [(float(probability), label) for probability, label in csv.reader(io.StringIO(answer.text))]
        assert found == [(each["probability"], str(each["label"]).lower()) for each in expected]
    wanted = client.post("/invocations", json={"records": rows}, headers={"accept": "text/csv, */*"})
    assert wanted.text == answer.text


def test_vertexs_form_gives_the_same_answers(served: Served) -> None:
    environment = {"AIP_PREDICT_ROUTE": "/v1/models/kiban:predict", "AIP_HEALTH_ROUTE": "/v1/models/kiban"}
    client = client_of(served, aliases=guard.read_aliases(environment))
    assert client.get("/v1/models/kiban").json() == {"model_id": served.model_id}
    assert client.post("/v1/models/kiban", json={}).status_code == 405
    expected = client.post("/predict", json={"records": [KNOWN, KNOWN]}).json()["predictions"]
    for path in ("/v1/models/kiban:predict", "/invocations"):
        answer = client.post(path, json={"instances": [KNOWN, KNOWN]})
        assert answer.json() == {"predictions": expected}
        assert answer.headers["x-model-id"] == served.model_id
    assert client.post("/invocations", json={"records": [KNOWN]}).json()["model_id"] == served.model_id
    table = client.post("/invocations", json={"instances": [KNOWN]}, headers={"accept": "text/csv"})
    assert table.text.startswith(str(expected[0]["probability"]))
    for wrong in ({"instances": [KNOWN], "parameters": {"x": 1}}, {"instances": {}}, {"instances": [{"x": 1}]}):
        refused = client.post("/invocations", json=wrong)
        assert refused.status_code == 422
    assert client.post("/predict", json={"instances": [KNOWN]}).status_code == 422
    assert client.post("/invocations", json={"records": [{**KNOWN, "carrier": "instances"}]}).status_code == 200


def test_what_vertex_gives_is_checked() -> None:
    assert guard.read_port({}) == guard.read_port({"AIP_HTTP_PORT": ""}) == 3000
    assert guard.read_port({"AIP_HTTP_PORT": "8080"}) == 8080
    for wrong in ("http", "0", "99999"):
        with pytest.raises(KibanError, match=f"AIP_HTTP_PORT: '{wrong}' is not a port"):
            guard.read_port({"AIP_HTTP_PORT": wrong})
    with pytest.raises(KibanError, match="AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE are one path: '/x'"):
        guard.read_aliases({"AIP_PREDICT_ROUTE": "/x", "AIP_HEALTH_ROUTE": "/x"})
    assert guard.read_aliases({"AIP_PREDICT_ROUTE": "/invocations", "AIP_HEALTH_ROUTE": "/h"}) == {"/h": "/ping"}
    with pytest.raises(KibanError, match="'predict' is not a path: it begins with /"):
        guard.read_aliases({"AIP_PREDICT_ROUTE": "predict"})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("application/x-npy, application/jsonlines;q=0.5", "application/jsonlines"),
        ("TEXT/CSV", "text/csv"),
    ],
)
def test_the_answers_type_is_the_one_that_is_accepted(client: TestClient, accept: str, expected: str) -> None:
    answer = client.post("/invocations", json={"records": [KNOWN]}, headers={"accept": accept})
    assert answer.headers["content-type"].split(";")[0] == expected


def test_lines_of_other_systems_are_read(client: TestClient) -> None:
    """Windows' line ends, blank lines, a byte order mark."""
    table = f"\ufeff{http_cases.HEADER}\r\n\r\n{http_cases.ROW}\r\n\r\n"
    lines = f"\ufeff{http_cases.LINE}\r\n\r\n{http_cases.LINE}\n\n"
    body = "\ufeff" + json.dumps({"records": [KNOWN]})
    assert (
        client.post("/predict", content=body.encode(), headers={"content-type": "application/json"}).status_code == 200
    )
    for content, headers, rows in ((table, CSV, 1), (lines, LINES, 2)):
        answer = client.post("/invocations", content=content.encode(), headers=headers)
        assert answer.status_code == 200, answer.text
        assert len(answer.text.splitlines()) == rows


def test_a_line_carries_its_own_warnings(client: TestClient) -> None:
    lines = f"{json.dumps(KNOWN)}\n{json.dumps({**KNOWN, 'dest': 'XXX'})}\n"
    answer = client.post("/invocations", content=lines, headers=LINES)
    first, second = (json.loads(line)["warnings"] for line in answer.text.splitlines())
    assert first == []
    assert [(each["record"], each["field"]) for each in second] == [(1, "dest")]
    assert answer.headers["x-warnings"] == "1"


def test_the_model_describes_itself_by_the_contract(client: TestClient, served: Served) -> None:
    model = client.get("/model").json()
    assert (model["model_id"], model["dataset"]) == (served.model_id, "flights")
    assert (model["task"], model["threshold"]) == ("binary classification", 0.5)
    assert model["target"]["name"] == "late"
    features = {each["name"]: each for each in model["features"]}
    assert list(features) == list(served.schema.features)
    assert features["origin"]["levels"] == ["EWR", "JFK", "LGA"]
    assert (features["distance"]["unit"], features["distance"]["max"]) == ("miles", 6000)
    assert (features["distance"]["nullable"], features["distance"]["out_of_range"]) == (False, "warn")
    report = json.loads(EVALUATION.read_bytes())
    assert model["evaluation"]["splits"]["test"] == report["test"]
    assert model["evaluation"]["without"] == report["without"]


@pytest.mark.parametrize("report", ["", "{}", "[]", '{"model_id": "another"}'])
def test_metrics_of_another_model_are_not_told(served: Served, report: str) -> None:
    EVALUATION.write_text(report)
    client = client_of(served)
    assert client.get("/model").json()["evaluation"] is None
    assert "What it is worth" not in client.get("/").text


def test_the_openapi_document_is_the_contract(client: TestClient, served: Served) -> None:
    record = client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    features = served.schema.features
    assert list(record["properties"]) == [*features, *KEY]
    assert record["required"] == [name for name, column in features.items() if not column.nullable]
    assert record["properties"]["origin"]["enum"] == ["EWR", "JFK", "LGA"]
    assert record["properties"]["departure_minute"]["maximum"] == 1439
    assert record["properties"]["departure_minute"]["type"] == "integer"
    assert "[miles]" in record["properties"]["distance"]["description"]
    assert record["additionalProperties"] is False


def test_the_examples_of_the_document_validate_and_are_answered(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    def validate(value: Any, schema: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)

    tried = 0
    for path in ("/predict", "/invocations"):
        operation = document["paths"][path]["post"]
        for media_type, content in operation["requestBody"]["content"].items():
            examples = [each["value"] for each in content.get("examples", {}).values()]
            for example in examples or [content["example"]]:
                validate(example, content["schema"])
                body = example if isinstance(example, str) else json.dumps(example)
                answer = client.post(path, content=body, headers={"content-type": media_type})
                assert answer.status_code == 200, answer.text
                shown = operation["responses"]["200"]["content"][media_type]
                validate(shown["example"], shown["schema"])
                if media_type != "application/json" or example is examples[0]:
                    assert shown["example"] == (answer.text if isinstance(example, str) else answer.json())
                tried += 1
    assert tried == 7


def test_every_route_is_in_the_document(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/", "/docs", "/invocations", "/livez", "/metrics", "/model", "/openapi.json", "/ping", "/predict", "/readyz")
    }


def test_keys_guard_predictions_and_nothing_else(served: Served) -> None:
    keys = guard.read_keys({guard.KEYS: "the-first-key-0123, the-second-key-4567\n"})
    client = client_of(served, keys)
    for given in (None, "Bearer", "Bearer another", "Basic the-first-key-0123", "the-first-key-0123", "Bearer ü"):
        headers = {"authorization": given.encode()} if given else {}
        answer = client.post("/predict", json={"records": [KNOWN]}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["errors"][0]["field"] == "Authorization"
    for key in ("the-first-key-0123", "the-second-key-4567"):
        headers = {"authorization": f"Bearer {key}"}
        for path in guard.KEYED:
            assert client.post(path, json={"records": [KNOWN]}, headers=headers).status_code == 200
    for path in ("/model", "/ping", "/metrics", "/openapi.json", "/docs", "/"):
        assert client.get(path).status_code == 200
    document = client.get("/openapi.json").json()
    assert document["paths"]["/predict"]["post"]["security"] == [{"key": []}]
    assert "401" in document["paths"]["/invocations"]["post"]["responses"]
    assert "security" not in document["paths"]["/ping"]["get"]
    assert 'id="key"' in client.get("/").text


def test_the_size_counts_whatever_the_request_says_of_it(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    assert client.post("/predict", content=chunks(), headers=JSON).status_code == 413
    for path in ("/model", "/ping", "/livez", "/"):
        answer = client.request("GET", path, content=b" " * 2_000_001)
        assert answer.status_code == 413


def test_metrics_say_when_a_cycle_is_overdue(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cycle" not in client.get("/metrics").text
    monkeypatch.setenv("KIBAN_RELEASE", str(tmp_path))
    times = '{"started": "1970-01-01T00:01:00Z", "overdue": "1970-01-02T00:01:00Z"}'
    (tmp_path / "last-cycle.json").write_text(times)
    lines = client.get("/metrics").text.splitlines()
    assert {"kiban_last_cycle_seconds 60.0", "kiban_cycle_overdue_seconds 86460.0"} <= {*lines}


def test_metrics_count_by_route_status_and_label_whatever_is_asked(client: TestClient) -> None:
    def series() -> dict[str, float]:
        lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    client.post("/predict", json={"records": [{**KNOWN, "dest": "XXX"}] * 3})
    before = series()
    assert sum(before.get(f'kiban_predictions_total{{label="{label}"}}', 0) for label in ("true", "false")) >= 3
    assert before['kiban_warnings_total{field="dest"}'] >= 3
    for number in range(50):
        client.get(f"/nothing-{number}")
        client.request("PUT", f"/predict?{number}")
    after = series()
    assert after['kiban_requests_total{path="other",status="404"}'] >= 50
    assert after['kiban_requests_total{path="/predict",status="405"}'] >= 50
    assert after['kiban_request_seconds_count{path="/predict"}'] >= 51
    assert len(after) - len(before) < 30


def test_a_feature_that_cannot_be_scored_is_an_error_of_one_shape(served: Served) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("of the model's engine")

    client = client_of(served)
    object.__setattr__(served.servable, "score", fail)
    answer = client.post("/predict", json={"records": [KNOWN]})
    assert answer.status_code == 500
    assert answer.json()["errors"][0]["problem"] == "an error of the service; its log has the details"


def test_the_page_has_a_field_for_each_feature_and_needs_nothing_from_elsewhere(
    client: TestClient, served: Served
) -> None:
    page = client.get("/").text
    for name in served.schema.features:
        assert f'data-name="{name}"' in page
    assert "default-src 'none'" in html.unescape(page)
    for text in (page, client.get("/docs").text):
        assert "http://" not in text
        assert "https://" not in text


def test_the_contracts_words_cannot_break_out_of_the_page(served: Served) -> None:
    hostile = '<script>alert("1")</script>'
    path = Path("models/servable/contract.yaml")
    path.write_text(
        path.read_text().replace("description: Two-letter code of the airline", f"description: '{hostile}'")
    )
    table = contract.read_prepared(path)
    object.__setattr__(served.servable, "contract", table)
    object.__setattr__(table, "description", f"</title>{hostile}")
    client = client_of(served)
    for page in (client.get("/").text, client.get("/docs").text):
        assert hostile not in page
        assert "&lt;script&gt;" in page


def test_a_record_about_which_the_model_has_no_answer_is_refused(served: Served, client: TestClient) -> None:
    object.__setattr__(served.servable, "score", lambda columns: np.array([0.5, np.inf]))
    answer = client.post("/predict", json={"records": [KNOWN, KNOWN]})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["record"], error["problem"]) == (1, "the model answers with inf, which is not a probability")


@pytest.mark.parametrize("score", [np.nan, np.inf, 7.0, -0.1])
def test_a_model_that_answers_with_no_probability_is_not_taken(served: Served, score: float) -> None:
    object.__setattr__(served.servable, "score", lambda columns: np.full(len(columns["carrier"]), score))
    message = rf"^model {served.model_id[:12]} refuses its own example: the model answers with .*, which is not a prob"
    with pytest.raises(KibanError, match=message):
        client_of(served)


def test_a_model_that_fails_is_not_taken(served: Served) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("a node\nis missing")

    object.__setattr__(served.servable, "score", fail)
    with pytest.raises(KibanError, match="cannot answer about its own example: a node is missing$"):
        client_of(served)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"carrier": None}, "refuses its own example: carrier: "),
        ({"nobody": 1}, "has other fields than the model"),
    ],
)
def test_a_model_with_an_example_that_is_none_is_not_taken(
    served: Served, change: dict[str, Any], problem: str
) -> None:
    served.servable.manifest.example.update(change)
    with pytest.raises(KibanError, match=problem):
        client_of(served)


def test_one_record_at_once_may_be_the_limit(served: Served) -> None:
    limits = served.limits.model_copy(update={"max_records": 1})
    client = client_of(Served(served.servable, limits, served.report))
    assert client.post("/predict", json={"records": [KNOWN]}).status_code == 200
    assert client.post("/predict", json={"records": [KNOWN] * 2}).status_code == 422
