from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from ibis import _

from kiban.core import paths
from kiban.core.settings import read
from kiban.data import contract, pieces, verdict
from kiban.prepare import batch, on_duckdb
from kiban.prepare.__main__ import Params
from kiban.prepare.batch import Prepared
from kiban.prepare.features import load

LAST = "2013-03"

Change = Callable[[ir.Table], ir.Table]


def prepared(path: Path, change: Change = lambda rows: rows) -> Prepared:
    """Prepare the last batch of flights into `path`, with a change of its features."""
    params = read(Params)
    raw = contract.read_raw(paths.raw_contract("flights"))
    features = load("flights.py", raw)

    def compute(tables: Mapping[str, ir.Table]) -> ir.Table:
        return change(features.compute(tables))

    needed = batch.needed_by(verdict.read("raw").accepted, LAST, features.lookback_days, params.dataset.timezone)
    return batch.prepare(
        params.dataset,
        on_duckdb,
        raw,
        contract.prepared_of("flights"),
        features._replace(compute=compute),
        LAST,
        needed,
        {},
        path,
    )


@pytest.fixture
def queries(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The columns of each query, which the engine streams."""
    asked: list[list[str]] = []
    real = on_duckdb.rows

    def rows(session: Any, features: ir.Table, where: str) -> Iterator[pa.Table]:
        asked.append(list(features.columns))
        return real(session, features, where)

    monkeypatch.setattr(on_duckdb, "rows", rows)
    return asked


def state_of_all(rows: ir.Table) -> ir.Table:
    return rows.filter(_.state_city_delay_2h.notnull())


def of_two_windows(rows: ir.Table) -> ir.Table:
    """One column of two windows, and one of a function that no engine looks into."""

    @ibis.udf.scalar.python
    def doubled(number: int) -> int:
        return 2 * number

    return rows.mutate(
        state_dest_waiting_6h=_.state_dest_waiting_6h + _.state_origin_waiting_12h, distance=doubled(_.distance)
    )


def with_rows_twice(rows: ir.Table) -> ir.Table:
    return rows.union(rows)


@pytest.mark.parametrize(
    ("change", "count"), [(lambda rows: rows, 9), (state_of_all, 1), (of_two_windows, 9), (with_rows_twice, 2)]
)
def test_a_large_batch_is_computed_by_window_and_has_the_bytes_of_a_small_one(
    change: Change, count: int, queries: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = prepared(tmp_path / "at_once.parquet", change)
    assert not queries
    monkeypatch.setattr(pieces, "LARGE", 1000)
    assert prepared(tmp_path / "in_cuts.parquet", change) == at_once
    assert len(queries) == count
    assert not list(tmp_path.glob("*.part"))
