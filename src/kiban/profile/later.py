"""`kiban add`: a later file of a table, as batches of its own. Most are cumulative: rows that are there count once."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.text import plain
from kiban.data import batches, parquet, rules
from kiban.data.contract import ROW_HASH, Column, Table
from kiban.data.row_hash import contents, without_number
from kiban.ingest.ledger import Entry
from kiban.profile.sniff import sniffed
from kiban.profile.table import typed
from kiban.profile.types import Options
from kiban.sources import given

NEWEST = "9999"  # sorts after all batches


class Later(NamedTuple):
    """What a later file brings: its new rows by batch, and the numbers of all its rows and of those that are there.

    `replaced` counts the new rows whose key is there with other values. `notes` tell what is unusual about them.
    """

    rows: dict[str, pa.Table]
    of_file: int
    there: int
    replaced: int
    notes: list[str]


def later(
    path: str, name: str, table: Table, timezone: str, recorded: Mapping[str, Entry], replace: bool, drop: Sequence[str]
) -> Later:
    """What the file at `path` brings to the table `name` of the dataset of that name.

    Raises KibanError, which names the edit or the command that would take the file, if it does not fit the contract, or
    if it has other values for a key that is there and `replace` is not given.
    """
    files = given.files(path)
    origin = PurePosixPath(path.rstrip("/")).name
    for file in files:
        way = sniffed(file).written if file.is_text() else table.written
        if (way.delimiter, way.skip) != (table.written.delimiter, table.written.skip):
            raise KibanError(
                f"{file.name} has {way.delimiter!r} between values and {way.skip} lines before the names, not "
                f"{table.written.delimiter!r} and {table.written.skip}: save it like the first file"
            )
    raw = given.rows(files, table.written)
    raw = raw.drop_columns([each for each in drop if each in raw.column_names])
    batch = _delivery(origin, recorded)
    layout = table.at(NEWEST)
    _check_columns(raw, layout, name, origin, batch, list(recorded))
    rows = _conformed(raw, layout, name, origin, batch)
    _check_values(rows, layout, name, origin)
    there = _there(name, name, recorded)
    fresh, replaced = (
        (_not_there(rows, there, layout), 0)
        if table.key == [ROW_HASH]
        else _by_key(rows, there, table, origin, replace)
    )
    notes = _unusual(fresh, layout)
    if table.key == [ROW_HASH]:
        earlier = Counter[str]()
        for old in there.values():
            earlier.update(without_number(old[ROW_HASH]).to_pylist())
        fresh = parquet.conform(fresh.drop_columns(ROW_HASH), layout, origin, earlier)
    return Later(
        _cut(fresh, batch, table, timezone, recorded), rows.num_rows, rows.num_rows - len(fresh), replaced, notes
    )


def _delivery(origin: str, recorded: Mapping[str, Entry]) -> str:
    """The name of the next delivery: its number, and the name of the file."""
    stem = re.sub(r"[^a-z0-9]+", "-", origin.split(".")[0].casefold()).strip("-")
    numbers = [int(found["number"]) for batch in recorded if (found := batches.DELIVERY.fullmatch(batch))]
    return f"{max(numbers, default=0) + 1:03d}-{stem if stem[:1].isalpha() else f'file-{stem}'}"


def _check_columns(rows: pa.Table, table: Table, name: str, origin: str, batch: str, recorded: Sequence[str]) -> None:
    """Raise KibanError, with the edit that would take the file, if its columns are not those of the contract."""
    where = f"{paths.raw_contract(name)}, columns of {name}"
    expected = [column for column in table.columns if column != ROW_HASH]
    missing = [column for column in expected if column not in rows.column_names]
    extra = [column for column in rows.column_names if column not in expected]
    if extra and missing:
        raise KibanError(
            f"{origin} has {_listed(extra)} and lacks {_listed(missing)}. If {extra[0]!r} is the new name of "
            f"{missing[0]!r}: rename that column in {where}, and add `since: {batch}, was: {missing[0]}` to it"
        )
    if extra:
        read = typed(rows.select(extra[:1]), Options(), origin).columns[extra[0]]
        raise KibanError(
            f"{origin} has {_listed(extra)}, which the contract lacks. To take it, add to {where}: `{extra[0]}: "
            f"{{type: {read.type}, role: feature, nullable: true, since: {batch}, description: {extra[0]}}}`; to leave "
            f"it out, give --drop {extra[0]!r}"
        )
    if missing:
        raise KibanError(
            f"{origin} lacks {_listed(missing)}. If it has no such column from now on: add `until: "
            f"{max(recorded)}` to {missing[0]!r} in {where}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"column{'s' * (len(names) > 1)} {', '.join(repr(each) for each in names[:3])}{more}"


def _conformed(rows: pa.Table, table: Table, name: str, origin: str, batch: str) -> pa.Table:
    try:
        return parquet.conform(rows, table, origin)
    except KibanError as error:
        raise KibanError(
            f"{error}. If the column has such values from now on, give it another type in {paths.raw_contract(name)}, "
            f"with `since: {batch}, was: {{type: OLD}}`; if the text stands for null, add it to `written.missing`"
        ) from None


def _check_values(rows: pa.Table, table: Table, name: str, origin: str) -> None:
    """Raise KibanError for the first value that the contract rejects, with what would take it."""
    for column_name, column in table.columns.items():
        for rule in rules.rules(column):
            broken = rule.broken(rows[column_name])
            if rule.policy == "reject" and pc.any(broken).as_py():
                row = pc.index(broken, True).as_py()
                value = plain(repr(rows[column_name][row].as_py()))
                raise KibanError(
                    f"{origin}: column {column_name!r} {rule.text}, but is {value} in one of {_count(broken)} rows: "
                    f"correct the file, or {_edit(column, value)} in {paths.raw_contract(name)}"
                )
    if rows.group_by(table.key).aggregate([]).num_rows < rows.num_rows:
        raise KibanError(f"{origin}: two rows have the same key ({', '.join(table.key)})")


def _count(broken: rules.Values) -> str:
    return f"{pc.sum(broken).as_py():,}"


def _edit(column: Column, value: str) -> str:
    if column.levels is not None:
        return f"add {value} to its levels"
    return "make it nullable" if not column.nullable and value == "None" else "change its limits"


def _there(dataset: str, table: str, recorded: Mapping[str, Entry]) -> dict[str, pa.Table]:
    """The snapshots of all batches, as they are. Raises KibanError if one is not here."""
    rows = {}
    for batch, entry in recorded.items():
        path = paths.raw_file(dataset, table, batch)
        version = parquet.read_version(path, entry.sha256)
        if version is None:
            raise KibanError(f"{path} is not the snapshot of the ledger, or not here: bring it with `dvc pull`")
        rows[batch] = version
    return rows


def _not_there(rows: pa.Table, there: Mapping[str, pa.Table], table: Table) -> pa.Table:
    """The rows that no batch has, each as often as the file has it beyond that.

    Rows are compared on the columns that the batch has: a column that came later says nothing about its rows.
    """
    names = [name for name in table.columns if name != ROW_HASH]
    left = [True] * rows.num_rows
    by_layout: dict[tuple[str, ...], Counter[str]] = {}
    for batch, old in there.items():
        then = {name: column.at(batch, name) for name, column in table.columns.items() if name in names}
        now = parquet.as_now(old, table, batch, batch)
        layout = tuple(name for name in names if then[name] is not None and name in now.column_names)
        by_layout.setdefault(layout, Counter()).update(contents(now, layout))
    for layout, counts in by_layout.items():
        for place, content in enumerate(contents(rows, layout)):
            if left[place] and counts[content]:
                counts[content] -= 1
                left[place] = False
    return rows.filter(pa.array(left, pa.bool_()))


def _by_key(
    rows: pa.Table, there: Mapping[str, pa.Table], table: Table, origin: str, replace: bool
) -> tuple[pa.Table, int]:
    """The rows that no batch has with these values, and how many of them have a key that is there."""
    current: dict[str, tuple[str, tuple[str, ...]]] = {}
    names = [name for name in table.columns if name not in table.key]
    for batch, old in there.items():  # in order: the newest delivery wins
        now = parquet.as_now(old, table, batch, batch)
        layout = tuple(name for name in names if table.columns[name].at(batch, name) is not None)
        for key, content in zip(contents(now, table.key), contents(now, layout), strict=True):
            current[key] = content, layout
    keys = contents(rows, table.key)
    by_layout = {layout: contents(rows, layout) for layout in {layout for _, layout in current.values()}}
    known = [key in current for key in keys]
    same = [
        is_known and by_layout[current[key][1]][place] == current[key][0]
        for place, (key, is_known) in enumerate(zip(keys, known, strict=True))
    ]
    changed = [place for place, is_known in enumerate(known) if is_known and not same[place]]
    if changed and not replace:
        record = rows.slice(changed[0], 1).to_pylist()[0]
        key = ", ".join(f"{name} {plain(record[name])}" for name in table.key)
        raise KibanError(
            f"{origin} has other values than the batches that are there for {len(changed):,} keys, such as {key}: "
            "--replace takes them as corrections"
        )
    return rows.filter(pa.array([not each for each in same], pa.bool_())), len(changed)


def _unusual(rows: pa.Table, table: Table) -> list[str]:
    """What the contract warns about in new rows, by column."""
    notes = []
    for name, column in table.columns.items():
        broken = pc.sum(rules.breaks(rows[name], column, "warn")).as_py() or 0
        if broken:
            examples = rows[name].filter(rules.breaks(rows[name], column, "warn")).unique().to_pylist()[:3]
            what = "are not among the levels" if column.levels is not None else "are outside the range"
            shown = ", ".join(plain(example) for example in examples)
            notes.append(f"{name}: {broken:,} values {what}, such as {shown}")
    return notes


def _cut(rows: pa.Table, batch: str, table: Table, timezone: str, recorded: Mapping[str, Entry]) -> dict[str, pa.Table]:
    """The rows by batch: one delivery, or by the period of the table's batches, with a number where there is one."""
    if not len(rows):
        return {}
    if table.time is None:
        return {batch: rows}
    periods = {batches.base(each) for each in recorded}
    form = "%Y-%m-%d" if any(len(each) > len("2024-01") for each in periods) else "%Y-%m"
    local = pc.local_timestamp(rows[table.time].cast(pa.timestamp("us", timezone)))
    names = pc.strftime(local, form)
    cut = {}
    for period in sorted(names.unique().to_pylist()):
        taken = sum(batches.base(each) == period for each in recorded)
        cut[f"{period}.{taken + 1}" if taken else period] = rows.filter(pc.equal(names, period))
    return cut
