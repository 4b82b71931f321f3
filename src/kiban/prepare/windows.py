"""The windows of an expression of features, by which a large batch is computed: one query for the columns of each.

Eight windows in one query need eight times the memory. An engine leaves out the columns that a query does not ask for,
with their windows; so a query for the key and some columns gives the same values as the query for all of them, whatever
the expression is. Each query looks back as far as all do: how far the rows of a window lie before their batch is in the
values, and not in the expression.
"""

from collections.abc import Iterator

import ibis.expr.operations as ops
import ibis.expr.types as ir


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
