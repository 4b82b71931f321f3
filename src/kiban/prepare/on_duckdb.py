"""DuckDB as the engine: in this process, within the memory that there is."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from pathlib import Path
from typing import BinaryIO

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError

from kiban.data import duck, ordering, parquet, pieces
from kiban.data.contract import Table
from kiban.prepare import windows

ALSO = (IbisError, pa.ArrowException)
"""What is raised besides DuckDB's own errors."""


def connect(scratch: Path | None = None) -> BaseBackend:
    """A new session in memory. What does not fit is put into the folder `scratch`, if there is one."""
    session = ibis.connect("duckdb://")
    session.raw_sql(duck.set_up(scratch))
    return session


def table(session: BaseBackend, name: str, files: Sequence[BinaryIO]) -> ir.Table:
    """The rows of open Parquet files of one schema."""
    return session.read_parquet([str(pieces.path_of(file)) for file in files])


def in_order(
    session: BaseBackend, features: ir.Table, contract: Table, count: int, where: str, scratch: Path
) -> Iterator[pa.Table]:
    """The rows of the features in the contract's schema, sorted by key, in pieces.

    `count` is about how many rows they are computed from: what is large is computed in cuts, which are kept in the
    folder `scratch`. Raises KibanError, which starts with `where`, if they cannot be computed or do not fit the
    contract.
    """
    if count > pieces.LARGE:
        yield from _in_cuts(session, features, contract, where, scratch)
    else:
        yield parquet.conform(compute(session, features, f"{where}: the features"), contract, where)


def compute(session: BaseBackend, features: ir.Table, where: str) -> pa.Table:
    """The rows of the features at once. Raises KibanError, which starts with `where`, if they cannot be computed."""
    with _explained(where):
        return session.to_pyarrow(features)


def _explained(where: str) -> AbstractContextManager[None]:
    """A context for what may fail by the rows, such as an impossible date, 31 February."""
    return duck.explained(f"{where} cannot be computed from the raw rows", ALSO)


def rows(session: BaseBackend, features: ir.Table, where: str) -> Iterator[pa.Table]:
    """The rows of the features as they are computed, in the types that Ibis says that they have.

    Raises KibanError, which starts with `where`, if they cannot be computed.
    """
    with _explained(where):
        # Ibis would ask the connection for batches by a name that DuckDB has given up. The query for no rows makes the
        # functions and tables of Python known that the features use.
        session.to_pyarrow(features.limit(0))
        yield from ordering.streamed(session.con.sql(session.compile(features)), features.schema().to_pyarrow())


def _in_cuts(
    session: BaseBackend, features: ir.Table, contract: Table, where: str, scratch: Path
) -> Iterator[pa.Table]:
    """The rows of the features, from a query for each cut by window, whose rows are put side by side."""
    key, what = contract.key, f"{where}: the features"
    parts: list[Path] = []
    has_key = set(key) <= set(features.columns)
    for columns in windows.cuts(features) if has_key else []:
        names = [*key, *(name for name in columns if name not in key)]
        part = scratch / f"{len(parts)}.parquet"
        cut = features.select(names).order_by(key)
        pieces.write(rows(session, cut, what), cut.schema().to_pyarrow(), part)
        parts.append(part)
        if len(parts) == 1 and not _is_key(part, key):
            print(f"{where}: rows with the same key, so that all windows are computed in one query", file=sys.stderr)
            has_key = False
            break
    if not has_key:
        yield from ordering.conformed(rows(session, features, what), contract, where, scratch)
        return
    yield from ordering.fitted(_side_by_side(parts, key), contract, where)


def _side_by_side(parts: Sequence[Path], key: Sequence[str]) -> Iterator[pa.Table]:
    """The columns of files with the same rows in the same order, and with the key in each."""
    for joined, *others in zip(*map(pieces.read, parts), strict=True):
        for other in others:
            for name in set(other.column_names) - set(key):
                joined = joined.append_column(name, other[name])
        yield joined


def _is_key(part: Path, key: Sequence[str]) -> bool:
    """Whether the values of the key differ from row to row of a file that is sorted by them, and none is null."""
    last: pa.Table | None = None
    for piece in pieces.read(part, key):
        if any(piece[name].null_count for name in key):
            return False
        joined = piece if last is None else pa.concat_tables([last, piece])
        above, below = joined.slice(0, joined.num_rows - 1), joined.slice(1)
        equal = [pc.equal(above[name], below[name]) for name in key]
        if pc.any(reduce(pc.and_, equal)).as_py():
            return False
        last = joined.slice(joined.num_rows - 1)
    return True
