"""Source: a SQL query for each batch, through SQLAlchemy, or through ADBC for PostgreSQL if its driver is installed."""

import importlib.util
from collections.abc import Iterator
from datetime import UTC

import pyarrow as pa
import sqlalchemy as sa
from pydantic import validate_call
from sqlalchemy.dialects import postgresql

from kiban.core.errors import KibanError
from kiban.data.batches import STATIC, Period
from kiban.sources.database import Database

ROWS_AT_ONCE = 50_000


class Sql:
    """The rows of `query`, whose parameters `:start` and `:end` are bound to the period of the batch.

    `batches` is a query for the names of all batches, such as 2013-01; without it the table is static.
    `url_env` names the environment variable that holds the SQLAlchemy URL with its credentials.
    """

    @validate_call
    def __init__(self, url_env: str, query: str, batches: str | None = None) -> None:
        if set(sa.text(query).compile().params) != ({"start", "end"} if batches else set()):
            raise KibanError("dataset source query: it needs :start and :end with `batches`, and no parameter without")
        self.database = Database(url_env)
        self.query = query
        self.names = batches

    def batches(self) -> list[str]:
        if self.names is None:
            return [STATIC]
        query = sa.text(self.names)
        tables = self.database.streamed(lambda: _fetched(self.database.engine, query))
        return sorted({str(name) for table in tables for name in table.column(0).to_pylist() if name is not None})

    def read(self, batch: str, period: Period | None) -> Iterator[pa.Table]:
        query = statement(self.query, period)
        database = self.database
        by_adbc = database.url.get_backend_name() == "postgresql" and importlib.util.find_spec("adbc_driver_postgresql")
        count = 0
        for rows in database.streamed(
            lambda: _fetched_by_adbc(database.url, query) if by_adbc else _fetched(database.engine, query)
        ):
            count += rows.num_rows
            yield rows
        if not count:
            raise KibanError(f"{self.describe()} has no rows of batch {batch}")

    def describe(self) -> str:
        return self.database.name


def statement(query: str, period: Period | None) -> sa.TextClause:
    """The query with `:start` and `:end` bound to the period, in UTC."""
    if period is None:
        return sa.text(query)
    bound = zip(("start", "end"), period, strict=True)
    kind = sa.TIMESTAMP(timezone=True)  # each dialect writes a timestamp in its own way
    return sa.text(query).bindparams(*(sa.bindparam(name, time.astimezone(UTC), kind) for name, time in bound))


def _fetched(engine: sa.Engine, query: sa.TextClause) -> Iterator[pa.Table]:
    with engine.connect() as connection:
        result = connection.execution_options(stream_results=True).execute(query)
        names = list(result.keys())
        for rows in result.partitions(ROWS_AT_ONCE):
            yield pa.table([pa.array(values) for values in zip(*rows, strict=True)], names=names)


def _fetched_by_adbc(url: sa.URL, query: sa.TextClause) -> Iterator[pa.Table]:
    """Arrow columns as the server sends them, without a Python object for every value."""
    import adbc_driver_postgresql.dbapi

    dialect: sa.Dialect = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    compiled = query.compile(dialect=dialect)
    values = [compiled.params[name] for name in compiled.positiontup or ()]
    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(str(compiled), values or None)
        for batch in cursor.fetch_record_batch():
            # The driver gives a type that Arrow lacks, such as numeric, as text under an extension type.
            yield pa.table([_stored(column) for column in batch.columns], names=batch.schema.names)


def _stored(column: pa.Array) -> pa.Array:
    return column.cast(column.type.storage_type) if isinstance(column.type, pa.BaseExtensionType) else column
