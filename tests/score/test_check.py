"""What columns accept is what the endpoint's schema accepts, value for value."""

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from slice import KNOWN_FLIGHT

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.contract import Column
from kiban.request.refusal import RefusedError
from kiban.request.schema import Schema
from kiban.score.check import check, check_columns
from kiban.serve.formats import read_csv

TEXTS = [
    "", " ", "0", "-0", "1", "01", "+1", "1.", ".5", "1.5", "1e2", "1E+2", "1e-2", "1e999", "-1e999", "1e-999", "1_0",
    " 12", "12 ", "12\t", "1,2", "0x1F", "1020.0", "1020.5", "1439", "1440", "-1", "9007199254740991",
    "9007199254740992", "3.4e38", "3.5e38", "1e-42", "NaN", "nan", "Infinity", "-inf", "null", "None", "NA", "true",
    "false", "True", "TRUE", "1.0.0", '"5"', "[1]", "{}", "EWR", "ewr", " EWR", "XXX", "UA", "Fri", "É", "١", "５",
    "Fixed wing multi engine", "9" * 400, "12" + "0" * 20,
]  # fmt: skip


@pytest.fixture
def schema(project: Path) -> Schema:
    flights = contract.read_prepared(Path("models/servable/contract.yaml")).features()
    # Kinds of columns that the flights have not.
    others = {
        "flag": Column(type="boolean", description="", role="feature", nullable=True),
        "sure": Column(type="boolean", description="", role="feature"),
        "any_number": Column(type="number", description="", role="feature"),
        "any_integer": Column(type="integer", description="", role="feature", nullable=True, max=100),
        "half_open": Column(type="number", description="", role="feature", nullable=True, min=0),
    }
    return Schema({**flights, **others}, max_records=1)


def base(schema: Schema) -> dict[str, str]:
    known: dict[str, Any] = {**KNOWN_FLIGHT, "sure": "true", "any_number": "1"}
    return {name: str(known.get(name, "")) for name in schema.features}


def as_the_endpoint(row: dict[str, str], schema: Schema) -> dict[str, Any] | None:
    """The record that /invocations reads from the row; None if it refuses it."""
    body = io.StringIO()
    csv.writer(body).writerows([list(row), list(row.values())])
    try:
        (record,) = read_csv(body.getvalue().encode(), schema)
    except RefusedError:
        return None
    return dict(record)


def test_text_is_accepted_and_read_as_by_the_endpoint(schema: Schema) -> None:
    rows = [{**base(schema), name: text} for name in schema.features for text in TEXTS]
    expected = [as_the_endpoint(row, schema) for row in rows]
    texts = pa.table({name: pa.array([row[name] or None for row in rows], pa.string()) for name in schema.features})
    checked = check(texts, schema, is_text=True)
    accepted = [record is not None for record in expected]
    assert checked.accepted.to_pylist() == accepted
    assert 100 < sum(accepted) < len(accepted) - 100
    assert checked.rows.to_pylist() == [record for record in expected if record is not None]
    assert set(checked.rejected) == {place for place, record in enumerate(expected) if record is None}
    for place, problem in checked.rejected.items():
        (name,) = (name for name, text in rows[place].items() if text != base(schema)[name])
        assert problem.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "values", "accepted"),
    [
        ("any_number", pa.array([1, 2.5, None, float("nan"), float("inf"), 3.5e38]), [1, 1, 0, 0, 0, 0]),
        ("any_number", pa.array([1, 2], pa.int8()), [1, 1]),
        ("any_number", pa.array(["1.5", "2"]).cast(pa.decimal128(5, 2)), [1, 1]),
        ("any_integer", pa.array([1.0, 1.5, None, 101.0]), [1, 0, 1, 0]),
        ("any_integer", pa.array([2**60, -(2**53), 1 - 2**53]), [0, 0, 1]),
        ("half_open", pa.array([0.0, -0.5, None]), [1, 0, 1]),
        ("flag", pa.array([True, None]), [1, 1]),
        ("flag", pa.nulls(2), [1, 1]),
        ("sure", pa.array([True, None]), [1, 0]),
        ("origin", pa.array(["EWR", "XXX", None, ""]).dictionary_encode(), [1, 0, 0, 0]),
        ("origin", pa.array(["EWR"], pa.large_string()), [1]),
    ],
)
def test_typed_values_are_accepted_as_by_the_endpoint(
    schema: Schema, name: str, values: pa.Array, accepted: list[int]
) -> None:
    known = {**KNOWN_FLIGHT, "sure": True, "any_number": 1.0}
    rows = pa.table({**{of: pa.array([value] * len(values)) for of, value in known.items()}, name: values})
    check_columns(rows.schema, schema.features, is_text=False, where="it")
    checked = check(rows, schema, is_text=False)
    assert checked.accepted.to_pylist() == [bool(each) for each in accepted]
    assert checked.rows.num_rows == sum(accepted)


def test_what_is_unusual_is_counted(schema: Schema) -> None:
    known = {name: [text] * 3 for name, text in base(schema).items() if text}
    rows = pa.table({**known, "plane_seats": ["150", "950", "1000"]})
    checked = check(rows, schema, is_text=True)
    assert not checked.rejected
    assert checked.unusual == {"plane_seats": 2}


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("any_number", pa.string(), "it: column 'any_number' is of type string, but the model needs number"),
        ("any_number", pa.bool_(), "it: column 'any_number' is of type bool, but the model needs number"),
        ("origin", pa.int64(), "it: column 'origin' is of type int64, but the model needs string"),
        ("flag", pa.int64(), "it: column 'flag' is of type int64, but the model needs boolean"),
        ("any_number", None, "it has no column 'any_number', which the model requires; it has .*"),
    ],
)
def test_a_column_of_another_type_or_none_is_one_sentence(
    schema: Schema, name: str, kind: pa.DataType | None, problem: str
) -> None:
    known = pa.schema(
        [(of, pa.string() if isinstance(value, str) else pa.int64()) for of, value in KNOWN_FLIGHT.items()]
    )
    fields = {field.name: field.type for field in known} | {"sure": pa.bool_(), "any_number": pa.float64(), name: kind}
    given = pa.schema([(of, of_type) for of, of_type in fields.items() if of_type is not None])
    with pytest.raises(KibanError, match=f"^{problem}$"):
        check_columns(given, schema.features, is_text=False, where="it")
