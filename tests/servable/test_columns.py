from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slice import ROOT

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.contract import Column
from kiban.servable import columns

FLIGHTS = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml").features()

FEATURES = {
    "word": Column(type="string", description="", role="feature", levels=["a"], nullable=True),
    "count": Column(type="integer", description="", role="feature", nullable=True),
    "share": Column(type="number", description="", role="feature", nullable=True),
    "flag": Column(type="boolean", description="", role="feature", nullable=True),
}
ROWS: list[dict[str, Any]] = [
    {"word": "a", "count": 3, "share": 0.1, "flag": True},
    {"word": None, "count": None, "share": None, "flag": None},
]


def test_requests_and_tables_give_the_same_columns() -> None:
    schema = pa.schema({"word": pa.string(), "count": pa.int64(), "share": pa.float64(), "flag": pa.bool_()})
    of_records = columns.from_records(ROWS, FEATURES)
    of_table = columns.from_arrow(pa.Table.from_pylist(ROWS, schema), FEATURES)
    assert list(of_records) == list(of_table) == list(FEATURES)
    for name in FEATURES:
        assert of_records[name].dtype == of_table[name].dtype
        np.testing.assert_array_equal(of_records[name], of_table[name])


PARTED = {
    "at": Column(
        type="timestamp",
        description="",
        role="feature",
        nullable=True,
        parts=["month", "weekday", "day_of_year", "hour", "day_number"],
    ),
    "on": Column(type="date", description="", role="feature", nullable=True, parts=["day_number", "weekday", "month"]),
}


@given(
    st.lists(
        st.tuples(
            st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
            st.none() | st.dates(),
        ),
        min_size=1,
    )
)
def test_parts_of_times_are_the_same_for_requests_and_tables(
    moments: list[tuple[datetime | None, date | None]],
) -> None:
    rows = [{"at": at, "on": on} for at, on in moments]
    table = pa.Table.from_pylist(rows, pa.schema({"at": pa.timestamp("us", "UTC"), "on": pa.date32()}))
    texts = [{name: value and value.isoformat() for name, value in row.items()} for row in rows]
    of_records, of_table = columns.from_records(texts, PARTED), columns.from_arrow(table, PARTED)
    assert list(of_records) == list(of_table) == list(columns.inputs(PARTED))
    for name, values in of_records.items():
        np.testing.assert_array_equal(values, of_table[name], err_msg=name)


def test_null_is_nan_or_the_empty_string() -> None:
    of_records = columns.from_records(ROWS, FEATURES)
    assert of_records["word"].tolist() == ["a", ""]
    assert np.isnan([of_records[name][1] for name in ("count", "share", "flag")]).all()


def test_without_blanks_the_named_group_only() -> None:
    of_flight = {name: np.array([""]) if of.type == "string" else np.array([1.0]) for name, of in FLIGHTS.items()}
    blank = columns.without(of_flight, FLIGHTS, ["weather_*", "plane_type"])
    assert np.isnan(blank["weather_pressure"]).all()
    assert blank["plane_type"].tolist() == [""]
    assert blank["distance"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("patterns", "message"), [(["dist*"], "'distance', which may not be null"), (["x_*"], "no feature")]
)
def test_a_group_that_cannot_be_missing_is_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        columns.without({}, FLIGHTS, patterns)
