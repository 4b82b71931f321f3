"""`kiban ingest`: take batches into the ledger."""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kiban import contract, files, ledger, parquet
from kiban.batches import period
from kiban.contract import Table
from kiban.errors import KibanError
from kiban.ledger import Ledger
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Dataset
from kiban.sources import Source, open_source, take

if TYPE_CHECKING:
    from kiban.changes import Rows


class Params(Sections):
    dataset: Dataset


@click.command()
@click.option("--new", is_flag=True, help="Take every batch that the source has and the ledger has not.")
@click.option("--refresh", metavar="BATCH", help="Take a new snapshot of a batch that the ledger has.")
@click.option("--table", metavar="TABLE", help="Of this table only.")
def ingest(new: bool, refresh: str | None, table: str | None) -> None:
    """Take snapshots of batches from their source and record them in the ledger.

    A batch that was taken is never read again but by --refresh, which shows what differs by rows. A batch whose period
    is not over yet is not taken.
    """
    if new == bool(refresh):
        raise click.UsageError("give either --new or --refresh BATCH")
    dataset = read(Params).dataset
    tables = contract.read_raw(contract.raw_path(dataset.name))
    recorded = ledger.read(ledger.ledger_path(dataset.name))
    for name in [*dataset.tables, *([table] if table else [])]:
        if name not in tables or name not in dataset.tables:
            raise KibanError(f"there is no table {name!r} both in conf/dataset and in the raw contract")
    chosen = [table] if table else list(dataset.tables)
    if refresh:
        _refresh(dataset, tables, recorded, refresh, chosen)
    else:
        _take_new(dataset, tables, recorded, chosen)


def _take_new(dataset: Dataset, tables: Mapping[str, Table], recorded: Ledger, chosen: list[str]) -> None:
    """Take what is beyond the ledger; what cannot be taken does not keep the rest from it, and is said at the end."""
    from rich.console import Console
    from rich.progress import track

    taken, refused = [], []
    for name in chosen:
        try:
            source = open_source(dataset.tables[name].source)
            beyond = list(_over(source, dataset.timezone, set(recorded.get(name, {})), name))
        except KibanError as error:
            refused.append(f"{name}: {error}")
            continue
        for batch in track(beyond, description=name, console=Console(stderr=True), transient=True):
            try:
                entry = take(source, tables[name], batch, dataset.timezone, ledger.raw_file(dataset.name, name, batch))
            except KibanError as error:
                refused.append(str(error))
                continue
            recorded.setdefault(name, {})[batch] = entry
            ledger.write(ledger.ledger_path(dataset.name), recorded)
            taken.append(f"{name} {batch}: {entry.rows:,} rows")
    print("\n".join(taken) if taken else "nothing was taken")
    if refused:
        raise KibanError("\nerror: ".join(refused))


def _over(source: Source, timezone: str, known: set[str], table: str) -> Iterator[str]:
    """The batches beyond `known` whose period is over."""
    for batch in source.batches():
        if batch not in known:
            covered = period(batch, timezone)
            if covered is None or covered[1] <= datetime.now(UTC):
                yield batch
            else:
                print(f"{table} {batch} is not over yet: not taken", file=sys.stderr)


def _refresh(dataset: Dataset, tables: Mapping[str, Table], recorded: Ledger, batch: str, chosen: list[str]) -> None:
    """Take a new snapshot of the batch in every table that has it, and show what differs."""
    having = [name for name in chosen if batch in recorded.get(name, {})]
    if not having:
        raise KibanError(f"the ledger has no batch {batch} of {' or '.join(chosen)}: `kiban data` lists what it has")
    for name in having:
        entry = recorded[name][batch]
        path = ledger.raw_file(dataset.name, name, batch)
        old = parquet.read(path) if files.is_file(path, entry.sha256) else None
        beside = path.with_name(f"{path.name}.refreshed")
        fresh = take(open_source(dataset.tables[name].source), tables[name], batch, dataset.timezone, beside)
        if fresh.sha256 == entry.sha256:
            beside.replace(path)
            print(f"{name} {batch}: no difference")
            continue
        if old is None:
            print(f"{name} {batch}: {entry.rows:,} rows, now {fresh.rows:,}; the old snapshot is not here to compare")
        else:
            from kiban.changes import by_rows

            new = parquet.read(beside)
            _show(f"{name} {batch}", by_rows(old, new, tables[name].key))
            for column in sorted(set(old.column_names) ^ set(new.column_names)):
                print(f"  column {column} {'added' if column in new.column_names else 'removed'}")
        recorded[name][batch] = fresh
        beside.replace(path)
        ledger.write(ledger.ledger_path(dataset.name), recorded)


def _show(what: str, rows: "Rows") -> None:
    print(f"{what}: {rows.in_words()}")
    for sign, keys in (("+", rows.added_keys), ("-", rows.removed_keys)):
        for key in keys:
            print(f"  {sign} {_words(key)}")
    for difference in rows.differences:
        values = ", ".join(f"{name} {old} → {new}" for name, (old, new) in difference.values.items())
        print(f"  ~ {_words(difference.key)}: {values}")
    if rows.added + rows.removed + rows.changed > len([*rows.added_keys, *rows.removed_keys, *rows.differences]):
        print("  …")


def _words(key: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in key.items())
