"""Answers in the table of a real PostgreSQL, and of SQLite: about new rows of the source, and about past ones."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from slice import prepared_rows

from kiban.cli.score import score
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.ingest import ledger
from kiban.servable import columns
from kiban.servable.load import load

LEDGER = Path("data/flights.batches.yaml")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(score, arguments)
    if done.exception:
        raise done.exception
    return done.output


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> sa.URL:
    """An empty database, whose URL is in ANSWERS_URL."""
    if request.param == "sqlite":
        where = sa.make_url(f"sqlite:///{project}/answers.db")
    else:
        where = request.getfixturevalue("postgres")
        with sa.create_engine(where).begin() as connection:
            connection.execute(sa.text('DROP TABLE IF EXISTS "late flights"'))
    monkeypatch.setenv("ANSWERS_URL", where.render_as_string(hide_password=False))
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    return where


def table(url: sa.URL) -> list[dict[str, Any]]:
    """The rows of the table, in the order of their key. SQLite gives times as text."""
    query = sa.text('SELECT * FROM "late flights" ORDER BY scheduled_departure, carrier, flight')
    with sa.create_engine(url).connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    for row in rows:
        time = row["scheduled_departure"]
        row["scheduled_departure"] = datetime.fromisoformat(time) if isinstance(time, str) else time
    return rows


def forget_march() -> None:
    """The ledger lacks March, as before the month was over: the source has it."""
    recorded = ledger.read(LEDGER)
    for entries in recorded.values():
        entries.pop("2013-03", None)
    ledger.write(LEDGER, recorded)
    path = paths.verdict("raw")
    known = json.loads(path.read_text())
    for name in known["accepted"]:
        known["accepted"][name].pop("2013-03", None)
    path.write_text(json.dumps(known))


TO = ("--to", "late flights", "--url-env", "ANSWERS_URL")


def test_new_rows_are_answered_once(url: sa.URL, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIBAN_PREDICTION_LOG", str(project / "log"))
    run("--backfill", "2013-03", *TO)
    known = table(url)
    forget_march()
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text('DROP TABLE "late flights"'))
    said = run("--from-source", "--log", *TO)
    rows = table(url)
    assert (
        f"score: 2013-03: {len(rows):,} answers by model {load().model_id[:12]}, {len(rows):,} new or changed" in said
    )
    assert [without_time(row) for row in rows] == [without_time(row) for row in known]  # as they were known then
    assert {row["model_id"] for row in rows} == {load().model_id}
    logged = [json.loads(line) for path in (project / "log").iterdir() for line in path.read_text().splitlines()]
    assert sum(len(line["answer"]["predictions"]) for line in logged) == len(rows)
    first = logged[0]["request"]["records"][0]
    assert {"flight", "scheduled_departure", "carrier"} <= first.keys()
    before = len(list((project / "log").iterdir()))
    assert ", 0 new or changed" in run("--from-source", "--log", *TO)
    assert table(url) == rows
    assert len(list((project / "log").iterdir())) == before
    with sa.create_engine(url).begin() as connection:
        connection.execute(
            sa.text('UPDATE "late flights" SET probability = 2 WHERE flight = :flight'), {"flight": rows[0]["flight"]}
        )
        connection.execute(sa.text('DELETE FROM "late flights" WHERE flight = :flight'), {"flight": rows[-1]["flight"]})
    run("--from-source", *TO)
    assert [without_time(row) for row in table(url)] == [without_time(row) for row in rows]


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "answered_at"}


def test_past_rows_are_answered_as_the_training_rows_are(url: sa.URL) -> None:
    run("--backfill", "2013-02..2013-03", *TO)
    answers = {key_of(row): row["probability"] for row in table(url)}
    servable, rows = load(), prepared_rows("2013-03")
    scores = servable.score(columns.from_arrow(rows, servable.contract.features())).tolist()
    for row, value in zip(rows.to_pylist(), scores, strict=True):
        assert answers[key_of(row)] == value
    assert len(answers) > rows.num_rows  # of cancelled flights too, and of February


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The key of a row, the time as UTC, which SQLite does not say."""
    time = row["scheduled_departure"]
    return row["carrier"], row["flight"], time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def test_nothing_new_is_said(url: sa.URL) -> None:
    assert "the source has no batch that the ledger lacks" in run("--from-source", *TO)


def test_a_table_of_other_columns_is_refused_and_left(url: sa.URL) -> None:
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text('CREATE TABLE "late flights" (flight INTEGER)'))
    with pytest.raises(KibanError, match="the table late flights has no column scheduled_departure"):
        run("--backfill", "2013-03", *TO)
    with sa.create_engine(url).connect() as connection:
        assert connection.execute(sa.text('SELECT * FROM "late flights"')).fetchall() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from-source",), "with --to TABLE"),
        (("--from-source", "--to", "t"), "give --url-env NAME"),
        (
            ("--backfill", "2014-01", "--to", "t", "--url-env", "NOWHERE"),
            "no batch from 2014-01 to 2014-01 is accepted",
        ),
        (("--backfill", "2013-03", "--to", "t", "--url-env", "NOWHERE"), "NOWHERE is not set"),
        (("--from-source", "--version", "v1.0.0", "--to", "t"), "with --to TABLE"),
        (("in.csv",), "give INPUT and OUTPUT"),
    ],
)
def test_what_does_not_go_together_is_said(project: Path, arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(score, arguments)
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"
