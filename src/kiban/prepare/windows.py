"""The windows of an expression of features, by which a large batch is computed: one query for the columns of each.

Eight windows in one query need eight times the memory. An engine leaves out the columns that a query does not ask for,
with their windows; so a query for the key and some columns gives the same values as the query for all of them, whatever
the expression is. Each query looks back as far as all do: how far the rows of a window lie before their batch is in the
values, and not in the expression.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
from ibis.backends import BaseBackend

from kiban.data import ordering, parquet, pieces
from kiban.data.contract import Table
from kiban.prepare import engine


def in_cuts(session: BaseBackend, features: ir.Table, contract: Table, where: str, scratch: Path) -> Iterator[pa.Table]:
    """The rows of the features in the contract's schema, sorted by key, in pieces, from a query for each cut.

    The rows of each cut are kept in the folder `scratch`. Raises KibanError, which starts with `where`, if they cannot
    be computed or do not fit the contract.
    """
    key, what = contract.key, f"{where}: the features"
    parts: list[Path] = []
    has_key = set(key) <= set(features.columns)
    for columns in cuts(features) if has_key else []:
        names = [*key, *(name for name in columns if name not in key)]
        part = scratch / f"{len(parts)}.parquet"
        cut = features.select(names).order_by(key)
        pieces.write(engine.rows(session, cut, what), cut.schema().to_pyarrow(), part)
        parts.append(part)
        if len(parts) == 1 and not _is_key(part, key):
            print(f"{where}: rows with the same key, so that all windows are computed in one query", file=sys.stderr)
            has_key = False
            break
    if not has_key:
        yield from ordering.conformed(engine.rows(session, features, what), contract, where, scratch)
        return
    before = 0
    for first, *others in zip(*map(pieces.read, parts), strict=True):
        rows = first
        for other in others:
            for name in set(other.column_names) - set(key):
                rows = rows.append_column(name, other[name])
        yield parquet.fitted(rows, contract, where, before)
        before += rows.num_rows


def _is_key(part: Path, key: Sequence[str]) -> bool:
    """Whether the values of the key differ from row to row of a file that is sorted by them, and none is null."""
    last: pa.Table | None = None
    for rows in pieces.read(part, key):
        if any(rows[name].null_count for name in key):
            return False
        joined = rows if last is None else pa.concat_tables([last, rows])
        above, below = joined.slice(0, joined.num_rows - 1), joined.slice(1)
        equal = [pc.equal(above[name], below[name]) for name in key]
        if pc.any(reduce(pc.and_, equal)).as_py():
            return False
        last = joined.slice(joined.num_rows - 1)
    return True


def cuts(features: ir.Table) -> list[list[str]]:
    """The columns of the features by the windows that they need: first those that need none.

    All columns are in one cut if a window decides which rows there are.
    """
    relation = features.op()
    if any(_windows(value) for value in _deciding(relation)):
        return [list(features.columns)]
    by_windows: dict[frozenset[ops.Node], list[str]] = {frozenset(): []}
    for name in features.columns:
        by_windows.setdefault(_windows(ops.Field(relation, name)), []).append(name)
    return list(by_windows.values())


def _windows(value: ops.Value) -> frozenset[ops.Node]:
    """The windows that a value is computed from, also in the relations below.

    A sum and a count over the same rows are one window.
    """
    windows: set[ops.Node] = set()
    seen: set[ops.Node] = set()
    waiting: list[ops.Node] = [value]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, ops.WindowFunction):
            windows.add(node.copy(func=ops.RowNumber()))
        if isinstance(node, ops.Field):
            waiting += _sources(node)
        waiting += [child for child in node.__children__ if not isinstance(child, ops.Relation)]
    return frozenset(windows)


def _sources(field: ops.Field) -> Iterator[ops.Value]:
    """The values of the relations below that a column is."""
    relation, name = field.rel, field.name
    if isinstance(relation, ops.Set):
        yield from (ops.Field(side, name) for side in (relation.left, relation.right))
    elif relation.values.get(name, field) != field:
        yield relation.values[name]


def _deciding(relation: ops.Relation) -> Iterator[ops.Value]:
    """The values that decide which rows there are, such as those of filters, of joins and of groups."""
    for node in relation.find(ops.Relation):
        chosen = set(node.values.values()) if isinstance(node, ops.Project | ops.JoinChain) else set()
        values = [child for child in node.__children__ if isinstance(child, ops.Value) and child not in chosen]
        links = node.rest if isinstance(node, ops.JoinChain) else ()
        yield from (*values, *(predicate for link in links for predicate in link.predicates))
