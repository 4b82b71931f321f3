"""The expectations of a contract about a batch that is larger than memory.

Great Expectations checks the types of ROW_WISE piece by piece, and what it counts is added. Types of AGGREGATES are
about all rows, as a mean is: DuckDB computes them, in one query. All others are refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from kiban.core.errors import KibanError
from kiban.data import duck, pieces
from kiban.data.contract import Table
from kiban.data.duck import quoted
from kiban.data.verdict import Finding
from kiban.validate.expectations import EXAMPLES, Config, Counted, counted, finding, named_suite, suite

COLUMN, VALUES, LENGTHS = "expect_column_", "expect_column_values_to_", "expect_column_value_lengths_to_"
ROW_WISE = {
    *(f"{VALUES}{what}" for what in ("not_be_null", "be_null", "be_between", "be_in_set", "not_be_in_set")),
    *(f"{VALUES}{what}" for what in ("match_regex", "not_match_regex", "match_regex_list", "not_match_regex_list")),
    *(f"{VALUES}{what}" for what in ("match_strftime_format", "be_dateutil_parseable", "be_json_parseable")),
    *(f"{LENGTHS}{what}" for what in ("be_between", "equal")),
    *(f"expect_column_pair_values_{what}" for what in ("a_to_be_greater_than_b", "to_be_equal", "to_be_in_set")),
    *(f"expect_{what}" for what in ("multicolumn_sum_to_equal", "multicolumn_values_to_be_equal")),
    "expect_select_column_values_to_be_unique_within_record",
}
"""The types about each row alone."""

OF_SHAPE = {
    *("expect_column_to_exist", "expect_table_column_count_to_be_between", "expect_table_column_count_to_equal"),
    *("expect_table_columns_to_match_ordered_list", "expect_table_columns_to_match_set"),
}
"""The types about the columns, which every piece has."""

AGGREGATES = {
    f"{COLUMN}mean_to_be_between": "avg(CAST({} AS DOUBLE))",
    f"{COLUMN}min_to_be_between": "min({})",
    f"{COLUMN}max_to_be_between": "max({})",
    f"{COLUMN}sum_to_be_between": "coalesce(sum({}), 0)",
    f"{COLUMN}median_to_be_between": "median({})",
    f"{COLUMN}stdev_to_be_between": "stddev_samp({})",
    f"{COLUMN}unique_value_count_to_be_between": "count(DISTINCT {})",
    f"{COLUMN}proportion_of_unique_values_to_be_between": "coalesce(count(DISTINCT {0}) / nullif(count({0}), 0), 0)",
    f"{COLUMN}proportion_of_non_null_values_to_be_between": "count({}) / count(*)",
    "expect_table_row_count_to_be_between": "count(*)",
    "expect_table_row_count_to_equal": "count(*)",
}
"""The types about one number of all rows, in SQL; null is no value, as in pandas."""
OF_ANY_TYPE = {kind for kind, sql in AGGREGATES.items() if "count(" in sql}
QUANTILES = f"{COLUMN}quantile_values_to_be_between"
UNIQUE = {f"{VALUES}be_unique": "column", "expect_compound_columns_to_be_unique": "column_list"}
"""The types about rows that repeat others, and the argument that names their columns."""
IGNORED = ("all_values_are_missing",)  # of ignore_row_if


def check(path: Path, contract: Table, table: str, batch: str, timezone: str, scratch: Path) -> list[Finding]:
    """The findings of the expectations of `contract` in the batch at `path`, as expectations.check gives them.

    Raises KibanError if an expectation does not exist, cannot be computed, or cannot be checked in pieces.
    """
    where, configs = f"{table} {batch}", suite(contract, batch, timezone)
    for config in configs:
        _check_kind(config, contract, where)
    named_suite(where, configs)  # which raises if one is not valid
    of_rows = [config for config in configs if config["type"] in ROW_WISE | OF_SHAPE]
    totals = [Counted() for _ in of_rows]
    for rows in pieces.read(path):
        parts = counted(rows, contract.key, where, of_rows)
        totals = [total.plus(part) for total, part in zip(totals, parts, strict=True)]
    results = {id(config): total.failure(config) for config, total in zip(of_rows, totals, strict=True)}
    of_all = [config for config in configs if config["type"] in AGGREGATES]
    with duck.connected(scratch) as engine, duck.explained(f"{where}: the contract's expectations cannot be computed"):
        engine.read_parquet(str(path), file_row_number=True).create_view("batch")
        values = _values(engine, list(dict.fromkeys(map(_sql, of_all))))
        results |= {id(config): _outside(config, values[_sql(config)]) for config in of_all}
        for config in configs:
            if config["type"] == QUANTILES:
                results[id(config)] = _quantiles(engine, config)
            elif config["type"] in UNIQUE:
                results[id(config)] = _repeated(engine, contract.key, config)
    failed = ((config, results[id(config)]) for config in configs)
    return [finding(table, batch, contract.time, config, result) for config, result in failed if result is not None]


def _check_kind(config: Config, contract: Table, where: str) -> None:
    kind, column = config["type"], contract.columns.get(config["kwargs"].get("column", ""))
    is_of_all = kind in {*AGGREGATES, *UNIQUE, QUANTILES}
    numbers = ("integer", "number", *(["boolean"] if kind == f"{COLUMN}mean_to_be_between" else []))
    if not is_of_all and kind not in ROW_WISE | OF_SHAPE:
        reason = "cannot be checked"
    elif kind in UNIQUE and config["kwargs"].get("ignore_row_if", "all_values_are_missing") not in IGNORED:
        reason = f"can be checked with ignore_row_if {' or '.join(IGNORED)} only"
    elif kind in {*AGGREGATES, QUANTILES} - OF_ANY_TYPE and (column is None or column.type not in numbers):
        reason = "can be checked of numbers only"
    else:
        return
    raise KibanError(
        f"{where}: {kind} {reason} in a batch of more than {pieces.LARGE:,} rows, which is read in pieces: "
        "leave it out of the contract, or take smaller batches"
    )


def _sql(config: Config) -> str:
    return AGGREGATES[config["type"]].format(quoted(config["kwargs"].get("column", "")))


def _values(engine: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> dict[str, Any]:
    """The value of each aggregate."""
    (values,) = engine.execute(f"SELECT {', '.join(texts)} FROM batch").fetchall() if texts else [()]  # noqa: S608
    return dict(zip(texts, values, strict=True))


def _outside(config: Config, value: Any) -> dict[str, Any] | None:
    """The result of an expectation about one number if it does not meet it."""
    arguments = config["kwargs"]
    if "value" in arguments:
        return None if value == arguments["value"] else {"observed_value": value}
    low, high = arguments.get("min_value"), arguments.get("max_value")
    is_inside = value is not None and (
        (low is None or value > low or (value == low and not arguments.get("strict_min")))
        and (high is None or value < high or (value == high and not arguments.get("strict_max")))
    )
    return None if is_inside else {"observed_value": value}


def _quantiles(engine: duckdb.DuckDBPyConnection, config: Config) -> dict[str, Any] | None:
    """As pandas computes them: the value that is the nearest, by its place among the values in order."""
    column, wanted = quoted(config["kwargs"]["column"]), config["kwargs"]["quantile_ranges"]
    rows = f"SELECT {column} AS value FROM batch WHERE {column} IS NOT NULL"  # noqa: S608
    ((count,),) = engine.execute(f"SELECT count(*) FROM ({rows})").fetchall()  # noqa: S608
    places = [round(each * (count - 1)) for each in wanted["quantiles"]]
    ordered = f"SELECT value, row_number() OVER (ORDER BY value) - 1 AS place FROM ({rows})"  # noqa: S608
    query = f"SELECT place, value FROM ({ordered}) WHERE list_contains($places, place)"  # noqa: S608
    found = dict(engine.execute(query, {"places": places}).fetchall())
    values = [found.get(place) for place in places]
    is_inside = all(
        value is not None and (low is None or value >= low) and (high is None or value <= high)
        for value, (low, high) in zip(values, wanted["value_ranges"], strict=True)
    )
    return None if is_inside else {"observed_value": {"quantiles": wanted["quantiles"], "values": values}}


def _repeated(engine: duckdb.DuckDBPyConnection, key: Sequence[str], config: Config) -> dict[str, Any] | None:
    """The result of an expectation that no row repeats another: how many do, and the first of them."""
    named = config["kwargs"][UNIQUE[config["type"]]]
    names = [named] if isinstance(named, str) else list(named)
    columns = quoted(*names)
    some = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in names)
    groups = f"FROM batch WHERE {some} GROUP BY {columns} HAVING count(*) > 1"
    repeated = f"SELECT {columns} {groups}"
    counted_rows = f"SELECT coalesce(sum(number), 0) FROM (SELECT count(*) AS number {groups})"  # noqa: S608
    ((rows, considered),) = engine.execute(
        f"SELECT ({counted_rows}), (SELECT count(*) FROM batch WHERE {some})"  # noqa: S608
    ).fetchall()
    shown = quoted(*dict.fromkeys([*names, *key]))
    same = " AND ".join(f"b.{quoted(name)} IS NOT DISTINCT FROM r.{quoted(name)}" for name in names)
    query = (
        f"SELECT {shown} FROM batch b WHERE EXISTS (SELECT 1 FROM ({repeated}) r WHERE {same}) "  # noqa: S608
        f"ORDER BY file_row_number LIMIT {EXAMPLES}"
    )
    examples = engine.sql(query).to_arrow_table().to_pylist() if rows else []
    return Counted(int(rows), int(considered), tuple(examples)).failure(config)
