"""The request schema for tables of other kinds than flights; what is refused and why is in test_app.py."""

import json
from typing import Any

import pytest

from kiban.data.contract import Column
from kiban.request.refusal import RefusedError
from kiban.request.schema import Schema, allowed
from kiban.serve import formats

HOSTILE = ["_x", "__x__", "model_config", "model_dump", "__config__", "json", "copy", "self", "a b", 'a"b', "a,b", "f0"]


def column(kind: Any, **more: Any) -> Column:
    return Column(type=kind, description="", role="feature", **more)


def test_a_column_may_have_any_name() -> None:
    schema = Schema({name: column("number", nullable=number % 2 == 0) for number, name in enumerate(HOSTILE)}, 10)
    record = {name: float(number) for number, name in enumerate(HOSTILE)}
    assert list(schema.check([record])) == [record]
    assert set(schema.request.model_json_schema()["$defs"]["Record"]["properties"]) == set(HOSTILE)
    with pytest.raises(RefusedError) as caught:
        schema.check([{**record, "self": "text"}])
    assert [(each["record"], each["field"]) for each in caught.value.findings] == [(0, "self")]


def test_booleans_and_text_in_csv_are_what_json_would_have() -> None:
    schema = Schema({"flag": column("boolean"), "word": column("string", levels=["1", "true"])}, 10)
    assert formats.read_csv(b"true,true\nfalse,1\n", schema) == [
        {"flag": True, "word": "true"},
        {"flag": False, "word": "1"},
    ]
    for text in ("1", "yes", "TRUE", "on", "null", "[true]"):
        with pytest.raises(RefusedError) as caught:
            formats.read_csv(f"{text},1\n".encode(), schema)
        assert (caught.value.status, caught.value.findings[0]["field"]) == (422, "flag")
        assert caught.value.findings[0]["allowed"] == "true or false"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (column("number", min=0), "a number from 0"),
        (column("number", max=1, out_of_range="warn"), "a number, usually to 1"),
        (column("integer", min=0, max=9, unit="m", nullable=True), "an integer from 0 to 9 [m], or null"),
        (column("string", levels=["a", "b"]), "one of a, b"),
        (column("string", levels=[str(n) for n in range(30)]), f"one of {', '.join(str(n) for n in range(20))}, …"),
        (column("boolean"), "true or false"),
    ],
)
def test_what_is_allowed_is_said_in_words(given: Column, words: str) -> None:
    assert allowed(given) == words


def test_a_range_with_one_end_warns_at_that_end() -> None:
    schema = Schema(
        {"x": column("number", min=0, out_of_range="warn"), "y": column("number", max=1, out_of_range="warn")}, 9
    )
    records = schema.check([{"x": -1, "y": -1e30}, {"x": 1e30, "y": 2}])
    assert [(each["record"], each["field"]) for each in schema.warnings(records, schema.unusual(records))] == [
        (0, "x"),
        (1, "y"),
    ]


def test_a_value_that_is_repeated_is_shortened() -> None:
    schema = Schema({"x": column("number")}, 9)
    for value in ("a" * 1_000_000, 10**4000):
        with pytest.raises(RefusedError) as caught:
            schema.check([{"x": value}])
        assert len(json.dumps(caught.value.findings)) < 300


def test_a_key_has_as_many_digits_as_it_has() -> None:
    schema = Schema({"x": column("number")}, 9, {"id": column("integer", nullable=True)})
    (record,) = schema.check([{"x": 1, "id": 2**53 + 1}])
    assert record["id"] == 2**53 + 1
    assert schema.check([{"x": 1, "id": 7.0}])[0]["id"] == 7
    assert "id" not in schema.check([{"x": 1}])[0]
    for wrong in (7.5, True, "7", 2**63, 1e300):
        with pytest.raises(RefusedError):
            schema.check([{"x": 1, "id": wrong}])
