"""`kiban features` on the slice."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from slice import compose_here

from kiban.cli import commands
from kiban.core.errors import KibanError
from kiban.data import contract, parquet


@pytest.fixture(autouse=True)
def asked(project: Path) -> pa.Table:
    """Flights of a March afternoon without what became of them, as asked.csv."""
    flights = parquet.read(Path("data/raw/flights/flights/2013-03.parquet"))
    day = max(flights["day"].to_pylist())
    rows = flights.filter((pc.field("day") == day) & (pc.field("hour") == 15)).slice(0, 5)
    rows = rows.drop_columns(["dep_time", "arr_time", "dep_delay", "arr_delay", "air_time"])
    pyarrow.csv.write_csv(rows, "asked.csv")
    return rows


def features(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["features", *arguments], catch_exceptions=False)


def test_it_prints_a_request_that_the_model_takes(asked: pa.Table) -> None:
    body = json.loads(features("--for", "asked.csv").stdout)
    table = contract.read_prepared(Path("models/servable/contract.yaml"))
    names = [*table.keys(), *table.features()]
    assert body.keys() == {"records"}
    assert len(body["records"]) == 5
    assert all(list(record) == names for record in body["records"])


def test_requests_are_answered_without_spark_where_it_computes_the_batches(asked: pa.Table) -> None:
    expected = features("--for", "asked.csv").stdout
    compose_here("engine=pyspark")
    assert features("--for", "asked.csv").stdout == expected


def test_a_table_has_the_key_too(asked: pa.Table) -> None:
    features("--for", "asked.csv", "-o", "found.parquet")
    found = pq.read_table("found.parquet")
    assert found.column_names[:3] == ["scheduled_departure", "carrier", "flight"]
    features("--for", "asked.csv", "--output", "found.csv")
    assert pyarrow.csv.read_csv("found.csv").column_names == found.column_names
    assert sorted(found["flight"].to_pylist()) == sorted(asked["flight"].to_pylist())


def test_recent_rows_come_from_files_where_they_are_given(asked: pa.Table) -> None:
    """The same rows as in data/raw give the same features, and none at all gives a warning."""
    expected = features("--for", "asked.csv").stdout
    flights = parquet.read(Path("data/raw/flights/flights/2013-03.parquet"))
    pq.write_table(flights.slice(0, 3000), "recent-1.parquet")
    pq.write_table(flights.slice(3000), "recent-2.parquet")
    given = features("flights=recent-*.parquet", "--for", "asked.csv")
    assert given.stdout == expected
    pyarrow.csv.write_csv(flights.slice(0, 1), "recent.csv")
    without = features("flights=recent.csv", "--for", "asked.csv")
    assert "warning: every row has null for" in without.stderr
    assert "state_origin_delay_3h" in without.stderr
    assert json.loads(without.stdout)["records"][0]["state_origin_delay_3h"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flight=recent.csv"], "'flight=recent.csv' is not TABLE=PATH, once for each of the tables flights, weather"),
        (["flights"], "'flights' is not TABLE=PATH"),
        (["flights="], "'flights=' is not TABLE=PATH"),
        (["flights=asked.csv", "flights=asked.csv"], "is not TABLE=PATH, once"),
        (["flights=nothing.csv"], "no file matches nothing.csv"),
        (["-o", "nowhere/found.csv"], "--output nowhere/found.csv: No such file or directory"),
        (["-o", "found.xlsx"], "--output found.xlsx: a name must end with .csv or .parquet"),
        (["flights=asked.csv"], "recent flights: column 'dep_time' is missing"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(KibanError, match=message.replace("(", r"\(")):
        features(*arguments, "--for", "asked.csv")


def test_an_example_can_be_asked_about() -> None:
    done = features("--example", "upcoming.csv")
    assert done.stdout == "upcoming.csv: for these rows, `kiban features --for upcoming.csv` prints a request\n"
    rows = pyarrow.csv.read_csv("upcoming.csv")
    assert rows.num_rows == 5
    assert "dep_delay" not in rows.column_names
    assert len(json.loads(features("--for", "upcoming.csv").stdout)["records"]) == 5


def test_the_columns_that_are_needed_are_named(asked: pa.Table) -> None:
    pyarrow.csv.write_csv(asked.drop_columns(["hour", "origin"]), "asked.csv")
    with pytest.raises(KibanError, match="no column hour, origin; needed are time_hour, carrier, .*; may be absent: "):
        features("--for", "asked.csv")


def test_a_time_without_a_zone_is_said(asked: pa.Table) -> None:
    lines = Path("asked.csv").read_text()
    Path("asked.csv").write_text(lines.replace(".000000Z", ""))
    with pytest.raises(KibanError, match="column 'time_hour', row 1: .* it has no time zone, as in 2013-01-31T15:00"):
        features("--for", "asked.csv")


def test_without_rows_the_two_ways_are_named() -> None:
    done = features()
    assert done.exit_code == 2
    assert "--for PATH, or make some by --example PATH" in done.stderr


def test_requests_that_are_not_there_are_named() -> None:
    with pytest.raises(KibanError, match="no file matches nothing.csv"):
        features("--for", "nothing.csv")
