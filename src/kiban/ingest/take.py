"""Snapshots of batches: read from their source, written whole, and recorded in the ledger."""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from rich.console import Console
from rich.progress import track

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import ordering, parquet, pieces
from kiban.data.batches import STATIC, base, period
from kiban.data.contract import Table
from kiban.ingest import forgotten, ledger, retention
from kiban.ingest.forgotten import Forgotten
from kiban.ingest.ledger import Entry, Ledger
from kiban.sources.kinds import Opened, open_source
from kiban.sources.settings import Dataset


def take(
    source: Opened,
    contract: Table,
    batch: str,
    timezone: str,
    path: Path,
    expected: Entry | None = None,
    now: datetime | None = None,
    gone: Sequence[Forgotten] = (),
) -> Entry:
    """Read one batch, write it to `path`, and return its entry of the ledger, taken at the time `now`, or at present.

    Rows that are `gone` are left out. With `expected`, the entry of the ledger, raises KibanError if the SHA-256
    differs; nothing is written then.
    """
    where = f"{path.parent.name} {batch} ({source.describe()})"
    layout = contract.at(batch)
    with files.scratch(path) as scratch, files.whole(path) as beside:
        rows = ordering.conformed(source.read(batch, period(batch, timezone)), layout, where, scratch)
        kept = (forgotten.without(part, gone) for part in rows)
        count = pieces.write(kept, parquet.schema(layout), beside)
        entry = ledger.entry_of(beside, count, source.describe(), now)
        if expected is not None and entry.sha256 != expected.sha256:
            raise KibanError(
                f"{where}: the source has other rows now ({count}) than the snapshot in the ledger "
                f"({expected.rows}); get the snapshot with `dvc pull` from a remote that has it"
            )
    return entry


class Taken(NamedTuple):
    """The result of `take_new`: the new entries of the ledger, and a message for each batch that was not taken."""

    entries: Ledger
    problems: list[str]


def take_new(
    dataset: Dataset,
    tables: Mapping[str, Table],
    recorded: Ledger,
    chosen: Sequence[str],
    now: datetime,
    until: str | None = None,
) -> Taken:
    """Take every batch of the `chosen` tables that the ledger `recorded` lacks, and write the ledger.

    A batch is taken if its period is over at the time `now`, and if it is not after the batch `until`. If a batch or a
    table cannot be taken, the others still are.
    """
    taken, gone = Taken({}, []), forgotten.read(dataset.name)
    for name in chosen:
        try:
            source = open_source(dataset.tables[name].source)
            names = new_batches(source, name, dataset, recorded.get(name, {}), now, until)
        except KibanError as error:
            taken.problems.append(f"{name}: {error}")
            continue
        for batch in track(names, description=name, console=Console(stderr=True), transient=True):
            try:
                path = paths.raw_file(dataset.name, name, batch)
                entry = take(source, tables[name], batch, dataset.timezone, path, now=now, gone=gone.get(name, ()))
            except KibanError as error:
                taken.problems.append(str(error))
                continue
            recorded.setdefault(name, {})[batch] = entry
            ledger.write(paths.ledger(dataset.name), recorded)
            taken.entries.setdefault(name, {})[batch] = entry
    return taken


def new_batches(
    source: Opened, table: str, dataset: Dataset, recorded: Collection[str], now: datetime, until: str | None
) -> list[str]:
    """The batches of a table's source that are not `recorded`, whose period is over, and which are not after `until`.

    Those that are older than the table keeps them are none. Raises KibanError if the source cannot be asked.
    """
    unknown = [batch for batch in source.batches() if batch not in recorded and not _is_after(batch, until)]
    return kept(_over(unknown, table, dataset.timezone, now), table, dataset, now)


def kept(batches: Iterable[str], table: str, dataset: Dataset, now: datetime) -> list[str]:
    """The batches of a table but for those that are older than it is kept."""
    months = dataset.tables[table].retention_months
    if months is None:
        return list(batches)
    cut = retention.cut(now, months, dataset.timezone)
    return [batch for batch in batches if (covered := period(batch, dataset.timezone)) is None or covered[1] > cut]


def _over(batches: Iterable[str], table: str, timezone: str, now: datetime) -> Iterator[str]:
    """The batches whose period is over."""
    for batch in batches:
        covered = period(batch, timezone)
        if covered is None or covered[1] <= now:
            yield batch
        else:
            print(f"{table} {batch} is not over yet: not taken", file=sys.stderr)


def _is_after(batch: str, until: str | None) -> bool:
    return until is not None and batch != STATIC and base(batch) > until


class Refreshed(NamedTuple):
    """A new snapshot of a batch of `table`: its entries of the ledger before and after, and its old and new rows.

    `old` is None if the file of the old snapshot is missing or altered.
    """

    table: str
    before: Entry
    after: Entry
    old: pa.Table | None
    new: pa.Table


def refresh(
    dataset: Dataset,
    tables: Mapping[str, Table],
    recorded: Ledger,
    batch: str,
    chosen: Sequence[str],
    now: datetime | None = None,
) -> Iterator[Refreshed]:
    """Take a new snapshot of the batch in each `chosen` table that has it.

    A snapshot replaces the old one only when the caller asks for the next, so that the caller can compare the two.
    Raises KibanError if no table has the batch.
    """
    holders = [name for name in chosen if batch in recorded.get(name, {})]
    if not holders:
        raise KibanError(f"the ledger has no batch {batch} of {' or '.join(chosen)}: `kiban data` lists what it has")
    gone = forgotten.read(dataset.name)
    for name in holders:
        entry = recorded[name][batch]
        path = paths.raw_file(dataset.name, name, batch)
        old = parquet.read_version(path, entry.sha256)
        with files.whole(path) as beside:
            source = open_source(dataset.tables[name].source)
            fresh = take(source, tables[name], batch, dataset.timezone, beside, now=now, gone=gone.get(name, ()))
            yield Refreshed(name, entry, fresh, old, parquet.read(beside))
        if fresh.sha256 != entry.sha256:
            recorded[name][batch] = fresh.model_copy(update={"left_out": entry.left_out})
            ledger.write(paths.ledger(dataset.name), recorded)
