"""The contract's Arrow schema, and Parquet files: the same rows are always written as the same bytes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kiban.core import files
from kiban.core.errors import KibanError, one_line
from kiban.core.text import plain
from kiban.data import rules
from kiban.data.contract import ROW_HASH, Column, Table, Type
from kiban.data.row_hash import NOTHING, with_hash
from kiban.data.written import MisreadError

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


def check_types(rows: pa.Table, contract: Table, where: str) -> None:
    """Raise KibanError, which starts with `where`, if a column is of another type than the contract says.

    Integers do for numbers. Columns that are missing, or not in the contract, are not considered.
    """
    for field in rows.schema:
        if field.name not in contract.columns:
            continue
        wanted = contract.columns[field.name].type
        if field.type != ARROW_TYPES[wanted] and not (wanted == "number" and pa.types.is_integer(field.type)):
            raise KibanError(
                f"{where}: column {field.name} is of type {field.type}, and {wanted} in the contract: take the batch "
                "again (`kiban ingest --refresh BATCH`), or correct the contract"
            )


def with_nulls(rows: pa.Table, texts: Sequence[str]) -> pa.Table:
    """The rows with null in the place of NaN, and of each text that is one of `texts`."""
    columns = [nulled(column, texts) for column in rows.columns]
    return pa.table(columns, names=rows.column_names)


def nulled(values: rules.Values, texts: Sequence[str]) -> rules.Values:
    """An array or a column with null in the place of NaN, and of each text that is one of `texts`."""
    if rules.is_text(values.type):
        values = values.cast(pa.string())
        is_null = pc.is_in(values, pa.array(texts, pa.string()))
    elif pa.types.is_floating(values.type):
        values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
        is_null = pc.is_nan(values)
    else:
        return values
    return pc.if_else(is_null, pa.scalar(None, values.type), values) if pc.any(is_null).as_py() else values


def conform(rows: pa.Table, contract: Table, where: str, earlier: Mapping[str, int] = NOTHING) -> pa.Table:
    """`rows` in the contract's schema and order of columns, sorted by key, without metadata. Empty text becomes null.

    Rows without their key get it, if the contract says so; `earlier` are the numbers of rows by hash (row_hash.py).

    Raises KibanError, which starts with `where`, if a column is missing, duplicated or not in the contract, or if a
    value cannot be converted to the type of its column without loss.
    """
    return ordered(fitted(rows, contract, where), contract, earlier)


def ordered(table: pa.Table, contract: Table, earlier: Mapping[str, int] = NOTHING) -> pa.Table:
    """What `fitted` gives as `conform` does: sorted by key, which rows without one get."""
    if table.column_names != list(contract.columns):
        table = with_hash(table, contract, earlier).select(list(contract.columns))
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in contract.key])
    return table.take(order).combine_chunks()


def fitted(rows: pa.Table, contract: Table, where: str, before: int = 0) -> pa.Table:
    """`rows` as `conform` gives them, in their own order, and without the key if they get it by their hash.

    `before` is the number of rows before these. Raises KibanError like `conform`.
    """
    columns = dict(contract.columns)
    if contract.key == [ROW_HASH] and ROW_HASH not in rows.column_names:
        del columns[ROW_HASH]
    missing = [name for name in columns if name not in rows.column_names]
    extra = [name for name in rows.column_names if name not in columns]
    twice = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if twice:
        raise KibanError(f"{where}: column {twice[0]!r} occurs twice; correct the source")
    if missing or extra:
        parts = [f"column {name!r} is missing" for name in missing]
        parts += [f"column {name!r} is not in the contract" for name in extra]
        raise KibanError(f"{where}: {', '.join(parts)}; correct the source, or the contract")
    kept = contract.model_copy(update={"columns": columns})
    return typed(rows, kept, where, before).cast(schema(kept))


def typed(rows: pa.Table, contract: Table, where: str, before: int = 0) -> pa.Table:
    """The contract's columns of `rows` in its types, in the order of the rows. Empty text becomes null.

    `before` is the number of rows before these, from which messages count.
    Raises KibanError, which starts with `where`, if a value cannot be converted without loss.
    """
    rows = with_nulls(rows, [""])
    return pa.table({name: _cast(rows[name], name, column, where, before) for name, column in contract.columns.items()})


def as_now(rows: pa.Table, contract: Table, batch: str, where: str) -> pa.Table:
    """The rows of a snapshot of a batch with the contract's present columns: renamed, widened, or null throughout.

    Raises KibanError, which starts with `where`, if a value does not fit the present type of its column.
    """
    if contract.at(batch) is contract:
        return rows
    columns = {}
    for name, column in contract.columns.items():
        then = column.at(batch, name)
        if then is None:
            columns[name] = pa.chunked_array([pa.nulls(rows.num_rows, ARROW_TYPES[column.type])])
        elif then[0] in rows.column_names:
            old = rows[then[0]]
            widened = column.model_copy(update={"written": None})
            columns[name] = old if old.type == ARROW_TYPES[column.type] else _cast(old, name, widened, where)
    return pa.table(columns)


def _cast(values: pa.ChunkedArray, name: str, column: Column, where: str, before: int = 0) -> pa.ChunkedArray:
    values = localized(values, column, f"{where}: column {name!r}", before)
    if pa.types.is_timestamp(values.type) and values.type.tz is None:
        raise KibanError(f"{where}: column {name!r} has times without a time zone; the contract's timestamps are UTC")
    if column.written is not None and rules.is_text(values.type):
        values, misread = canonical(values, column)
        for row in sorted(misread)[:1]:
            place = f"column {name!r}, row {before + row + 1}"
            raise KibanError(f"{where}: {place}: {misread[row]}; correct it at its source")
    try:
        return _converted(values, column.type)
    except MISFIT:
        row, value = _first_misfit(values, column.type)
        reason = f"{where}: column {name!r}, row {before + row}: {value} is not of type {column.type}"
        if column.type == "timestamp" and LOCAL_TIME.fullmatch(value.strip("'")):
            reason += ": it has no time zone, as in 2013-01-31T15:00:00Z or 2013-01-31 10:00:00-05:00"
        raise KibanError(reason) from None


def localized(values: rules.Values, column: Column, where: str, before: int = 0) -> rules.Values:
    """Times without a zone as those of the column's `written`. Other values are as they are.

    `before` is the number of values before these.
    Raises KibanError, which starts with `where`, for a time that a clock change skips.
    """
    timezone = column.written.timezone if column.written else None
    if not pa.types.is_timestamp(values.type) or values.type.tz is not None or timezone is None:
        return values
    skipped = unsure(values, timezone, "nonexistent")
    if skipped:
        text = plain(str(values[skipped[0]].as_py()))
        raise KibanError(
            f"{where}, row {before + skipped[0] + 1:,}: {text} does not exist in {timezone}: the clocks skip it; "
            "correct it at its source"
        )
    return pc.assume_timezone(values.cast(pa.timestamp("us")), timezone, ambiguous="earliest")


def unsure(values: rules.Values, timezone: str, kind: str) -> list[int]:
    """The places of times without a zone that a clock change skips (`nonexistent`), or doubles (`ambiguous`)."""
    naive, ways = values.cast(pa.timestamp("us")), {"nonexistent": "earliest", "ambiguous": "earliest"}
    first, last = (pc.assume_timezone(naive, timezone, **{**ways, kind: side}) for side in ("earliest", "latest"))
    places: list[int] = pc.indices_nonzero(pc.not_equal(first, last)).to_pylist()
    return places


def canonical(values: rules.Values, column: Column) -> tuple[pa.Array, dict[int, str]]:
    """Texts as the column's `written` reads them, each distinct one once.

    A text that is not written so becomes null; the second result has what is wrong by the index of its first row.
    """
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if column.written is None:
        return whole, {}
    encoded = whole.cast(pa.string()).dictionary_encode()
    distinct: list[str | None] = []
    misread: dict[int, str] = {}
    for text in encoded.dictionary.to_pylist():
        try:
            distinct.append(None if text is None else column.written.canonical(text, column.type))
        except MisreadError as error:
            misread[pc.index(encoded.indices, pa.scalar(len(distinct), encoded.indices.type)).as_py()] = str(error)
            distinct.append(None)
    return pa.array(distinct, pa.string()).take(encoded.indices), misread


LOCAL_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?")

MISFIT = (pa.ArrowInvalid, pa.ArrowNotImplementedError)
"""What Arrow raises about values that cannot be converted."""


def _converted(values: pa.ChunkedArray, kind: Type) -> pa.ChunkedArray:
    """The values in the contract's type. Raises one of MISFIT if one cannot be converted without a guess or a loss."""
    if not rules.converts(values.type, kind):
        raise pa.ArrowNotImplementedError
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        _check_years(values)
    if pa.types.is_decimal(values.type) and kind == "number":  # Arrow is exact from text only
        values = values.cast(pa.string())
    if rules.is_text(values.type) and kind == "integer":  # Arrow takes 0x10 for 16
        _check_all(pc.match_substring_regex(values.cast(pa.string()), "^-?[0-9]+$"))
    typed = values.cast(ARROW_TYPES[kind])
    match kind:
        case "boolean" if pa.types.is_integer(values.type):
            _check_all(pc.equal(typed.cast(values.type), values))
        case "number":
            typed = nulled(typed, [])  # NaN that was written as text
            _check_all(pc.is_finite(typed))
        case "timestamp" | "date":
            _check_years(typed)
    return typed


