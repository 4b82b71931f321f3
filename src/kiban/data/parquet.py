"""The contract's Arrow schema, and Parquet files: the same rows are always written as the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kiban.core import files
from kiban.core.errors import KibanError, one_line
from kiban.data import rules
from kiban.data.contract import Column, Table

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}


def schema(contract: Table) -> pa.Schema:
    """The Arrow schema of a table. Every field is nullable here; validation checks the columns that may not be null."""
    return pa.schema([(name, ARROW_TYPES[column.type]) for name, column in contract.columns.items()])


def with_nulls(rows: pa.Table, texts: Sequence[str]) -> pa.Table:
    """The rows with null in the place of each text that is one of `texts`."""
    for index, field in enumerate(rows.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            values = rows.column(index).cast(pa.string())
            is_null = pc.is_in(values, pa.array(texts, pa.string()))
            if pc.any(is_null).as_py():
                rows = rows.set_column(index, field.name, pc.if_else(is_null, None, values))
    return rows


def conform(rows: pa.Table, contract: Table, where: str) -> pa.Table:
    """`rows` in the contract's schema and order of columns, sorted by key, without metadata. Empty text becomes null.

    Raises KibanError, which starts with `where`, if a column is missing, duplicated or not in the contract, or if a
    value cannot be converted to the type of its column without loss.
    """
    missing = [name for name in contract.columns if name not in rows.column_names]
    extra = [name for name in rows.column_names if name not in contract.columns]
    twice = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if twice:
        raise KibanError(f"{where}: column {twice[0]!r} occurs twice; correct the source")
    if missing or extra:
        parts = [f"column {name!r} is missing" for name in missing]
        parts += [f"column {name!r} is not in the contract" for name in extra]
        raise KibanError(f"{where}: {', '.join(parts)}; correct the source, or the contract")
    rows = with_nulls(rows, [""])
    columns = [_cast(rows[name], name, column, where) for name, column in contract.columns.items()]
    table = pa.table(columns, schema=schema(contract))
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in contract.key])
    return table.take(order).combine_chunks()


def _cast(values: pa.ChunkedArray, name: str, column: Column, where: str) -> pa.ChunkedArray:
    target = ARROW_TYPES[column.type]
    if pa.types.is_timestamp(values.type) and values.type.tz is None:
        raise KibanError(f"{where}: column {name!r} has times without a time zone; the contract's timestamps are UTC")
    try:
        if not rules.converts(values.type, column.type):
            raise pa.ArrowNotImplementedError
        if pa.types.is_decimal(values.type) and column.type == "number":  # Arrow is exact from text only
            values = values.cast(pa.string())
        typed = values.cast(target)
        if pa.types.is_integer(values.type) and column.type == "boolean" and not typed.cast(values.type).equals(values):
            raise pa.ArrowInvalid
        # NaN means a missing value: a CSV file may contain NaN where a database has null.
        return pc.if_else(pc.is_nan(typed), pa.scalar(None, target), typed) if column.type == "number" else typed
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row, value = _first_misfit(values, target)
        raise KibanError(f"{where}: column {name!r}, row {row}: {value!r} is not of type {column.type}") from None


def _first_misfit(values: pa.ChunkedArray, target: pa.DataType) -> tuple[int, object]:
    """The row, counted from 1, and the value of the first of `values` that cannot be cast to `target`."""
    for row, value in enumerate(values, start=1):
        try:
            value.cast(target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row, value.as_py()
    return 1, f"<{values.type}>"


def write(rows: pa.Table, path: Path) -> None:
    """Write `rows` to `path`, whole or not at all. All options that change the bytes are fixed here."""
    with files.whole(path) as part:
        pq.write_table(rows, part, compression="zstd", compression_level=3, version="2.6", row_group_size=1 << 20)


def read(path: Path) -> pa.Table:
    """The rows of the Parquet file at `path`. Raises KibanError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return read_open(file)
    except FileNotFoundError:
        raise KibanError(f"{path} is missing: run `dvc repro`") from None
    except OSError as error:
        raise KibanError(f"{path} cannot be read: {one_line(error)}") from None


def read_version(path: Path, sha256: str) -> pa.Table | None:
    """The rows of the Parquet file at `path` if its bytes have this SHA-256, None if not, or if there is no file.

    Raises KibanError if it cannot be read.
    """
    if not path.is_file():
        return None
    with files.hashed(path) as (file, digest):
        return read_open(file) if digest == sha256 else None


def read_open(file: BinaryIO) -> pa.Table:
    """The rows of an open Parquet file. Raises KibanError if it is not one."""
    path = file.name
    try:
        return pq.read_table(file, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        reason = one_line(error)
        raise KibanError(f"{path} is not a whole Parquet file ({reason}): restore it with `dvc checkout`") from None
