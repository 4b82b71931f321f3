"""The differences between two versions of the data: batches, rows and columns."""

from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from pydantic import BaseModel

from kiban.data.contract import ROW_HASH, Column, Table
from kiban.data.distance import between as between_values
from kiban.data.distance import spread, values_of
from kiban.data.parquet import as_now
from kiban.review.revision import Revision

EXAMPLES = 5
TOP_LEVELS = 5
NUMBER = "_number_within_key"
NEW = " (new)"


class Difference(BaseModel):
    """A row that is in both versions: its key, and the pair [old, new] of each column that differs."""

    key: dict[str, Any]
    values: dict[str, tuple[Any, Any]]


class Rows(BaseModel):
    """The numbers of rows added, removed and changed, and the first few of each, by key."""

    added: int
    removed: int
    changed: int
    added_keys: list[dict[str, Any]]
    removed_keys: list[dict[str, Any]]
    differences: list[Difference]

    def in_words(self) -> str:
        """The numbers as text, such as `2 rows added, 0 removed, 1 changed`."""
        return f"{self.added:,} rows added, {self.removed:,} removed, {self.changed:,} changed"


def by_rows(old: pa.Table, new: pa.Table, key: list[str]) -> Rows:
    """The rows of `new` that are not in `old`, and the reverse. Differing rows with the same key are one changed row.

    Columns that are not in both tables with the same type are not compared. If a column of the key is among them, all
    rows count as removed and added. If a key occurs more than once, its rows are paired in the order of their values.
    """
    types = {field.name: field.type for field in new.schema}
    common = [field.name for field in old.schema if types.get(field.name) == field.type]
    if not set(key) <= set(common):
        return Rows(added=len(new), removed=len(old), changed=0, added_keys=[], removed_keys=[], differences=[])
    before, after = ibis.memtable(old.select(common)), ibis.memtable(new.select(common))
    old_only = _numbered(before.difference(after, distinct=False), key)
    new_only = _numbered(after.difference(before, distinct=False), key)
    pair = [*key, NUMBER]
    removed, added = old_only.anti_join(new_only, pair), new_only.anti_join(old_only, pair)
    changed = old_only.inner_join(new_only, pair, rname=f"{{name}}{NEW}")
    values = [name for name in common if name not in key]
    return Rows(
        added=added.count().execute(),
        removed=removed.count().execute(),
        changed=changed.count().execute(),
        added_keys=_first(added.select(key), key),
        removed_keys=_first(removed.select(key), key),
        differences=[_difference(row, key, values) for row in _first(changed, key)],
    )


def _numbered(rows: ir.Table, key: list[str]) -> ir.Table:
    window = ibis.window(group_by=key, order_by=[name for name in rows.columns if name not in key])
    return rows.mutate(**{NUMBER: ibis.row_number().over(window)})


