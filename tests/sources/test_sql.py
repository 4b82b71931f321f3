"""A real PostgreSQL server; SQLite; and what BigQuery and Redshift would be sent."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from slice import ROOT, real_lines, whole

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.batches import bounds
from kiban.ingest import ledger
from kiban.ingest.take import take
from kiban.sources.sql import Sql, statement

ZONE = "America/New_York"
TABLES = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")
LEDGER = ledger.read(ROOT / "data/flights.batches.yaml")
POSTGRES_TYPES = {"string": "text", "integer": "integer", "number": "numeric", "timestamp": "timestamptz"}
QUERY = "SELECT * FROM {table} WHERE time_hour >= :start AND time_hour < :end"
NAMES = "SELECT DISTINCT to_char(time_hour AT TIME ZONE 'America/New_York', 'YYYY-MM') FROM {table}"


@pytest.fixture(scope="module")
def year(postgres: sa.URL) -> sa.URL:
    """The year of flights and its weather and planes, loaded by COPY."""
    import psycopg

    dsn = postgres.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table, file in (("flights", "flights.csv.zip"), ("weather", "weather.csv"), ("planes", "planes.csv")):
            header, *lines = real_lines(file)
            types = {name: POSTGRES_TYPES[column.type] for name, column in TABLES[table].columns.items()}
            names = [name.strip('"') for name in header.split(",")]
            columns = ", ".join(f'"{name}" {types[name]}' for name in names)
            cursor.execute(f"CREATE TABLE {table} ({columns})")
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, NULL 'NA')") as copy:
                copy.write("\n".join(lines))
    return postgres


@pytest.fixture(params=["ADBC", "SQLAlchemy"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "SQLAlchemy":
        real = importlib.util.find_spec
        monkeypatch.setattr(
            "kiban.sources.sql.importlib.util.find_spec",
            lambda name: None if name == "adbc_driver_postgresql" else real(name),
        )
    name: str = request.param
    return name


def test_the_year_from_postgresql_has_the_hashes_of_the_package(
    year: sa.URL, driver: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLIGHTS_URL", year.render_as_string(hide_password=False))
    for table in ("flights", "weather"):
        source = Sql("FLIGHTS_URL", QUERY.format(table=table), NAMES.format(table=table))
        assert source.batches() == sorted(LEDGER[table])
        for batch, entry in LEDGER[table].items():
            taken = take(source, TABLES[table], batch, ZONE, tmp_path / table / f"{batch}.parquet")
            assert (taken.sha256, taken.rows) == (entry.sha256, entry.rows)
            assert taken.source == "SQL through FLIGHTS_URL"
    static = Sql("FLIGHTS_URL", "SELECT * FROM planes")
    assert static.batches() == ["static"]
    taken = take(static, TABLES["planes"], "static", ZONE, tmp_path / "planes/static.parquet")
    assert taken.sha256 == LEDGER["planes"]["static"].sha256


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"password": "wrong:pass@word"}, "password authentication failed"),
        ({"port": 1}, "Connection refused"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_database_that_does_not_answer_well_is_one_line_without_the_password(
    postgres: sa.URL, driver: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], cause: str
) -> None:
    url = postgres.set(**change)
    monkeypatch.setenv("FLIGHTS_URL", url.render_as_string(hide_password=False))
    with pytest.raises(KibanError, match=f"SQL through FLIGHTS_URL failed: .*{cause}") as raised:
        whole(Sql("FLIGHTS_URL", "SELECT 1 AS one").read("static", None))
    assert "\n" not in str(raised.value)
    assert str(url.password) not in str(raised.value)


def test_an_at_in_a_password_does_not_reach_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTS_URL", "postgresql+psycopg://user:p@geheim@127.0.0.1:1/db")
    with pytest.raises(KibanError, match="write @ in a password as %40") as raised:
        whole(Sql("FLIGHTS_URL", "SELECT 1 AS one").read("static", None))
    assert "geheim" not in str(raised.value)


def test_a_message_that_has_the_url_is_shown_without_it(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    monkeypatch.setenv("FLIGHTS_URL", "postgresql+psycopg://user:p%40ss@[abc/db?passfile=geheim")
    with pytest.raises(KibanError, match="SQL through FLIGHTS_URL failed: ") as raised:
        whole(Sql("FLIGHTS_URL", "SELECT 1 AS one").read("static", None))
    assert not [secret for secret in ("p%40ss", "p@ss", "geheim") if secret in str(raised.value)]


def test_a_wrong_query_and_an_empty_batch_are_said(year: sa.URL, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTS_URL", year.render_as_string(hide_password=False))
    with pytest.raises(KibanError, match='relation "trains" does not exist'):
        whole(Sql("FLIGHTS_URL", "SELECT * FROM trains").read("static", None))
    with pytest.raises(KibanError, match="SQL through FLIGHTS_URL has no rows of batch 2014-01"):
        whole(Sql("FLIGHTS_URL", QUERY.format(table="flights"), NAMES).read("2014-01", bounds("2014-01", ZONE)))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "the environment variable FLIGHTS_URL is not set"),
        ("not a url", "the environment variable FLIGHTS_URL is not a SQLAlchemy URL"),
        ("postgresql://user:geheim@[::bad/db", "the environment variable FLIGHTS_URL is not a SQLAlchemy URL"),
        ("oracle://user:geheim@127.0.0.1/db", "No module named 'oracledb': install the extra"),
        ("nosuch://user:geheim@127.0.0.1/db", "Can't load plugin"),
    ],
)
def test_a_url_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str | None, message: str) -> None:
    monkeypatch.delenv("FLIGHTS_URL", raising=False)
    if url:
        monkeypatch.setenv("FLIGHTS_URL", url)
    with pytest.raises(KibanError, match=message) as raised:
        whole(Sql("FLIGHTS_URL", "SELECT 1 AS one").read("static", None))
    assert "geheim" not in str(raised.value)


def test_sqlite_is_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTS_URL", f"sqlite:///{tmp_path / 'flights.db'}")
    monkeypatch.setattr("kiban.sources.sql.ROWS_AT_ONCE", 2)
    with sa.create_engine(f"sqlite:///{tmp_path / 'flights.db'}").begin() as connection:
        connection.execute(sa.text("CREATE TABLE numbers (id INTEGER, value REAL)"))
        connection.execute(sa.text("INSERT INTO numbers VALUES (1, NULL), (2, NULL), (3, 0.5)"))
    names = "SELECT '2013-01' UNION ALL SELECT '2013-01' UNION ALL SELECT NULL"
    query = "SELECT * FROM numbers WHERE :start < :end"
    assert Sql("FLIGHTS_URL", query, names).batches() == ["2013-01"]
    rows = whole(Sql("FLIGHTS_URL", "SELECT * FROM numbers").read("static", None))
    assert rows.to_pydict() == {"id": [1, 2, 3], "value": [None, None, 0.5]}


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("bigquery", "t >= %(start:TIMESTAMP)s AND t < %(end:TIMESTAMP)s AND name LIKE 'a%%'"),
        ("redshift.redshift_connector", "t >= %s AND t < %s AND name LIKE 'a%%'"),
    ],
)
def test_what_bigquery_and_redshift_are_sent(dialect: str, expected: str) -> None:
    asked = statement("t >= :start AND t < :end AND name LIKE 'a%'", bounds("2013-01", ZONE))
    kind = sa.dialects.registry.load(dialect)
    compiled = asked.compile(dialect=kind(dbapi=kind.import_dbapi()))
    assert str(compiled) == expected
    assert compiled.params == {
        "start": datetime(2013, 1, 1, 5, tzinfo=UTC),
        "end": datetime(2013, 2, 1, 5, tzinfo=UTC),
    }


def test_a_statement_has_no_value_in_its_text() -> None:
    """The period is bound, never written into the statement."""
    asked = statement("SELECT * FROM t WHERE t >= :start AND t < :end", bounds("2013-01", ZONE))
    assert "2013" not in str(asked.compile())
    assert isinstance(pa.scalar(asked.compile().params["start"]), pa.TimestampScalar)
