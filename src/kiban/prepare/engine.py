"""The engine that computes features, and its errors as KibanError."""

import duckdb
import ibis
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError

from kiban.core.errors import KibanError, one_line
from kiban.data.settings import Engine


def connect(engine: Engine) -> BaseBackend:
    """A new session of the engine, in memory, whose local time is UTC wherever it runs."""
    session = ibis.connect(f"{engine}://")
    session.raw_sql("SET TimeZone = 'UTC'")
    return session


def compute(session: BaseBackend, expression: ibis.Table, where: str) -> pa.Table:
    """The rows of the expression. Raises KibanError, which starts with `where`, if they cannot be computed."""
    try:
        return session.to_pyarrow(expression)
    except (duckdb.Error, IbisError) as error:  # such as an impossible date, 31 February
        raise KibanError(f"{where} cannot be computed from the raw rows: {one_line(error)}") from None
