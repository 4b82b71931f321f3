"""Rows in the contract's schema and order, however many there are: DuckDB sorts what does not fit into memory."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from kiban.data import duck, parquet, pieces, row_hash
from kiban.data.contract import ROW_HASH, Table

if TYPE_CHECKING:
    import duckdb

AT_ONCE = 1 << 16
"""The rows that DuckDB hands over at once."""


def conformed(tables: Iterable[pa.Table], contract: Table, where: str, scratch: Path) -> Iterator[pa.Table]:
    """The rows of all tables as parquet.conform gives them, in pieces. More than LARGE are sorted in `scratch`.

    Raises KibanError like parquet.conform.
    """
    waiting: list[pa.Table] = []
    count = 0
    for table in (rest := iter(tables)):
        waiting.append(table)
        count += table.num_rows
        if count > pieces.LARGE:
            break
    else:
        if waiting:
            yield parquet.conform(pieces.joined(waiting, where), contract, where)
        return
    file = scratch / "unordered.parquet"
    pieces.write(fitted(chain(waiting, rest), contract, where), parquet.schema(contract), file)
    is_hashed = contract.key == [ROW_HASH] and ROW_HASH not in waiting[0].column_names
    with duck.connected(scratch) as engine, duck.explained(f"{where}: the rows cannot be sorted"):
        query = _numbered(contract) if is_hashed else "SELECT * FROM read_parquet($file, file_row_number = true)"
        names = duck.quoted(*contract.columns)
        order = f"ORDER BY {duck.quoted(*contract.key)}, file_row_number"
        ordered = engine.sql(f"SELECT {names} FROM ({query}) {order}", params={"file": str(file)})  # noqa: S608  names only
        yield from streamed(ordered, parquet.schema(contract))


def streamed(rows: "duckdb.DuckDBPyRelation", schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a query as DuckDB computes them, in this schema."""
    for batch in rows.to_arrow_reader(AT_ONCE):
        yield pa.Table.from_batches([batch]).cast(schema)


def _numbered(contract: Table) -> str:
    """The query for rows whose key is a hash without a number, as row_hash.with_hash numbers them."""
    key, number = duck.quoted(ROW_HASH), "kiban_number"
    order = f"{duck.quoted(*row_hash.targets_of(contract))}, file_row_number".removeprefix(", ")
    window = f"row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS {number}"
    text = f"{key} || CASE WHEN {number} = 1 THEN '' ELSE '{row_hash.NUMBER}' || {number} END AS {key}"
    rows = "read_parquet($file, file_row_number = true)"
    return f"SELECT * REPLACE ({text}) FROM (SELECT *, {window} FROM {rows})"  # noqa: S608  names only


def fitted(tables: Iterable[pa.Table], contract: Table, where: str) -> Iterator[pa.Table]:
    """The rows of each table as parquet.fitted gives them, with the hash as their key if they lack it."""
    before = 0
    for table in tables:
        rows = parquet.fitted(table, contract, where, before)
        before += table.num_rows
        if ROW_HASH in contract.columns and ROW_HASH not in rows.column_names:
            rows = rows.add_column(0, ROW_HASH, row_hash.hashes_of(rows, contract))
        yield rows.select(list(contract.columns))
