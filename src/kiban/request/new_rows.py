"""The features of new rows, computed by the same expression as the training rows."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import batches, contract, parquet, rules, verdict
from kiban.data.contract import Table
from kiban.data.settings import Featured
from kiban.prepare.features import Features, load
from kiban.prepare.on_duckdb import compute, connect

ASKED = "the rows that are asked about"


def features(dataset: Featured, asked: pa.Table, recent: Mapping[str, pa.Table]) -> pa.Table:
    """The prepared columns, without the target, of the rows in `asked`, sorted by the prepared table's key.

    `asked` has rows of the raw table that the dataset's module names in ROWS_OF. A value that is not known yet, such as
    the outcome, is null or its column is absent. `recent` has the recent rows of each raw table, for as many days as
    the features look back (`recent_rows` reads them). If a row of `asked` is also among them, its nulls are filled from
    there.

    Raises KibanError if the raw contract rejects a value, if a key occurs twice, or if a table is missing.
    """
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    definition = load(dataset.features, raw)
    prepared = contract.prepared_of(dataset.name)
    table = raw[definition.rows_of]
    asked = _whole(asked, table)
    since = _since(asked, table, definition)
    tables = {}
    for name in raw:
        if name not in recent:
            raise KibanError(f"recent rows of table {name} are missing")
        rows, time = _checked(recent[name], raw[name], f"recent {name}"), raw[name].time
        tables[name] = rows.filter(pc.field(time) >= pa.scalar(since, _TIME)) if time and since else rows
    recorded = tables[definition.rows_of]
    others = recorded.join(asked.select(table.key), table.key, join_type="left anti").select(asked.column_names)
    both = pa.concat_tables([others, _filled(asked, recorded, table.key)])
    everything = _computed(definition, {**tables, definition.rows_of: both})
    keys = _computed(definition, {**tables, definition.rows_of: asked}).select(prepared.key)
    rows = everything.join(keys, prepared.key, join_type="left semi")
    if rows.num_rows != asked.num_rows:  # a fault of the expression: answers would go to the wrong rows
        raise KibanError(
            f"{definition.module} made {rows.num_rows} rows from the {asked.num_rows} that are asked about"
        )
    return parquet.conform(rows, prepared, "the features").drop_columns(prepared.target())


def keys_of(dataset: Featured, rows: pa.Table, others: Mapping[str, pa.Table]) -> pa.Table:
    """The keys of the prepared rows that come of rows of the raw table that the dataset's module names in ROWS_OF.

    `others` are the rows of the other raw tables.
    """
    definition = load(dataset.features, contract.read_raw(paths.raw_contract(dataset.name)))
    return _computed(definition, {**others, definition.rows_of: rows}).select(contract.prepared_of(dataset.name).key)


def _filled(asked: pa.Table, recorded: pa.Table, key: list[str]) -> pa.Table:
    """`asked` with each null replaced by the value that `recorded` has for the same key."""
    joined = asked.join(recorded, key, join_type="left outer", right_suffix=" recorded")
    columns = {
        name: joined[name] if name in key else pc.coalesce(joined[name], joined[f"{name} recorded"])
        for name in asked.column_names
    }
    return pa.table(columns)


def _computed(definition: Features, tables: Mapping[str, pa.Table]) -> pa.Table:
    """The features of few rows: on DuckDB, whatever engine computes those of batches."""
    expression = definition.compute({name: ibis.memtable(rows) for name, rows in tables.items()})
    return compute(connect(), expression, f"the features of {ASKED}")


_TIME = pa.timestamp("us", tz="UTC")


def table_asked_about(dataset: Featured) -> str:
    """The name of the raw table whose columns new rows have."""
    return load(dataset.features, contract.read_raw(paths.raw_contract(dataset.name))).rows_of


def recent_rows(dataset: Featured, asked: pa.Table, tables: Iterable[str]) -> dict[str, pa.Table]:
    """The accepted rows in data/raw, by raw table, that the features of `asked` need.

    Raises KibanError if there is no verdict, or if a file changed after validation.
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
            if since is None or batch == batches.STATIC or batches.bounds(batch, dataset.timezone)[1] > since
        }
        parts = []
        for batch, digest in needed.items():
            with verdict.opened(paths.raw_file(dataset.name, name, batch), digest) as file:
                parts.append(parquet.as_now(parquet.read_open(file), raw[name], batch, file.name))
        recent[name] = pa.concat_tables([parquet.schema(raw[name]).empty_table(), *parts])
    return recent


def example(dataset: Featured, count: int = 5) -> pa.Table:
    """A few rows late in the last accepted batch, without what may be null, as one would ask about them.

    Raises KibanError if there is no accepted batch, or if its file changed after validation.
    """
    raw = contract.read_raw(paths.raw_contract(dataset.name))
    name = load(dataset.features, raw).rows_of
    accepted = verdict.read("raw").accepted.get(name, {})
    if not accepted:
        raise KibanError(f"no batch of {name} is accepted: run `dvc repro`")
    last = max(accepted)
    with verdict.opened(paths.raw_file(dataset.name, name, last), accepted[last]) as file:
        rows = parquet.as_now(parquet.read_open(file), raw[name], last, file.name)
    required = [column for column in rows.column_names if not raw[name].columns[column].nullable]
    return rows.select(required).slice(rows.num_rows * 9 // 10, count)


def _whole(asked: pa.Table, table: Table) -> pa.Table:
    """`asked` in the contract's schema, with nulls for each absent column that is nullable.

    Raises KibanError if there are no rows, or if the contract rejects a value.
    """
    missing = [name for name, column in table.columns.items() if not column.nullable and name not in asked.column_names]
    if missing:
        needed, others = (
            ", ".join(name for name, column in table.columns.items() if column.nullable is nullable)
            for nullable in (False, True)
        )
        raise KibanError(f"{ASKED}: no column {', '.join(missing)}; needed are {needed}; may be absent: {others}")
    for name, column in table.columns.items():
        if column.nullable and name not in asked.column_names:
            asked = asked.append_column(name, pa.nulls(asked.num_rows, parquet.ARROW_TYPES[column.type]))
    if not asked.num_rows:
        raise KibanError(f"{ASKED}: there are none")
    return _checked(asked, table, ASKED)


def _checked(rows: pa.Table, table: Table, where: str) -> pa.Table:
    """The rows in the contract's schema. Raises KibanError if it rejects a value, or if a key occurs twice.

    The contract's own expectations are not checked: they describe a whole batch, not a few rows.
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


def _since(asked: pa.Table, table: Table, definition: Features) -> datetime | None:
    """The time from which on the features of `asked` need rows of the raw tables; None if they need all."""
    if table.time is None:
        if definition.lookback_days:
            raise KibanError(
                f"conf/contract: table {definition.rows_of} has no time column, but its features look back from that "
                "time"
            )
        return None
    return pc.min(asked[table.time]).as_py() - timedelta(days=definition.lookback_days)


def null_throughout(rows: pa.Table) -> list[str]:
    """The names of the columns that are null in every row, because recent rows are missing or too old."""
    return [name for name in rows.column_names if rows[name].null_count == rows.num_rows]
