"""The table of a database with answers: one row for each key and model.

the columns of the key, model_id    the primary key
probability, label, …               the answer
answered_at                         when this answer was given first
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from kiban.core.errors import KibanError
from kiban.data import rules
from kiban.sources.database import Database

MODEL, TIME = "model_id", "answered_at"
PLACE = "kiban_place"
STAGING = "kiban_answers"
AT_ONCE = 5000


def write(
    database: Database, name: str, rows: pa.Table, key: Sequence[str], now: datetime, tell: Callable[[list[int]], None]
) -> list[int]:
    """Insert rows, whose key is `key` and MODEL, or replace those that differ; all of them, or none.

    The table, which may be SCHEMA.TABLE, is made if there is none. Returns the places of the rows that were new or
    another answer; `tell` is given them before they count, and nothing does if it fails. Raises KibanError if the table
    has other columns, or if the database fails.
    """
    return database.asked(lambda: _written(database.engine, name, rows, [*key, MODEL], now, tell))


def _written(
    engine: sa.Engine, name: str, rows: pa.Table, key: list[str], now: datetime, tell: Callable[[list[int]], None]
) -> list[int]:
    schema, _, table_name = name.rpartition(".")
    metadata = sa.MetaData()
    time, place = sa.Column(TIME, sa.DateTime(timezone=True)), sa.Column(PLACE, sa.BigInteger())
    table = sa.Table(table_name, metadata, *_columns(rows.schema, key), time, schema=schema or None)
    # The key is an index, without which SQLite compares each row with all.
    staging = sa.Table(STAGING, metadata, *_columns(rows.schema, key), place, prefixes=["TEMPORARY"])
    with engine.begin() as connection:
        _check(connection, table, name)
        table.create(connection, checkfirst=True)
        staging.create(connection)
        records = [{**record, PLACE: place} for place, record in enumerate(rows.to_pylist())]
        for first in range(0, len(records), AT_ONCE):
            connection.execute(sa.insert(staging), records[first : first + AT_ONCE])
        changed = _merge(connection, table, staging, key, now)
        staging.drop(connection)
        tell(changed)
    return changed


def _columns(schema: pa.Schema, key: list[str]) -> Iterator[sa.Column[Any]]:
    for field in schema:
        yield sa.Column(field.name, _kind(field.type), primary_key=field.name in key, autoincrement=False)


def _check(connection: sa.Connection, table: sa.Table, name: str) -> None:
    """Raise KibanError if there is a table of that name with other columns."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name, table.schema):
        return
    there = {column["name"] for column in inspector.get_columns(table.name, table.schema)}
    if missing := [column.name for column in table.columns if column.name not in there]:
        raise KibanError(f"the table {name} has no column {', '.join(missing)}: give --to another name, or add them")


def _merge(connection: sa.Connection, table: sa.Table, staging: sa.Table, key: list[str], now: datetime) -> list[int]:
    """Bring what is staged to the table, and return the places of what was new or another answer there."""
    answers = [column.name for column in staging.columns if column.name not in (*key, PLACE)]
    is_same_row = sa.and_(*(table.c[each] == staging.c[each] for each in key))
    differs = sa.or_(*(table.c[each].is_distinct_from(staging.c[each]) for each in answers))
    is_kept = sa.exists().where(is_same_row, sa.not_(differs))
    changed = connection.execute(sa.select(staging.c[PLACE]).where(~is_kept)).scalars().all()
    connection.execute(sa.delete(table).where(sa.exists().where(is_same_row, differs)))
    new = sa.select(
        *(staging.c[each] for each in (*key, *answers)), sa.bindparam(TIME, now, sa.DateTime(timezone=True))
    )
    new = new.where(~sa.exists().where(is_same_row))
    connection.execute(sa.insert(table).from_select([*key, *answers, TIME], new))
    return sorted(changed)


def _kind(kind: pa.DataType) -> sa.types.TypeEngine[Any]:
    if rules.is_text(kind):
        return sa.String(255)
    if pa.types.is_boolean(kind):
        return sa.Boolean()
    if pa.types.is_integer(kind):
        return sa.BigInteger()
    if pa.types.is_date(kind):
        return sa.Date()
    if pa.types.is_timestamp(kind):
        return sa.DateTime(timezone=True)
    return sa.Double()
