"""Checking rows by the endpoint's schema: the rows that it accepts, with types, and why it rejects the others.

Whole columns are checked first. Only rows that fail there are checked one by one by the endpoint's schema, which
decides and gives the reason.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data import parquet, rules
from kiban.data.contract import Column
from kiban.data.parquet import ARROW_TYPES
from kiban.request.refusal import RefusedError, sentence
from kiban.request.schema import Schema, accepted_range, from_text
from kiban.servable.columns import TIMES, moment

NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"  # RFC 8259, section 6


class Checked(NamedTuple):
    """The result of checking n rows.

    `rows` are the accepted rows, with the features in the contract's types. `accepted` has for each of the n rows
    whether it is accepted. `rejected` has the reasons by the index of the row. `unusual` counts the values that the
    contract warns about, by feature.
    """

    rows: pa.Table
    accepted: pa.Array
    rejected: dict[int, str]
    unusual: Counter[str]


def check_columns(columns: pa.Schema, features: Mapping[str, Column], is_text: bool, where: str) -> None:
    """Raise KibanError if a required feature has no column, or if a column has a type that does not fit its feature."""
    for name, column in features.items():
        if name not in columns.names:
            if not column.nullable:
                names = ", ".join(columns.names[:5]) + (", …" if len(columns.names) > 5 else "")
                raise KibanError(f"{where} has no column {name!r}, which the model requires; it has {names}")
        elif not is_text and not _is_fit(columns.field(name).type, column):
            kind = columns.field(name).type
            raise KibanError(f"{where}: column {name!r} is of type {kind}, but the model needs {column.type}")
        elif not is_text and column.type == "timestamp" and not _has_zone(columns.field(name).type, column):
            raise KibanError(f"{where}: column {name!r} has times without a time zone, but the model needs UTC")


def _is_fit(kind: pa.DataType, column: Column) -> bool:
    """Whether a column of Parquet may have the values of a feature: as they are, or as text that the contract reads."""
    return rules.is_of(kind, column.type) or (rules.is_text(kind) and column.written is not None)


def _has_zone(kind: pa.DataType, column: Column) -> bool:
    has_own = rules.is_text(kind) or getattr(kind, "tz", None) is not None or pa.types.is_null(kind)
    return has_own or (column.written is not None and column.written.timezone is not None)


def check(rows: pa.Table, schema: Schema, is_text: bool) -> Checked:
    """Check rows whose columns have passed check_columns. Columns that the model does not know are ignored."""
    cells_by_name = {
        name: parquet.nulled(rows[name].combine_chunks(), column.written.missing if column.written else [])
        for name, column in schema.features.items()
        if name in rows.column_names
    }
    values = {name: pa.nulls(rows.num_rows, _type(column)) for name, column in schema.features.items()}
    passes = pa.array([True] * rows.num_rows, pa.bool_())
    for name, cells in cells_by_name.items():
        column = schema.features[name]
        of_text = is_text or (rules.is_text(cells.type) and column.written is not None)
        read, _ = parquet.canonical(cells, column) if of_text else (parquet.localized(cells, column, name), {})
        values[name] = _values(read, column, of_text)
        passes = pc.and_(passes, _passes(values[name], cells, schema.features[name]))
    doubtful = pc.indices_nonzero(pc.invert(passes))
    rejected: dict[int, str] = {}
    # Text is checked as it is, by the endpoint's reader; typed cells as converted values, because JSON has no decimals.
    records = pa.table(cells_by_name if is_text else values).take(doubtful).to_pylist()
    cleared: dict[int, Mapping[str, Any]] = {}  # doubtful rows that the schema accepts
    for index, record in zip(doubtful.to_pylist(), records, strict=True):
        try:
            (cleared[index],) = schema.check([_record(record, schema, is_text)])
        except RefusedError as error:
            rejected[index] = sentence(error)
    if cleared:
        mask = pa.array([index in cleared for index in range(rows.num_rows)])
        for name, column in schema.features.items():
            cleared_values = pa.array(
                [_value(cleared[index][name], column) for index in sorted(cleared)], _type(column)
            )
            values[name] = pc.replace_with_mask(values[name], mask, cleared_values)
        passes = pc.or_(passes, mask)
    kinds = {name: ARROW_TYPES[column.type] for name, column in schema.features.items()}
    accepted = pa.table({name: values[name].filter(passes).cast(kind) for name, kind in kinds.items()})
    unusual = Counter(
        {
            name: pc.sum(rules.breaks(accepted[name], column, "warn")).as_py() or 0
            for name, column in schema.features.items()
        }
    )
    return Checked(accepted, passes, rejected, +unusual)


def keys(rows: pa.Table, columns: Mapping[str, Column], is_text: bool) -> list[dict[str, Any]]:
    """The keys that each row has, of those in `columns`. What is no value of its type is left out."""
    read: dict[str, list[Any]] = {}
    for name, column in columns.items():
        if name in rows.column_names:
            cells = parquet.nulled(rows[name].combine_chunks(), column.written.missing if column.written else [])
            of_text = is_text or (rules.is_text(cells.type) and column.written is not None)
            canonical, _ = parquet.canonical(cells, column) if of_text else (parquet.localized(cells, column, name), {})
            is_written = of_text or rules.is_text(cells.type)
            read[name] = (
                _whole(canonical) if column.type == "integer" else _values(canonical, column, is_written).to_pylist()
            )
    filled = zip(*read.values(), strict=True) if read else ([] for _ in range(rows.num_rows))
    return [{name: value for name, value in zip(read, each, strict=True) if value is not None} for each in filled]


def _whole(cells: pa.Array) -> list[int | None]:
    """Whole numbers, of any number of digits that fits, and null for what is none."""
    if pa.types.is_floating(cells.type):
        return [int(value) if value is not None and float(value).is_integer() else None for value in cells.to_pylist()]
    if rules.is_text(cells.type):
        cells = pc.if_else(pc.match_substring_regex(cells, r"^-?[0-9]{1,18}$"), cells, None)
    whole: list[int | None] = cells.cast(pa.int64()).to_pylist()
    return whole


def _type(column: Column) -> pa.DataType:
    """The type in which values are checked. An integer is checked as a float, because 1020.0 is an integer too."""
    return pa.float64() if column.type in ("integer", "number") else ARROW_TYPES[column.type]


def _values(cells: pa.Array, column: Column, is_text: bool) -> pa.Array:
    """The values of a feature, with null for an empty cell and for text that is not a value of its type."""
    if not is_text or column.type == "string":
        if pa.types.is_decimal(cells.type):  # Arrow is exact from text only
            cells = cells.cast(pa.string())
        return cells.cast(_type(column), safe=False)
    if column.type in TIMES:
        return pa.array([_moment(text, column) for text in cells.to_pylist()], _type(column))
    if column.type == "boolean":
        is_boolean = pc.is_in(cells, pa.array(["true", "false"]))
        return pc.if_else(is_boolean, pc.equal(cells, "true"), None)
    is_number = pc.match_substring_regex(cells, NUMBER)
    return pc.if_else(is_number, cells, None).cast(pa.float64())


def _moment(text: str | None, column: Column) -> Any:
    try:
        return None if text is None else moment(text, column)
    except ValueError:
        return None


def _value(value: Any, column: Column) -> Any:
    return moment(value, column) if column.type in TIMES and value is not None else value


def _passes(values: pa.Array, cells: pa.Array, column: Column) -> pa.Array:
    """For each of the values, read from `cells`, whether the schema surely accepts it: its type fits, and no rule
    rejects it."""
    fits = pc.is_valid(values)
    if column.type in ("integer", "number"):
        low, high = accepted_range(column)  # also the limits of JSON and of the model's precision
        fits = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))  # false for NaN
        if column.type == "integer":
            fits = pc.and_(fits, pc.equal(pc.floor(values), values))
    fits = pc.or_(fits.fill_null(False), cells.is_null())
    return pc.and_(fits, pc.invert(rules.breaks(values, column, "reject")))


def _record(record: Mapping[str, Any], schema: Schema, is_text: bool) -> dict[str, Any]:
    """A row as /invocations reads it, without its empty cells."""
    filled = {name: value for name, value in record.items() if value is not None}
    return {name: from_text(value, schema.features[name]) for name, value in filled.items()} if is_text else filled