def _check_all(fits: rules.Values) -> None:
    if pc.all(fits).as_py() is False:  # null where all are null
        raise pa.ArrowInvalid


def _check_years(values: pa.ChunkedArray) -> None:
    """Raise ArrowInvalid if a time is outside the years 1 to 9999, which is all that Python, and JSON, can express."""
    seconds = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    _check_all(pc.and_(pc.greater_equal(seconds, FIRST_SECOND), pc.less(seconds, END_SECOND)))


FIRST_SECOND, END_SECOND = -62_135_596_800, 253_402_300_800  # since 1970, of the years 1 to 9999


def _first_misfit(values: pa.ChunkedArray, kind: Type) -> tuple[int, str]:
    """The row, counted from 1, and the value of the first of `values` that cannot be converted."""
    if not rules.converts(values.type, kind):
        return 1, repr(f"<{values.type}>")
    row = 0
    for row in range(len(values)):
        try:
            _converted(values.slice(row, 1), kind)
        except MISFIT:
            break
    try:
        return row + 1, plain(repr(values[row].as_py()))
    except (OverflowError, ValueError):  # a time that Python cannot express
        return row + 1, values.slice(row, 1).cast(pa.string())[0].as_py()


ROW_GROUP = 1 << 20
"""The rows of each row group of a file but the last."""
WRITTEN: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3, "version": "2.6"}
"""All other options that change the bytes of a file."""


