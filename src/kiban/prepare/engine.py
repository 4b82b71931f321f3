"""The engine that computes features, and its errors as KibanError."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError

from kiban.core import memory
from kiban.core.errors import KibanError, one_line
from kiban.data import duck, ordering
from kiban.data.settings import Engine

FAILED = (duckdb.Error, IbisError, pa.ArrowException, OSError)
"""What an engine raises. DuckDB raises OSError while its rows are streamed."""


def connect(engine: Engine, scratch: Path | None = None) -> BaseBackend:
    """A new session of the engine, in memory, whose local time is UTC wherever it runs.

    What does not fit into memory is put into the folder `scratch`, if there is one.
    """
    session = ibis.connect(f"{engine}://")
    session.raw_sql(duck.set_up(scratch))
    return session


def compute(session: BaseBackend, features: ir.Table, where: str) -> pa.Table:
    """The rows of the features at once. Raises KibanError, which starts with `where`, if they cannot be computed."""
    with explained(where):
        return session.to_pyarrow(features)


def rows(session: BaseBackend, features: ir.Table, where: str) -> Iterator[pa.Table]:
    """The rows of the features as they are computed, in the types that Ibis says that they have.

    Raises KibanError, which starts with `where`, if they cannot be computed.
    """
    with explained(where):
        # Ibis would ask the connection for batches by a name that DuckDB has given up. The query for no rows makes the
        # functions and tables of Python known that the features use.
        session.to_pyarrow(features.limit(0))
        yield from ordering.streamed(session.con.sql(session.compile(features)), features.schema().to_pyarrow())


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Raise KibanError, which starts with `where`, in the place of what an engine raises."""
    try:
        yield
    except FAILED as error:  # such as an impossible date, 31 February
        reason = one_line(error)
        if "Out of Memory" in reason:
            reason = f"they do not fit into the memory that there is: take smaller batches, or set {memory.VARIABLE}"
        raise KibanError(f"{where} cannot be computed from the raw rows: {reason}") from None
