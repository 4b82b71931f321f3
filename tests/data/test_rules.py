"""What a contract says of values is coded where it is needed: in Arrow, in pydantic and in Great Expectations.

All of them must mean the same, value for value.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiban.core.errors import KibanError
from kiban.data import parquet, rules
from kiban.data.contract import Column, Table
from kiban.request.refusal import RefusedError
from kiban.request.replaces import narrowed
from kiban.request.schema import Schema
from kiban.score.check import check, check_columns
from kiban.validate import expectations

WORDS = ["a", "b", "", "É", "null", "NA"]
NUMBERS = st.integers(-5, 5) | st.sampled_from([-1e30, 2.5, 1e30, -0.0])
POLICIES = st.sampled_from(["reject", "warn"])


@st.composite
def columns(draw: st.DrawFn) -> Column:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean"]))
    limits: dict[str, Any] = {}
    if kind == "string":
        limits["levels"] = draw(st.lists(st.sampled_from(WORDS[:4]), min_size=1, max_size=3, unique=True))
    elif kind != "boolean":
        limits |= {"min": draw(st.none() | st.integers(-4, 0)), "max": draw(st.none() | st.integers(0, 4))}
    return Column(
        type=kind,
        description="",
        role="feature",
        nullable=draw(st.booleans()),
        unseen=draw(POLICIES),
        out_of_range=draw(POLICIES),
        **limits,
    )


def values_of(column: Column) -> st.SearchStrategy[Any]:
    """Values of the column's type, and null."""
    plain = {
        "string": st.sampled_from(WORDS),
        "integer": st.integers(-6, 6),
        "number": NUMBERS.map(float),
        "boolean": st.booleans(),
    }
    return st.none() | plain[column.type]


@st.composite
def columns_with_values(draw: st.DrawFn) -> tuple[Column, list[Any]]:
    column = draw(columns())
    return column, draw(st.lists(values_of(column), min_size=1, max_size=4))


def arrow(column: Column, values: list[Any]) -> pa.Array:
    return pa.array(values, parquet.ARROW_TYPES[column.type])


def schema_of(column: Column) -> Schema:
    return Schema({"value": column}, max_records=1000)


def accepts(column: Column, value: Any) -> bool:
    """Whether the endpoint answers about the value."""
    try:
        schema_of(column).check([{"value": value}])
    except RefusedError:
        return False
    return True


@given(columns_with_values())
@settings(max_examples=300, deadline=None)
def test_the_rules_accept_what_the_endpoint_accepts(pair: tuple[Column, list[Any]]) -> None:
    column, values = pair
    rejected = rules.breaks(arrow(column, values), column, "reject").to_pylist()
    assert rejected == [not accepts(column, value) for value in values]


@given(columns_with_values())
@settings(max_examples=300, deadline=None)
def test_the_rules_warn_where_the_endpoint_warns(pair: tuple[Column, list[Any]]) -> None:
    column, values = pair
    schema = schema_of(column)
    records = [{"value": value} for value in values]
    warned = {index for index, _ in schema.unusual(records)}
    assert warned == set(pc.indices_nonzero(rules.breaks(arrow(column, values), column, "warn")).to_pylist())


@given(columns_with_values())
@settings(max_examples=150, deadline=None)
def test_a_table_is_scored_where_the_endpoint_answers(pair: tuple[Column, list[Any]]) -> None:
    column, values = pair
    rows = pa.table({"value": arrow(column, values)})
    check_columns(rows.schema, {"value": column}, False, "the table")
    assert check(rows, schema_of(column), False).accepted.to_pylist() == [accepts(column, value) for value in values]


@given(columns_with_values())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_is_validated_by_the_same_rules(pair: tuple[Column, list[Any]]) -> None:
    column, values = pair
    info = Column(type="integer", description="")
    table = Table(description="", key=["row"], columns={"row": info, "value": column})
    rows = pa.table({"row": pa.array(range(len(values)), pa.int64()), "value": arrow(column, values)})
    findings = expectations.check(rows, table, "table", "2013", "UTC")
    broken = {policy for policy in ("reject", "warn") if pc.any(rules.breaks(rows["value"], column, policy)).as_py()}
    assert {finding.severity for finding in findings} == broken


@given(columns(), columns(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_model_that_replaces_another_accepts_what_that_accepted(
    old: Column, new: Column, data: st.DataObject
) -> None:
    if list(narrowed({"value": old}, {"value": new})):
        return
    value = data.draw(values_of(old))
    assert not accepts(old, value) or accepts(new, value)


KINDS = [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.int64(), pa.float32(), pa.decimal128(9, 2)]
KINDS += [pa.bool_(), pa.timestamp("us", "UTC"), pa.date32(), pa.null(), pa.list_(pa.int64())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", parquet.ARROW_TYPES)
def test_what_is_of_a_type_may_be_given_for_it(kind: pa.DataType, name: Any) -> None:
    assert rules.converts(kind, name) or not rules.is_of(kind, name)
    column = Column(type=name, description="", nullable=True)
    table = Table(description="", key=["row"], columns={"row": Column(type="integer", description=""), "value": column})
    rows = pa.table({"row": [1], "value": pa.nulls(1, kind)})
    if rules.converts(kind, name):
        assert parquet.conform(rows, table, "here")["value"].to_pylist() == [None]
    else:
        with pytest.raises(KibanError, match=f"is not of type {name}"):
            parquet.conform(rows, table, "here")
