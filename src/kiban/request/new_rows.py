"""The features of rows that are asked about now, by the expression that made the rows of training."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import batches, contract, parquet, rules, verdict
from kiban.data.contract import Table
from kiban.data.settings import Engine, Featured
from kiban.prepare.engine import compute, connect
from kiban.prepare.features import Features, load

ASKED = "the rows that are asked about"


def features(dataset: Featured, engine: Engine, asked: pa.Table, recent: Mapping[str, pa.Table]) -> pa.Table:
    """The prepared columns, without the target, of the rows in `asked`, sorted by the prepared table's key.

    `asked` has rows of the raw table that the dataset's module names in ROWS_OF; what is not known yet, such as how it
    ended, is null or has no column. `recent` has the rows of the raw tables by name, of as many days as the features
    look back on (`recent_rows` reads them). Where a row that is asked about is among them, it says what is null here.

    Raises KibanError if there is a value or a null that the raw contract rejects, if a key stands twice, or if a table
    is missing.
    """
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    definition = load(dataset.features, raw)
    prepared = contract.read_prepared(paths.prepared_contract(dataset.name))
    table = raw[definition.rows_of]
    asked = _whole(asked, table)
    since = _since(asked, table, definition)
    tables = {}
    for name in raw:
        if name not in recent:
            raise KibanError(f"recent rows of table {name} are missing")
        rows, time = _checked(recent[name], raw[name], f"recent {name}"), raw[name].time
        tables[name] = rows.filter(pc.field(time) >= pa.scalar(since, _TIME)) if time else rows
    recorded = tables[definition.rows_of]
    others = recorded.join(asked.select(table.key), table.key, join_type="left anti").select(asked.column_names)
    both = pa.concat_tables([others, _filled(asked, recorded, table.key)])
    everything = _computed(definition, engine, {**tables, definition.rows_of: both})
    keys = _computed(definition, engine, {**tables, definition.rows_of: asked}).select(prepared.key)
    rows = everything.join(keys, prepared.key, join_type="left semi")
    if rows.num_rows != asked.num_rows:  # a fault of the expression, which answers would be given to the wrong rows by
        raise KibanError(f"{definition.module} made {rows.num_rows} rows of the {asked.num_rows} that are asked about")
    return parquet.conform(rows, prepared, "the features").drop_columns(prepared.target())


def _filled(asked: pa.Table, recorded: pa.Table, key: list[str]) -> pa.Table:
    """The rows that are asked about, null replaced by what is known of the same key."""
    joined = asked.join(recorded, key, join_type="left outer", right_suffix=" recorded")
    columns = {
        name: joined[name] if name in key else pc.coalesce(joined[name], joined[f"{name} recorded"])
        for name in asked.column_names
    }
    return pa.table(columns)


def _computed(definition: Features, engine: Engine, tables: Mapping[str, pa.Table]) -> pa.Table:
    expression = definition.compute({name: ibis.memtable(rows) for name, rows in tables.items()})
    return compute(connect(engine), expression, f"the features of {ASKED}")


_TIME = pa.timestamp("us", tz="UTC")


def recent_rows(dataset: Featured, asked: pa.Table, tables: Iterable[str]) -> dict[str, pa.Table]:
    """Of each of the raw tables the accepted rows in data/raw that the features of `asked` look back on.

    Raises KibanError if nothing was validated, or a file is not the one that was.
    """
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    definition = load(dataset.features, raw)
    table = raw[definition.rows_of]
    since = _since(_whole(asked, table), table, definition)
    accepted = verdict.read("raw").accepted
    recent = {}
    for name in tables:
        hashes = accepted.get(name, {})
        needed = {
            batch: digest
            for batch, digest in hashes.items()
            if batch == batches.STATIC or batches.bounds(batch, dataset.timezone)[1] > since
        }
        parts = []
        for batch, digest in needed.items():
            with verdict.opened(paths.raw_file(dataset.name, name, batch), digest) as file:
                parts.append(parquet.read_open(file))
        recent[name] = pa.concat_tables([parquet.schema(raw[name]).empty_table(), *parts])
    return recent


def _whole(asked: pa.Table, table: Table) -> pa.Table:
    """The rows that are asked about as the contract wants them: null where a column that may be null is absent."""
    for name, column in table.columns.items():
        if column.nullable and name not in asked.column_names:
            asked = asked.append_column(name, pa.nulls(asked.num_rows, parquet.ARROW_TYPES[column.type]))
    if not asked.num_rows:
        raise KibanError(f"{ASKED}: there is none")
    return _checked(asked, table, ASKED)


def _checked(rows: pa.Table, table: Table, where: str) -> pa.Table:
    """The rows in the contract's schema; KibanError if there is what it rejects, or a key stands twice.

    What a batch is checked for beyond single rows, Great Expectations' own expectations, says nothing of a few rows.
    """
    rows = parquet.conform(rows, table, where)
    for name, column in table.columns.items():
        for rule in rules.rules(column):
            broken = rule.broken(rows[name])
            if rule.policy == "reject" and pc.any(broken).as_py():
                row = rows.take([pc.index(broken, True)]).to_pylist()[0]
                key = ", ".join(f"{part} {row[part]}" for part in table.key)
                raise KibanError(f"{where}: column {name!r} {rule.text}, as {row[name]!r} is at {key}")
    if rows.group_by(table.key).aggregate([]).num_rows < rows.num_rows:
        raise KibanError(f"{where}: two rows have the same key ({', '.join(table.key)})")
    return rows


def _since(asked: pa.Table, table: Table, definition: Features) -> datetime:
    """The time from which on rows of other tables count for the rows that are asked about."""
    if table.time is None:
        raise KibanError(
            f"conf/contract: table {definition.rows_of} has no time column, which its features look back from"
        )
    return pc.min(asked[table.time]).as_py() - timedelta(days=definition.lookback_days)


def null_throughout(rows: pa.Table) -> list[str]:
    """The names of the columns that have no value in any row: what recent rows were too old, or missing, for."""
    return [name for name in rows.column_names if rows[name].null_count == rows.num_rows]
