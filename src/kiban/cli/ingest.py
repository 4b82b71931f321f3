"""`kiban ingest`: takes snapshots of batches and records them in the ledger."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from kiban.cli import reasons
from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.core.text import plain
from kiban.data import contract
from kiban.data.batches import base
from kiban.data.contract import Table
from kiban.ingest import ledger
from kiban.sources.settings import Dataset

if TYPE_CHECKING:
    from kiban.ingest.take import Refreshed, Taken
    from kiban.review.changes import Rows


class Params(Sections):
    dataset: Dataset


@click.command()
@click.option("--new", is_flag=True, help="Take every batch of the source that the ledger lacks.")
@click.option("--until", metavar="BATCH", help="With --new: no batch after this one.")
@click.option(
    "--refresh",
    multiple=True,
    metavar="BATCH",
    help="Take a new snapshot of a batch of the ledger, or of all from A to B (A..B). May be given several times.",
)
@click.option("--table", metavar="TABLE", help="Take batches of this table only.")
@reasons.now
def ingest(new: bool, until: str | None, refresh: tuple[str, ...], table: str | None, now: datetime) -> None:
    """Take snapshots of batches from their source and record them in the ledger.

    Only --refresh reads a batch again that was taken; it shows the rows that differ. A batch whose period is not over
    yet is not taken.

    \b
    Examples:
      kiban ingest --new
      kiban ingest --new --until 2013-06
      kiban ingest --refresh 2013-11..2013-12 --table flights
    """
    from kiban.ingest import take

    if new == bool(refresh) or (until and not new):
        raise click.UsageError("give either --new, perhaps with --until, or --refresh BATCH")
    dataset = read(Params).dataset
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    for name in [*dataset.tables, *([table] if table else [])]:
        if name not in tables or name not in dataset.tables:
            raise KibanError(f"table {name!r} must be both in conf/dataset and in the raw contract")
    chosen = [table] if table else list(dataset.tables)
    path = paths.ledger(dataset.name)
    with ledger.locked(path):
        recorded = ledger.read(path)
        if new:
            _take_new(take.take_new(dataset, tables, recorded, chosen, now, until))
        for batch in _batches(refresh, {name for table in chosen for name in recorded.get(table, {})}):
            _refresh(take.refresh(dataset, tables, recorded, batch, chosen, now), batch, tables)


def _batches(asked: Iterable[str], known: Collection[str]) -> list[str]:
    """The batches that are asked for, each once, in order. Raises KibanError if a range has none."""
    names: dict[str, None] = {}
    for each in asked:
        first, dots, last = each.partition("..")
        inside = sorted(name for name in known if first <= name and base(name) <= last) if dots else [each]
        if not inside:
            raise KibanError(f"the ledger has no batch from {first} to {last}: `kiban data` lists what it has")
        names |= dict.fromkeys(inside)
    return list(names)


def _take_new(taken: "Taken") -> None:
    batches = [(table, batch, entry) for table, entries in taken.entries.items() for batch, entry in entries.items()]
    lines = [f"{table} {batch}: {entry.rows:,} rows" for table, batch, entry in batches]
    print("\n".join(lines) if lines else "nothing was taken")
    if taken.problems:
        raise KibanError("\nerror: ".join(taken.problems))


def _refresh(snapshots: Iterable["Refreshed"], batch: str, tables: Mapping[str, Table]) -> None:
    """Print the differences of each new snapshot."""
    for table, before, after, old, new in snapshots:
        if before.sha256 == after.sha256:
            print(f"{table} {batch}: no difference")
        elif old is None:
            print(f"{table} {batch}: {before.rows:,} rows, now {after.rows:,}; the old snapshot is not here to compare")
        else:
            from kiban.review.changes import by_rows

            _show(f"{table} {batch}", by_rows(old, new, tables[table].key))
            for column in sorted(set(old.column_names) ^ set(new.column_names)):
                print(f"  column {column} {'added' if column in new.column_names else 'removed'}")


def _show(title: str, rows: "Rows") -> None:
    print(f"{title}: {rows.in_words()}")
    for sign, keys in (("+", rows.added_keys), ("-", rows.removed_keys)):
        for key in keys:
            print(f"  {sign} {_words(key)}")
    for difference in rows.differences:
        values = ", ".join(f"{name} {plain(old)} → {plain(new)}" for name, (old, new) in difference.values.items())
        print(f"  ~ {_words(difference.key)}: {values}")
    if rows.added + rows.removed + rows.changed > len([*rows.added_keys, *rows.removed_keys, *rows.differences]):
        print("  …")


def _words(key: dict[str, object]) -> str:
    return ", ".join(f"{name}={plain(value)}" for name, value in key.items())
