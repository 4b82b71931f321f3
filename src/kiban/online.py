"""The features of rows that are asked about now, by the expression that made the rows of training."""

import importlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import ModuleType

import duckdb
import ibis
import pyarrow as pa
import pyarrow.compute as pc
from ibis.common.exceptions import IbisError

from kiban import batches, contract, ledger, parquet, verdict
from kiban.contract import Table
from kiban.errors import KibanError
from kiban.settings.dataset import Engine, Identity


def features(dataset: Identity, engine: Engine, asked: pa.Table, recent: Mapping[str, pa.Table]) -> pa.Table:
    """The prepared columns, without the target, of the rows in `asked`, sorted by the prepared table's key.

    `asked` has rows of the raw table that the dataset's module names in ROWS_OF; what is not known yet, such as how it
    ended, is null or has no column. `recent` has the rows of the raw tables by name, of as many days as the features
    look back on (`recent_rows` reads them). Where a row that is asked about is among them, it says what is null here.

    Raises KibanError if a row is not as the raw contract wants it, stands twice, or if a table is missing.
    """
    module = importlib.import_module(f"kiban.features.{dataset.name}")
    raw = contract.read_raw(contract.raw_path(dataset.name))
    prepared = contract.read_prepared(contract.prepared_path(dataset.name))
    of = raw[module.ROWS_OF]
    asked = _checked(asked, of)
    since = _since(asked, of, module)
    tables = {}
    for name in raw:
        if name not in recent:
            raise KibanError(f"recent rows of table {name} are missing")
        rows, time = parquet.conform(recent[name], raw[name], f"recent {name}"), raw[name].time
        tables[name] = rows.filter(pc.field(time) >= pa.scalar(since, _TIME)) if time else rows
    known = tables[module.ROWS_OF]
    others = known.join(asked.select(of.key), of.key, join_type="left anti").select(asked.column_names)
    both = pa.concat_tables([others, _filled(asked, known, of.key)])
    everything = _computed(module, engine, {**tables, module.ROWS_OF: both})
    keys = _computed(module, engine, {**tables, module.ROWS_OF: asked}).select(prepared.key)
    found = everything.join(keys, prepared.key, join_type="left semi")
    return parquet.conform(found, prepared, "the features").drop_columns(prepared.target())


def _filled(asked: pa.Table, known: pa.Table, key: list[str]) -> pa.Table:
    """The rows that are asked about, null replaced by what is known of the same key."""
    joined = asked.join(known, key, join_type="left outer", right_suffix=" known")
    columns = {
        name: joined[name] if name in key else pc.coalesce(joined[name], joined[f"{name} known"])
        for name in asked.column_names
    }
    return pa.table(columns)


def _computed(module: ModuleType, engine: Engine, tables: Mapping[str, pa.Table]) -> pa.Table:
    expression = module.features({name: ibis.memtable(rows) for name, rows in tables.items()})
    try:
        return ibis.connect(f"{engine}://").to_pyarrow(expression)
    except (duckdb.Error, IbisError) as error:  # such as a date that there is not, 31 February
        reason = " ".join(str(error).split())[:200]
        raise KibanError(f"the features of the rows that are asked about cannot be computed: {reason}") from None


_TIME = pa.timestamp("us", tz="UTC")


def recent_rows(dataset: Identity, asked: pa.Table, tables: Iterable[str]) -> dict[str, pa.Table]:
    """Of each of the raw tables the accepted rows in data/raw that the features of `asked` look back on.

    Raises KibanError if nothing of a table has been accepted, or a file is not the one that was.
    """
    module = importlib.import_module(f"kiban.features.{dataset.name}")
    raw = contract.read_raw(contract.raw_path(dataset.name))
    of = raw[module.ROWS_OF]
    since = _since(_checked(asked, of), of, module)
    accepted = verdict.read("raw").accepted
    found = {}
    for table in tables:
        hashes = accepted.get(table, {})
        needed = {
            batch: digest
            for batch, digest in hashes.items()
            if batch == batches.STATIC or batches.bounds(batch, dataset.timezone)[1] > since
        }
        for batch, digest in needed.items():
            verdict.check_file(ledger.raw_file(dataset.name, table, batch), digest)
        parts = [parquet.read(ledger.raw_file(dataset.name, table, batch)) for batch in needed]
        found[table] = pa.concat_tables([parquet.schema(raw[table]).empty_table(), *parts])
    return found


def _checked(asked: pa.Table, of: Table) -> pa.Table:
    """The rows in the raw contract's schema, with null where a column that may be null is absent."""
    where = "the rows that are asked about"
    for name, column in of.columns.items():
        if column.nullable and name not in asked.column_names:
            asked = asked.append_column(name, pa.nulls(asked.num_rows, parquet.ARROW_TYPES[column.type]))
    asked = parquet.conform(asked, of, where)
    if not asked.num_rows:
        raise KibanError(f"{where}: there is none")
    for name, column in of.columns.items():
        if asked[name].null_count and not column.nullable:
            first = pc.index(asked[name].is_null(), True).as_py()
            row = ", ".join(f"{part} {asked[part][first].as_py()}" for part in of.key)
            raise KibanError(f"{where}: column {name!r} may not be null, as it is at {row}")
    if asked.group_by(of.key).aggregate([]).num_rows < asked.num_rows:
        raise KibanError(f"{where}: two rows have the same key ({', '.join(of.key)})")
    return asked


def _since(asked: pa.Table, of: Table, module: ModuleType) -> datetime:
    """The time from which on rows of other tables count for the rows that are asked about."""
    if of.time is None:
        raise KibanError(f"conf/contract: table {module.ROWS_OF} has no time column, which its features look back from")
    return pc.min(asked[of.time]).as_py() - timedelta(days=module.LOOKBACK_DAYS)


def null_throughout(rows: pa.Table) -> list[str]:
    """The names of the columns that have no value in any row: what recent rows were too old, or missing, for."""
    return [name for name in rows.column_names if rows[name].null_count == rows.num_rows]