def write(rows: pa.Table, path: Path) -> None:
    """Write `rows` to `path`, whole or not at all."""
    with files.whole(path) as part:
        pq.write_table(rows, part, row_group_size=ROW_GROUP, **WRITTEN)


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
    return _read(file.read(), file.name)


def read_bytes(content: bytes, path: str) -> pa.Table:
    """The rows of the content of a Parquet file, which errors call `path`. Raises KibanError if it is not one."""
    return _read(content, path)


def read_foreign(content: bytes, where: str) -> pa.Table:
    """The rows of the content of a Parquet file that others wrote, without its metadata; checksums are compared.

    Raises KibanError, which starts with `where`, if it is not one.
    """
    try:
        rows = pq.read_table(_in_arrow(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise KibanError(f"{where} is not a whole Parquet file: {one_line(error)}") from None
    return rows.replace_schema_metadata()


def _read(content: bytes, path: str) -> pa.Table:
    try:
        return pq.read_table(_in_arrow(content), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        reason = one_line(error)
        raise KibanError(f"{path} is not a whole Parquet file ({reason}): restore it with `dvc checkout`") from None


def _in_arrow(content: bytes) -> pa.BufferReader:
    """`content` in Arrow's own memory.

    Arrow's threads let go of what they read after the reader has returned. If that is a Python object, and the process
    ends meanwhile, it aborts or never ends: https://github.com/apache/arrow/issues/33975.
    """
    buffer = pa.allocate_buffer(len(content))
    memoryview(buffer).cast("B")[:] = content
    return pa.BufferReader(buffer)
