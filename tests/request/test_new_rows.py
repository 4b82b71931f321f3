"""The features of rows that are asked about, on the slice; that they equal a year's training rows is in tests/e2e."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from slice import prepared_rows

from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.settings import Featured
from kiban.request import new_rows

FLIGHTS = Featured(features="flights.py", name="flights", timezone="America/New_York")
OUTCOME = ["dep_time", "arr_time", "dep_delay", "arr_delay", "air_time"]
TABLES = ["flights", "weather", "planes"]
KEY = ["scheduled_departure", "carrier", "flight"]


@pytest.fixture
def asked(project: Path) -> pa.Table:
    """The flights of one hour of a day in March, without what became of them."""
    flights = parquet.read(Path("data/raw/flights/flights/2013-03.parquet"))
    (day, *_) = sorted(set(flights["day"].to_pylist()))[-1:]
    return flights.filter((pc.field("day") == day) & (pc.field("hour") == 15) & (pc.field("minute") == 0)).drop_columns(
        OUTCOME
    )


def test_data_raw_is_what_is_known_where_nothing_else_is_given(asked: pa.Table) -> None:
    found = new_rows.features(FLIGHTS, asked, new_rows.recent_rows(FLIGHTS, asked, TABLES))
    assert found.num_rows == asked.num_rows > 3
    assert "late" not in found.column_names
    trained = prepared_rows("2013-03").join(found.select(KEY), KEY, join_type="left semi")
    both = found.join(trained.select(KEY), KEY, join_type="left semi")
    order = [(name, "ascending") for name in KEY]
    assert trained.num_rows > 3
    assert both.sort_by(order).equals(trained.drop_columns("late").sort_by(order).select(both.column_names))


def test_without_recent_rows_the_state_of_the_day_is_not_known(asked: pa.Table) -> None:
    recent = new_rows.recent_rows(FLIGHTS, asked, TABLES)
    found = new_rows.features(FLIGHTS, asked, {**recent, "flights": recent["flights"].slice(0, 0)})
    unknown = new_rows.null_throughout(found)
    assert [name for name in found.column_names if name.startswith("state_") and name.endswith(("h", "d"))] != []
    assert {name for name in found.column_names if "delay" in name} <= set(unknown)
    assert "distance" not in unknown


def edited(rows: pa.Table, **columns: list[object]) -> pa.Table:
    """The rows with the first values of some columns replaced."""
    for name, (value,) in columns.items():
        values = [value, *rows[name].to_pylist()[1:]]
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    return rows


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.slice(0, 0), "there are none"),
        (lambda rows: rows.drop_columns("dest"), "no column dest; needed are time_hour, carrier, "),
        (lambda rows: rows.append_column("x", rows["dest"]), "column 'x' is not in the contract"),
        (lambda rows: pa.concat_tables([rows, rows]), r"two rows have the same key \(time_hour, carrier, flight\)"),
        (lambda rows: edited(rows, minute=[None]), "column 'minute' may not be null, as None is at time_hour 2013-03"),
        (lambda rows: edited(rows, minute=[90]), "column 'minute' must be 59 or less, as 90 is at time_hour 2013-03"),
        (lambda rows: edited(rows, distance=[-5]), "column 'distance' must be 10 or more, as -5 is at"),
        (lambda rows: edited(rows, origin=["XXX"]), "column 'origin' must be one of EWR, JFK, LGA, as 'XXX' is at"),
        (
            lambda rows: rows.set_column(4, "month", pa.array(["soon"] * rows.num_rows)),
            "column 'month', row 1: 'soon' is not of type integer",
        ),
    ],
)
def test_rows_that_the_raw_contract_rejects_are_refused(asked: pa.Table, edit: object, message: str) -> None:
    with pytest.raises(KibanError, match=f"the rows that are asked about: {message}"):
        new_rows.features(FLIGHTS, edit(asked), {})  # type: ignore[operator]


@pytest.mark.parametrize("table", TABLES)
def test_recent_rows_that_overlap_are_refused(asked: pa.Table, table: str) -> None:
    """As of two files that hold the same flights: they would count twice."""
    recent = new_rows.recent_rows(FLIGHTS, asked, TABLES)
    twice = {**recent, table: pa.concat_tables([recent[table], recent[table].slice(0, 1)])}
    with pytest.raises(KibanError, match=f"recent {table}: two rows have the same key"):
        new_rows.features(FLIGHTS, asked, twice)


def test_a_table_that_is_missing_is_named(asked: pa.Table) -> None:
    recent = new_rows.recent_rows(FLIGHTS, asked, ["flights", "weather"])
    with pytest.raises(KibanError, match="recent rows of table planes are missing"):
        new_rows.features(FLIGHTS, asked, recent)


def test_a_raw_file_that_was_not_validated_is_not_used(asked: pa.Table) -> None:
    path = Path("data/raw/flights/weather/2013-03.parquet")
    parquet.write(parquet.read(path).slice(0, 100), path)
    with pytest.raises(KibanError, match=r"weather/2013-03.parquet is not the file that was validated"):
        new_rows.recent_rows(FLIGHTS, asked, TABLES)


def test_an_impossible_date_is_one_sentence(asked: pa.Table) -> None:
    recent = new_rows.recent_rows(FLIGHTS, asked, TABLES)
    impossible = asked.set_column(asked.column_names.index("day"), "day", pa.array([31] * asked.num_rows)).set_column(
        asked.column_names.index("month"), "month", pa.array([2] * asked.num_rows)
    )
    with pytest.raises(KibanError, match="cannot be computed"):
        new_rows.features(FLIGHTS, impossible, recent)
