"""Rows as the endpoint's schema sees them: those that it accepts, typed, and why it refuses the others.

Columns are checked at once, and only the rows that do not pass one by one, by the endpoint's own schema: it has the
last word, and the words.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data import rules
from kiban.data.contract import Column
from kiban.data.parquet import ARROW_TYPES
from kiban.request.refusal import RefusedError, sentence
from kiban.request.schema import Schema, accepted_range, from_text

NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"  # RFC 8259, section 6


class Checked(NamedTuple):
    """`rows` has the features in the contract's types, `accepted` where its rows were; `rejected` says why, by place.

    `unusual` counts the values that the contract warns of, by feature.
    """

    rows: pa.Table
    accepted: pa.Array
    rejected: dict[int, str]
    unusual: Counter[str]


def check_columns(columns: pa.Schema, features: Mapping[str, Column], is_text: bool, where: str) -> None:
    """Raise KibanError if a feature that must be there has no column, or one of a type that none of its values has."""
    for name, column in features.items():
        if name not in columns.names:
            if not column.nullable:
                names = ", ".join(columns.names[:5]) + (", …" if len(columns.names) > 5 else "")
                raise KibanError(f"{where} has no column {name!r}, which the model requires; it has {names}")
        elif not is_text and not rules.is_of(columns.field(name).type, column.type):
            kind = columns.field(name).type
            raise KibanError(f"{where}: column {name!r} is of type {kind}, the model wants {column.type}")


def check(rows: pa.Table, schema: Schema, is_text: bool) -> Checked:
    """Check rows that have passed check_columns; a column that the model does not know is no concern of it."""
    given = {name: rows[name].combine_chunks() for name in schema.features if name in rows.column_names}
    values = {name: pa.nulls(rows.num_rows, _type(column)) for name, column in schema.features.items()}
    passes = pa.array([True] * rows.num_rows, pa.bool_())
    for name, cells in given.items():
        values[name] = _values(cells, schema.features[name], is_text)
        passes = pc.and_(passes, _passes(values[name], cells, schema.features[name]))
    doubtful = pc.indices_nonzero(pc.invert(passes))
    rejected: dict[int, str] = {}
    # Text as it is, for the endpoint's reader; typed values as they were read, for a decimal is none of JSON's.
    records = pa.table(given if is_text else values).take(doubtful).to_pylist()
    late: dict[int, Mapping[str, Any]] = {}
    for place, record in zip(doubtful.to_pylist(), records, strict=True):
        try:
            (late[place],) = schema.check([_record(record, schema, is_text)])
        except RefusedError as error:
            rejected[place] = sentence(error)
    if late:
        at = pa.array([place in late for place in range(rows.num_rows)])
        for name, column in schema.features.items():
            read = pa.array([late[place][name] for place in sorted(late)], _type(column))
            values[name] = pc.replace_with_mask(values[name], at, read)
        passes = pc.or_(passes, at)
    kinds = {name: ARROW_TYPES[column.type] for name, column in schema.features.items()}
    accepted = pa.table({name: values[name].filter(passes).cast(kind) for name, kind in kinds.items()})
    unusual = Counter(
        {
            name: pc.sum(rules.breaks(accepted[name], column, "warn")).as_py() or 0
            for name, column in schema.features.items()
        }
    )
    return Checked(accepted, passes, rejected, +unusual)


def _type(column: Column) -> pa.DataType:
    """What values are checked as: an integer as a number, for 1020.0 is one."""
    return {"string": pa.string(), "boolean": pa.bool_()}.get(column.type, pa.float64())


def _values(cells: pa.Array, column: Column, is_text: bool) -> pa.Array:
    """The values of a feature, null where there is none and where the text is none of the type."""
    if not is_text or column.type == "string":
        if pa.types.is_decimal(cells.type):  # Arrow is exact from text only
            cells = cells.cast(pa.string())
        return cells.cast(_type(column), safe=False)
    if column.type == "boolean":
        is_boolean = pc.is_in(cells, pa.array(["true", "false"]))
        return pc.if_else(is_boolean, pc.equal(cells, "true"), None)
    is_number = pc.match_substring_regex(cells, NUMBER)
    return pc.if_else(is_number, cells, None).cast(pa.float64())


def _passes(values: pa.Array, cells: pa.Array, column: Column) -> pa.Array:
    """Which of the values, read of `cells`, the schema accepts for sure: of the type, and no rule rejects them."""
    fits = pc.is_valid(values)
    if column.type in ("integer", "number"):
        low, high = accepted_range(column)  # which has limits of JSON and of the model's precision too
        fits = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))  # false of NaN
        if column.type == "integer":
            fits = pc.and_(fits, pc.equal(pc.floor(values), values))
    fits = pc.or_(fits.fill_null(False), cells.is_null())
    return pc.and_(fits, pc.invert(rules.breaks(values, column, "reject")))


def _record(record: Mapping[str, Any], schema: Schema, is_text: bool) -> dict[str, Any]:
    """A row as /invocations reads it: what is empty is absent."""
    given = {name: value for name, value in record.items() if value is not None}
    return {name: from_text(value, schema.features[name]) for name, value in given.items()} if is_text else given
