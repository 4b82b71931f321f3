"""Computing one batch of the prepared table from the raw batches that its features need."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import BinaryIO

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend
from pydantic import BaseModel

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import batches, parquet, pieces, verdict
from kiban.data.contract import ROW_HASH, Table, Type
from kiban.data.prepared import Counts
from kiban.data.settings import Identity
from kiban.prepare.engine import Engine
from kiban.prepare.features import Features

IBIS_TYPES: Mapping[Type, str] = {
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "boolean": "boolean",
    "timestamp": "timestamp('UTC', 6)",
    "date": "date",
}

Hashes = Mapping[str, Mapping[str, str]]
"""SHA-256 by table and batch."""


class Prepared(BaseModel):
    """The result of preparing a batch: its counts, and the SHA-256 of its file."""

    counts: Counts
    sha256: str


def batches_of(raw: Mapping[str, Table], accepted: Hashes) -> list[str]:
    """The batches that were accepted in every table, sorted; the one static batch if no table has others.

    Raises KibanError if there are none, or if no batch of a table was accepted.
    """
    for name in raw:
        if not accepted.get(name):
            raise KibanError(f"no batch of table {name} was accepted: nothing can be prepared")
    batched = [set(hashes) for hashes in accepted.values() if batches.STATIC not in hashes]
    names = set.intersection(*batched) if batched else {batches.STATIC}
    if not names:
        raise KibanError("no batch was accepted in every table: nothing can be prepared")
    return sorted(names)


def needed_by(accepted: Hashes, batch: str, lookback: int, timezone: str) -> dict[str, dict[str, str]]:
    """The raw batches that the features of `batch` are computed from, with their hashes, by table.

    `lookback` is the number of days before the batch whose rows the features need.
    """
    needed = {}
    for name, hashes in accepted.items():
        names = (
            [batches.STATIC]
            if batches.STATIC in hashes
            else batches.with_lookback(batch, sorted(hashes), lookback, timezone)
        )
        needed[name] = {part: hashes[part] for part in names}
    return needed


def superseding_of(raw: Mapping[str, Table], accepted: Hashes, table: str, batch: str) -> dict[str, str]:
    """The accepted batches whose rows take the place of rows of `batch` with the same key, with their hashes.

    Rows without a key of their own are never replaced.
    """
    if raw[table].key == [ROW_HASH]:
        return {}
    hashes = accepted.get(table, {})
    return {name: hashes[name] for name in batches.superseding(batch, hashes)}


def prepare(
    dataset: Identity,
    on: Engine,
    raw: Mapping[str, Table],
    table: Table,
    features: Features,
    batch: str,
    needed: Hashes,
    later: Mapping[str, str],
    path: Path,
) -> Prepared:
    """Write the prepared rows of `batch`, computed on an engine, to `path`, without those that have no target.

    Rows whose key is in one of the `later` batches, given by name with their hash, are left out: those replace them.

    Raises KibanError if a raw file changed after validation, or if the features cannot be computed or do not fit the
    contract.
    """
    where = f"prepared {batch}"
    left_out = 0

    def complete(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        nonlocal left_out
        for rows in tables:
            kept = rows.filter(rows[table.target()].is_valid())
            left_out += rows.num_rows - kept.num_rows
            yield kept

    with ExitStack() as stack:
        scratch = stack.enter_context(files.scratch(path))

        def opened(name: str, hashes: Mapping[str, str]) -> dict[str, BinaryIO]:
            # The engine opens the file that was hashed, not what may stand at its path by then.
            return {
                part: stack.enter_context(verdict.opened(paths.raw_file(dataset.name, name, part), digest))
                for part, digest in hashes.items()
            }

        session = on.connect(scratch)

        def rows_of(name: str, snapshots: Mapping[str, BinaryIO], called: str) -> ir.Table:
            return _rows(on, session, called, raw[name], snapshots)

        snapshots = {name: opened(name, hashes) for name, hashes in needed.items()}
        tables = {name: rows_of(name, parts, name) for name, parts in snapshots.items()}
        if later:
            keys = rows_of(features.rows_of, opened(features.rows_of, later), f"later {features.rows_of}")
            key = raw[features.rows_of].key
            tables[features.rows_of] = tables[features.rows_of].anti_join(keys.select(key), key)
        of_batch = _features(dataset, raw, table, features, batch, tables)
        count = sum(map(pieces.count, snapshots[features.rows_of].values()))
        computed = on.in_order(session, of_batch, table, count, where, scratch)
        rows = pieces.write(complete(computed), parquet.schema(table), path)
    counts = Counts(rows=rows, left_out_without_target=left_out)
    return Prepared(counts=counts, sha256=files.sha256(path))


def _features(
    dataset: Identity,
    raw: Mapping[str, Table],
    table: Table,
    features: Features,
    batch: str,
    tables: Mapping[str, ir.Table],
) -> ir.Table:
    """The expression of the prepared rows of a batch, from the raw rows that it needs, by table."""
    period = batches.period(batch, dataset.timezone)
    if period:
        since = period[0] - timedelta(days=features.lookback_days)
        tables = {
            name: rows.filter(rows[time] >= since) if (time := raw[name].time) else rows
            for name, rows in tables.items()
        }
    of_batch = features.compute(tables)
    if period and features.lookback_days and table.time is None:
        raise KibanError(
            f"{paths.prepared_contract(dataset.name)}: time: missing; the features look back "
            f"{features.lookback_days} days, and only a time tells the rows of a batch from earlier ones"
        )
    if table.time and period:
        of_batch = of_batch.filter((of_batch[table.time] >= period[0]) & (of_batch[table.time] < period[1]))
    return of_batch


def _rows(on: Engine, session: BaseBackend, name: str, contract: Table, snapshots: Mapping[str, BinaryIO]) -> ir.Table:
    """The rows of open snapshots by batch, with the present columns: those of earlier layouts as they are now."""
    now = [file for batch, file in snapshots.items() if contract.at(batch) is contract]
    parts = [on.table(session, name, now)] if now else []
    for batch, file in snapshots.items():
        if contract.at(batch) is not contract:
            parts.append(_as_now(on.table(session, f"{name} {batch}", [file]), contract, batch))
    return reduce(lambda one, other: one.union(other), parts)


def _as_now(rows: ir.Table, contract: Table, batch: str) -> ir.Table:
    columns = {}
    for name, column in contract.columns.items():
        kind, then = IBIS_TYPES[column.type], column.at(batch, name)
        columns[name] = ibis.null(kind) if then is None else rows[then[0]].cast(kind)
    return rows.select(**columns)
