"""`kiban add`: a later file of a table, as batches of its own. Most are cumulative: rows that are there count once."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.text import plain
from kiban.data import batches, parquet, rules
from kiban.data.contract import ROW_HASH, Column, Table
from kiban.data.row_hash import contents, without_number
from kiban.ingest.ledger import Entry
from kiban.profile.batches import periods
from kiban.profile.sniff import sniffed
from kiban.profile.table import typed
from kiban.profile.types import Options, Read
from kiban.profile.write import flow
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
    first = _first_batch(raw, layout, batch, timezone, recorded, origin)
    _check_columns(raw, layout, name, origin, first, list(recorded))
    rows = _conformed(raw, layout, name, origin, first)
    _check_values(rows, layout, name, origin)
    there = _there(name, name, recorded)
    if table.key == [ROW_HASH]:
        fresh, replaced = _not_there(rows, there, table), 0
        earlier = Counter[str]()
        for old in there.values():
            earlier.update(without_number(old[ROW_HASH]).to_pylist())
        fresh = parquet.conform(fresh.drop_columns(ROW_HASH), layout, origin, earlier)
    else:
        fresh, replaced = _by_key(rows, there, table, timezone, origin, replace)
    notes = _unusual(fresh, layout)
    return Later(
        _cut(fresh, batch, table, timezone, recorded), rows.num_rows, rows.num_rows - len(fresh), replaced, notes
    )


def _delivery(origin: str, recorded: Mapping[str, Entry]) -> str:
    """The name of the next delivery: its number, and the name of the file."""
    stem = re.sub(r"[^a-z0-9]+", "-", origin.split(".")[0].casefold()).strip("-")
    numbers = [int(found["number"]) for batch in recorded if (found := batches.DELIVERY.fullmatch(batch))]
    return f"{max(numbers, default=0) + 1:03d}-{stem if stem[:1].isalpha() else f'file-{stem}'}"


def _first_batch(
    rows: pa.Table, table: Table, delivery: str, timezone: str, recorded: Iterable[str], origin: str
) -> str:
    """The first batch that the rows would be of, for the advice about a column: the delivery, or the first period."""
    if table.time is None or table.time not in rows.column_names:
        return delivery
    only = table.model_copy(update={"columns": {table.time: table.columns[table.time]}})
    try:
        return min(_periods(parquet.typed(rows.select([table.time]), only, origin), table, timezone, recorded))
    except KibanError:
        return "BATCH"


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
        settings = flow({**_as_read(rows, extra[0], origin), "since": batch, "description": extra[0]})
        raise KibanError(
            f"{origin} has {_listed(extra)}, which the contract lacks. To take it, add to {where}: "
            f"`{extra[0]}: {settings}`; to leave it out, give --drop {extra[0]!r}"
        )
    if missing:
        raise KibanError(
            f"{origin} lacks {_listed(missing)}. If it has no such column from now on: add `until: "
            f"{max(recorded)}` to {missing[0]!r} in {where}"
        )


def _as_read(rows: pa.Table, name: str, origin: str) -> dict[str, Any]:
    """What the contract would say of a new column. One that can be read in two ways is text, for a person to mend."""
    try:
        read = typed(rows.select([name]), Options(), origin).columns[name]
    except KibanError:
        read = Read("string", None, [])
    written = {"written": read.written.model_dump(exclude_defaults=True)} if read.written else {}
    return {"type": read.type, "role": "feature", "nullable": True, **written}


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

    Rows are compared on the columns that both have: a column that came later says nothing about the rows before it.
    """
    left = [True] * rows.num_rows
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for batch, old in there.items():
        now = parquet.as_now(old, table, batch, batch)
        names = _shared(rows, table, batch)
        counts.setdefault(names, Counter()).update(contents(now, names))
    for names, of_names in counts.items():
        for place, content in enumerate(contents(rows, names)):
            if left[place] and of_names[content]:
                of_names[content] -= 1
                left[place] = False
    return rows.filter(pa.array(left, pa.bool_()))


