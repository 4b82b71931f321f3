"""What is unlike all that a model was made with, on real flights in blocks of rows; docs/operate.md has the rates."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from slice import prepared_rows

from kiban.operate import drift
from kiban.operate.drift import Drift
from kiban.servable import columns, reference
from kiban.servable.load import Servable, load
from kiban.servable.reference import ANSWER, LEAST_ROWS, Block, Reference

CHANCES, LEAST = 20, 0.1


@pytest.fixture
def servable(project: Path) -> Servable:
    return load()


def referred(servable: Servable, rows: pa.Table) -> Reference:
    """The reference of rows, as of a table without time: each block is like the others but for chance."""
    table = servable.contract.model_copy(update={"time": None})
    return reference.reference(rows, servable.score(columns.from_arrow(rows, table.features())), table, "UTC")


def judged(servable: Servable, before: Reference, rows: pa.Table, importance: dict[str, float]) -> list[Drift]:
    scores = servable.score(columns.from_arrow(rows, servable.contract.features()))
    of_window = reference.judged_columns(rows, scores, servable.contract)
    unknown = reference.unknown(of_window, before.known)
    window = Block(first=None, rows=rows.num_rows, columns=reference.summary(of_window), unknown=unknown)
    return drift.judge(before, drift.past(before), window, importance, CHANCES, LEAST)


def unusual(found: list[Drift]) -> set[tuple[str, str]]:
    return {(each.column, each.check) for each in found if each.is_unusual}


def test_like_rows_are_usual_and_changed_ones_are_not(servable: Servable) -> None:
    rows = prepared_rows("2013-01")
    odd = np.random.default_rng(0).permutation(rows.num_rows)
    before, after = rows.take(odd[: rows.num_rows * 3 // 4]), rows.take(odd[rows.num_rows * 3 // 4 :])
    known = referred(servable, before)
    known.write(Path())
    assert reference.read(Path()) == known
    assert drift.can_judge(known)
    assert unusual(judged(servable, known, after, {})) == set()

    def changed(name: str, values: pa.ChunkedArray) -> pa.Table:
        return after.set_column(after.column_names.index(name), name, values)

    longer = changed("distance", pc.multiply(after["distance"], 2))
    found = judged(servable, known, longer, {"distance": 0.5, "carrier": 0.1})
    assert ("distance", "distribution") in unusual(found)
    assert (found[0].column, found[0].importance) == ("distance", 0.5)
    assert "median" in found[0].sentence
    gone = changed("weather_wind_speed", pa.nulls(after.num_rows, pa.float64()))
    assert ("weather_wind_speed", "nulls") in unusual(judged(servable, known, gone, {}))
    one = changed("carrier", pa.chunked_array([["??"] * after.num_rows]))
    assert {("carrier", "distribution"), ("carrier", "unknown values")} <= unusual(judged(servable, known, one, {}))


def test_the_reference_names_no_rare_value_and_nothing_personal(servable: Servable) -> None:
    rows = prepared_rows("2013-01")
    table = servable.contract
    dest = table.columns["dest"].model_copy(update={"personal": True})
    table = table.model_copy(update={"columns": {**table.columns, "dest": dest}})
    scores = servable.score(columns.from_arrow(rows, table.features()))
    made = reference.reference(rows, scores, table, "America/New_York")
    assert made.is_by_week
    assert all(block.first and block.first.weekday() == 0 for block in made.blocks)
    assert {name for block in made.blocks for name in block.columns} == {*table.features(), ANSWER} - {"dest"}
    assert "dest" not in made.known
    rare = pc.value_counts(rows["carrier"]).to_pylist()
    rare = [each["values"] for each in rare if each["counts"] < LEAST_ROWS]
    assert rare
    named = {level for block in made.blocks for level in block.columns["carrier"].shares or {}}
    assert not set(rare) & {*made.known["carrier"], *named}
    assert made == reference.Reference.model_validate_json(made.model_dump_json())


def test_an_alarm_needs_the_last_week_and_one_of_the_two_before() -> None:
    def week(*names: str) -> list[Drift]:
        return [Drift(column=name, check="nulls", size=1, limit=0.1, then="", now="", importance=0) for name in names]

    from kiban.operate.windows import persistent

    assert persistent([]) == persistent([week("a")]) == persistent([week("a"), week("a"), week()]) == []
    assert persistent([week("a"), week(), week(), week("a")]) == []
    assert [each.column for each in persistent([week("a", "b"), week(), week("a")])] == ["a"]
