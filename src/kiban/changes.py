"""What differs between two versions of a batch, row by row."""

from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from pydantic import BaseModel

EXAMPLES = 5
NUMBER = "_number_within_key"
NEW = "_new"


class Difference(BaseModel):
    """A row that both versions have: its key, and [old, new] of each column that differs."""

    key: dict[str, Any]
    values: dict[str, tuple[Any, Any]]


class Rows(BaseModel):
    """Numbers of rows added, removed and changed, and the first few of each by key."""

    added: int
    removed: int
    changed: int
    added_keys: list[dict[str, Any]]
    removed_keys: list[dict[str, Any]]
    differences: list[Difference]


def by_rows(old: pa.Table, new: pa.Table, key: list[str]) -> Rows:
    """What `new` has that `old` has not, and the other way round; a key in both is a changed row.

    Both have the same columns. Where a key occurs more than once, its rows are paired in the order of their values.
    """
    before, after = ibis.memtable(old), ibis.memtable(new)
    gone = _numbered(before.difference(after, distinct=False), key)
    come = _numbered(after.difference(before, distinct=False), key)
    pair = [*key, NUMBER]
    removed, added = gone.anti_join(come, pair), come.anti_join(gone, pair)
    changed = gone.inner_join(come, pair, rname=f"{{name}}{NEW}")
    values = [name for name in old.column_names if name not in key]
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
    found: list[dict[str, Any]] = rows.order_by(key).limit(EXAMPLES).to_pyarrow().to_pylist()
    return found


def _difference(row: dict[str, Any], key: list[str], values: list[str]) -> Difference:
    pairs = {name: (row[name], row[f"{name}{NEW}"]) for name in values}
    return Difference(
        key={name: row[name] for name in key},
        values={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
    )