def _shared(rows: pa.Table, table: Table, batch: str) -> tuple[str, ...]:
    """The columns, without the hash, that a batch had and that the new rows have."""
    return tuple(
        name
        for name, column in table.columns.items()
        if name != ROW_HASH and name in rows.column_names and column.at(batch, name) is not None
    )


class Known(NamedTuple):
    """The newest row with a key: the hash of its values in the columns `names`, and the period of its batch."""

    content: str
    names: tuple[str, ...]
    period: str


def _by_key(
    rows: pa.Table, there: Mapping[str, pa.Table], table: Table, timezone: str, origin: str, replace: bool
) -> tuple[pa.Table, int]:
    """The rows that no batch has with these values, and how many of them have a key that is there."""
    current: dict[str, Known] = {}
    for batch, old in there.items():  # in order: the newest delivery wins
        now = parquet.as_now(old, table, batch, batch)
        names = _shared(rows, table, batch)
        for key, content in zip(contents(now, table.key), contents(now, names), strict=True):
            current[key] = Known(content, names, batches.base(batch))
    keys = contents(rows, table.key)
    known = [current.get(key) for key in keys]
    of_names = {names: contents(rows, names) for names in {each.names for each in current.values()}}
    same = [each is not None and of_names[each.names][place] == each.content for place, each in enumerate(known)]
    changed = [place for place, each in enumerate(known) if each is not None and not same[place]]
    _check_periods(rows, changed, known, table, _periods(rows, table, timezone, there), origin)
    if changed and not replace:
        raise KibanError(
            f"{origin} has other values than the batches that are there for {len(changed):,} keys, such as "
            f"{_key(rows, table, changed[0])}: --replace takes them as corrections"
        )
    return rows.filter(pa.array([not each for each in same], pa.bool_())), len(changed)


def _check_periods(
    rows: pa.Table,
    changed: Sequence[int],
    known: Sequence[Known | None],
    table: Table,
    periods: Sequence[str],
    origin: str,
) -> None:
    """Raise KibanError if a changed row is of another period than the one with its key: both would be rows then."""
    for place in changed if table.time else []:
        earlier = known[place]
        if earlier is not None and earlier.period != periods[place]:
            raise KibanError(
                f"{origin} has {_key(rows, table, place)} in {periods[place]}, and it is there in {earlier.period}: a "
                f"correction stays in its period; if both rows are right, add {table.time} to the key"
            )


def _key(rows: pa.Table, table: Table, place: int) -> str:
    record = rows.slice(place, 1).to_pylist()[0]
    return ", ".join(f"{name} {plain(record[name])}" for name in table.key)


def _unusual(rows: pa.Table, table: Table) -> list[str]:
    """What the contract warns about in new rows, by column."""
    notes = []
    for name, column in table.columns.items():
        breaks = rules.breaks(rows[name], column, "warn")
        if broken := pc.sum(breaks).as_py():
            examples = rows[name].filter(breaks).unique().to_pylist()[:3]
            what = "are not among the levels" if column.levels is not None else "are outside the range"
            shown = ", ".join(plain(example) for example in examples)
            notes.append(f"{name}: {broken:,} values {what}, such as {shown}")
    return notes


def _periods(rows: pa.Table, table: Table, timezone: str, recorded: Iterable[str]) -> list[str]:
    """The period of each row, a day or a month like those of the batches that are there; none without a time."""
    if table.time is None:
        return []
    is_by_day = any(len(batches.base(each)) > len("2024-01") for each in recorded)
    names: list[str] = periods(rows, table.time, timezone, "%Y-%m-%d" if is_by_day else "%Y-%m").to_pylist()
    return names


def _cut(rows: pa.Table, batch: str, table: Table, timezone: str, recorded: Mapping[str, Entry]) -> dict[str, pa.Table]:
    """The rows by batch: one delivery, or by the period of the table's batches, with a number where there is one."""
    if not len(rows):
        return {}
    if table.time is None:
        return {batch: rows}
    names = _periods(rows, table, timezone, recorded)
    cut = {}
    for period in sorted(set(names)):
        taken = sum(batches.base(each) == period for each in recorded)
        inside = pa.array([each == period for each in names])
        cut[f"{period}.{taken + 1}" if taken else period] = rows.filter(inside)
    return cut
