"""When a cycle promotes, what it keeps out, and whose clock it reads; test_cycle.py runs it."""

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from slice import ROOT

from kiban.data.verdict import LIKE_EARLIER, Finding
from kiban.ingest.ledger import Entry
from kiban.operate import cycle as operation
from kiban.operate import intake
from kiban.operate.last_cycle import Cycle
from kiban.operate.registry import Record, Registry, Tag
from kiban.operate.rules import Due

NOW = datetime(2013, 7, 2, tzinfo=UTC)


def promoted(at: datetime, through: str) -> Registry:
    record = Record(kind="promotion", model_id="0" * 64, through=through)
    tag = Tag("flights#prod#1", "o", "c", "somebody", at, None, "prod", False, 1, record)
    return Registry("flights", (tag,))


def settings(**due: int) -> Any:
    return SimpleNamespace(cycle=Due(**{"months": 3, "batches": 2, **due}))


@pytest.fixture(autouse=True)
def head(monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD has batches up to June."""
    batches = {f"2013-{month:02d}": None for month in range(1, 7)} | {"2013-06.2": None}
    revision = SimpleNamespace(evaluation=SimpleNamespace(by_batch=batches))
    monkeypatch.setattr(operation, "Revision", lambda _: revision)


def test_a_promotion_is_due_by_batches_age_or_quality() -> None:
    june = datetime(2013, 6, 2, tzinfo=UTC)

    def due(known: Registry, **given: Any) -> str | None:
        return operation.due(Cycle(started=NOW, **given), known, NOW, settings())

    assert due(Registry("flights", ())) == "nothing is in production yet"
    assert due(promoted(june, "2013-06")) is None
    assert due(promoted(june, "2013-05")) == "2 new batches, up to 2013-06.2"
    assert due(promoted(datetime(2013, 4, 1, tzinfo=UTC), "2013-06")) == "it is 3 months old"
    assert (
        due(promoted(june, "2013-06"), alarms=["quality, roc_auc: it is worse"]) == "its quality is worse than promised"
    )
    assert due(promoted(june, "2013-05"), held_back={"2013-07": ["…"]}) is None
    held = Cycle(started=NOW)
    known = promoted(june, "2013-01")
    hold = Tag("flights#hold#2", "o", "c", "x", june, None, "hold", False, 2, Record(kind="hold", model_id=""))
    assert operation.due(held, Registry("flights", (*known.tags, hold)), NOW, settings()) is None
    assert held.outcome == "held"


def finding(batch: str, expectation: str, severity: str = "warn") -> Finding:
    return Finding.model_validate(
        {
            "table": "flights",
            "batch": batch,
            "column": "dest",
            "expectation": expectation,
            "severity": severity,
            "rows": None,
            "observed": "…",
            "examples": [],
        }
    )


def test_of_batches_that_are_unlike_the_first_is_kept_out_first() -> None:
    unlike = [finding(f"2013-0{month}", f"{LIKE_EARLIER}(nulls)") for month in (6, 5, 7)]
    assert intake._first({each.batch: [each] for each in unlike}) == ["2013-05"]
    rejected = finding("2013-07", "expect_column_values_to_not_be_null", "reject")
    assert intake._first({**{each.batch: [each] for each in unlike}, "2013-07": [rejected]}) == ["2013-07"]


def test_the_gravest_of_what_happened_is_the_exit_status() -> None:
    assert Cycle(started=NOW, outcome="refused").status == 0
    assert Cycle(started=NOW, alarms=["a"]).status == 4
    assert Cycle(started=NOW, alarms=["a"], held_back={"b": []}).status == 3
    assert Cycle(started=NOW, alarms=["a"], held_back={"b": []}, problems=["p"]).status == 1


def test_what_is_taken_anew_are_the_last_batches_that_count() -> None:
    entry = Entry(rows=1, sha256="0" * 64, source="", taken_at="")
    left_out = entry.model_copy(update={"left_out": "it is wrong"})
    tables = {name: SimpleNamespace(refresh_last=number) for name, number in {"flights": 2, "planes": 0}.items()}
    known = {"flights": {"2013-01": entry, "2013-02": entry, "2013-03": left_out}, "planes": {"static": entry}}
    dataset: Any = SimpleNamespace(tables=tables)
    assert intake.late(dataset, known) == [("flights", "2013-02")]


def test_operation_has_one_clock() -> None:
    """The option --now: a second clock would let a replay see another day."""
    other = re.compile(r"datetime\.now|utcnow|date\.today|time\.time\(|Timestamp\.now")
    rooms = sorted((ROOT / "src/kiban/operate").glob("*.py"))
    assert rooms
    assert [path.name for path in rooms if other.search(path.read_text())] == []