def _first(rows: ir.Table, key: list[str]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = rows.order_by(key).limit(EXAMPLES).to_pyarrow().to_pylist()
    return records


def _difference(row: dict[str, Any], key: list[str], values: list[str]) -> Difference:
    pairs = {name: (row[name], row[f"{name}{NEW}"]) for name in values}
    return Difference(
        key={name: row[name] for name in key},
        values={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
    )


class Summary(BaseModel):
    """A summary of one column: the share of nulls, the mean of numbers (for booleans the share of true values), the
    first and the last of times, and the shares of the most frequent strings."""

    null_share: float
    mean: float | None = None
    first: str | None = None
    last: str | None = None
    levels: dict[str, float] = {}

    def in_words(self) -> list[str]:
        """The summary as a few short lines."""
        lines = [f"null {self.null_share:.1%}"] if self.null_share else []
        if self.mean is not None:
            lines.append(f"mean {self.mean:g}")
        if self.first is not None:
            lines.append(f"{self.first} to {self.last}")
        if self.levels:
            lines.append(", ".join(f"{level} {share:.1%}" for level, share in self.levels.items()))
        return lines


def summarize(rows: pa.Table, columns: Mapping[str, Column]) -> dict[str, Summary]:
    """The summary of each column of `rows`, rounded for display: shares to three decimals, means to four digits."""
    table = ibis.memtable(rows)
    figures = {}
    for name, column in columns.items():
        values = table[name]
        figures[f"{name}:null_share"] = values.isnull().mean()
        if column.type in ("integer", "number", "boolean"):
            figures[f"{name}:mean"] = values.cast("float64").mean()
        elif column.type in ("timestamp", "date"):
            figures[f"{name}:first"], figures[f"{name}:last"] = values.min(), values.max()
    values = table.aggregate(**figures).to_pyarrow().to_pylist()[0]
    return {
        name: Summary(
            null_share=round(values[f"{name}:null_share"] or 0, 3),
            mean=_four_digits(values.get(f"{name}:mean")),
            first=_text(values.get(f"{name}:first")),
            last=_text(values.get(f"{name}:last")),
            levels=_levels(table, name) if column.type == "string" else {},
        )
        for name, column in columns.items()
    }


def _levels(table: ir.Table, name: str) -> dict[str, float]:
    counts = table.filter(table[name].notnull()).group_by(name).aggregate(rows=lambda group: group.count())
    top = counts.order_by([ibis.desc("rows"), name]).limit(TOP_LEVELS).to_pyarrow().to_pylist()
    total = table.count().execute()
    return {level[name]: round(level["rows"] / total, 3) for level in top}


def _four_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")


class Moved(BaseModel):
    """A column whose rounded summaries differ. `effect` is about the share of rows that would have to change, or 0 for
    times."""

    before: Summary
    after: Summary
    effect: float


class TableChanges(BaseModel):
    """The changes in one table.

    `rows` has the numbers of rows [old, new]. `added` and `removed` name batches; `changed` has the changed rows by
    batch. `columns` has the types [old, new] of each column that differs between the contracts. `moved` has each other
    column that moved, the largest effect first: from the old rows to those of the batches that were added, or to all
    new rows if none was. Without a key rows are known by the hash of their values.
    """

    rows: tuple[int, int]
    added: list[str]
    removed: list[str]
    changed: dict[str, Rows]
    columns: dict[str, tuple[str | None, str | None]]
    moved: dict[str, Moved]
    has_key: bool


def between(old: Revision, new: Revision) -> dict[str, TableChanges]:
    """The changes from `old` to `new`, by table, without tables that are unchanged.

    Raises KibanError if the rows of a batch cannot be read.
    """
    names = sorted(old.contracts.keys() | new.contracts.keys())
    return {name: changes for name in names if (changes := _in_table(name, old, new)) is not None}


def _in_table(name: str, old: Revision, new: Revision) -> TableChanges | None:
    sides = (old, new)
    before, after = (side.batches.get(name, {}) for side in sides)
    changed = [batch for batch in sorted(before.keys() & after.keys()) if before[batch].sha256 != after[batch].sha256]
    types = [_types(side.contracts.get(name)) for side in sides]
    columns = {
        column: (types[0].get(column), types[1].get(column))
        for column in sorted(types[0].keys() | types[1].keys())
        if types[0].get(column) != types[1].get(column)
    }
    if before.keys() == after.keys() and not changed and not columns:
        return None
    unchanged = {
        column: type
        for column, type in _columns(new.contracts.get(name)).items()
        if column not in columns and column != ROW_HASH
    }
    rows_of = [{batch: _rows(side, name, batch) for batch in side.batches.get(name, {})} for side in sides]
    key = (new.contracts.get(name) or old.contracts[name]).key
    added = sorted(after.keys() - before.keys())
    compared = [rows_of[0], {batch: rows_of[1][batch] for batch in added} if before and added else rows_of[1]]
    return TableChanges(
        rows=(sum(batch.rows for batch in before.values()), sum(batch.rows for batch in after.values())),
        added=added,
        removed=sorted(before.keys() - after.keys()),
        changed={batch: by_rows(rows_of[0][batch], rows_of[1][batch], key) for batch in changed},
        columns=columns,
        moved=_moved(list(compared[0].values()), list(compared[1].values()), unchanged),
        has_key=key != [ROW_HASH],
    )


def _rows(side: Revision, table: str, batch: str) -> pa.Table:
    """The rows of a batch, in the layout that the contract of the version has now."""
    rows, contract = side.rows(side.batches[table][batch]), side.contracts.get(table)
    return rows if contract is None else as_now(rows, contract, batch, f"{table} {batch}")


def _columns(contract: Table | None) -> Mapping[str, Column]:
    return contract.columns if contract else {}


def _types(contract: Table | None) -> dict[str, str]:
    return {name: column.type for name, column in _columns(contract).items()}


def _moved(old: list[pa.Table], new: list[pa.Table], columns: Mapping[str, Column]) -> dict[str, Moved]:
    if not old or not new or not columns:
        return {}
    before, after = (pa.concat_tables([part.select(list(columns)) for part in parts]) for parts in (old, new))
    summaries = summarize(before, columns), summarize(after, columns)
    moved = {
        name: Moved(before=summaries[0][name], after=summaries[1][name], effect=_effect(before[name], after[name]))
        for name in columns
        if summaries[0][name] != summaries[1][name]
    }
    return dict(sorted(moved.items(), key=lambda item: (-item[1].effect, item[0])))


def _effect(before: pa.ChunkedArray, after: pa.ChunkedArray) -> float:
    if pa.types.is_temporal(before.type):
        return 0.0
    sides = values_of(before), values_of(after)
    distance = between_values(*sides) or 0.0
    return round(max(abs(sides[0].nulls - sides[1].nulls), distance / spread(sides)), 3)
