"""Rows in the contract's schema and order, however many there are: DuckDB sorts what does not fit into memory.

A source gives rows in parts, of which each is converted by itself. So the bytes do not depend on how many there are.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from kiban.core.errors import KibanError
from kiban.data import duck, parquet, pieces, row_hash, rules
from kiban.data.contract import ROW_HASH, Table

if TYPE_CHECKING:
    import duckdb

AT_ONCE = 1 << 16
"""The rows that DuckDB hands over at once."""


def conformed(tables: Iterable[pa.Table], contract: Table, where: str, scratch: Path) -> Iterator[pa.Table]:
    """The rows of all tables as parquet.conform gives them, in pieces. More than LARGE are sorted in `scratch`.

    Raises KibanError like `fitted`.
    """
    waiting: list[pa.Table] = []
    count = 0
    for table in (rest := fitted(tables, contract, where)):
        waiting.append(table)
        count += table.num_rows
        if count > pieces.LARGE:
            break
    else:
        if waiting:
            yield parquet.ordered(pa.concat_tables(waiting), contract)
        return
    is_hashed = waiting[0].column_names != list(contract.columns)
    file, rows = scratch / "unordered.parquet", chain(waiting, rest)
    pieces.write(_hashed(rows, contract) if is_hashed else rows, parquet.schema(contract), file)
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
    key, number = duck.quoted(ROW_HASH), "row_number() OVER same"
    order = f"{duck.quoted(*row_hash.targets_of(contract))}, file_row_number".removeprefix(", ")
    text = f"{key} || CASE WHEN {number} = 1 THEN '' ELSE '{row_hash.NUMBER}' || {number} END AS {key}"
    rows = f"read_parquet($file, file_row_number = true) WINDOW same AS (PARTITION BY {key} ORDER BY {order})"
    return f"SELECT * REPLACE ({text}) FROM {rows}"  # noqa: S608  names only


def at_once(tables: Iterable[pa.Table], contract: Table, where: str) -> pa.Table:
    """The rows of all tables as `conformed` gives them. Raises KibanError like `fitted`, and if there are none."""
    parts = list(fitted(tables, contract, where))
    if not parts:
        raise KibanError(f"{where}: there are no rows")
    return parquet.ordered(pa.concat_tables(parts), contract)


def fitted(tables: Iterable[pa.Table], contract: Table, where: str) -> Iterator[pa.Table]:
    """The rows of each table as parquet.fitted gives them.

    Raises KibanError like it, and if values that become text are not of one type in all tables: 1 and 1.0 are one
    number and two texts.
    """
    texts = [name for name, column in contract.columns.items() if column.type == "string"]
    types: dict[str, pa.DataType] = {}
    before = 0
    for table in tables:
        rows = parquet.fitted(table, contract, where, before)
        for name in texts:
            kind = table.schema.field(name).type if name in rows.column_names else pa.null()
            kind = pa.string() if rules.is_text(kind) else kind
            if kind != pa.null() and types.setdefault(name, kind) != kind:
                raise KibanError(
                    f"{where}: column {name!r} is of type {types[name]} in some rows and {kind} in others: "
                    "make it text at its source"
                )
        before += table.num_rows
        yield rows


def _hashed(tables: Iterable[pa.Table], contract: Table) -> Iterator[pa.Table]:
    for rows in tables:
        yield rows.add_column(0, ROW_HASH, row_hash.hashes_of(rows, contract)).select(list(contract.columns))
