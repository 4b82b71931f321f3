"""The conditions of a contract's columns: SQL expressions, checked against a vocabulary, then computed by DuckDB.

A contract is data, not code: a condition must not read files, call Python, or give another result in the next run.
sqlglot parses a condition, and DuckDB runs the SQL that sqlglot writes from the parsed expression.
"""

from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from kiban.core.errors import KibanError, one_line
from kiban.data import duck
from kiban.data.contract import Table
from kiban.data.verdict import Expected, Finding, as_text

EXAMPLES = 5
VOCABULARY = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Tuple, exp.Var),
    *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.In, exp.Between),
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Case, exp.If, exp.Coalesce),
    *(exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Exp, exp.Ln, exp.Pow, exp.Least, exp.Greatest),
    *(exp.Length, exp.Lower, exp.Upper, exp.Cast, exp.DataType, exp.Extract, exp.AtTimeZone, exp.TimeToStr),
    *(exp.Window, exp.Order, exp.Ordered, exp.Min, exp.Max, exp.Avg, exp.Sum, exp.Count, exp.Lag, exp.Lead),
)
"""The kinds of nodes that an expression may contain. None reads anything but the rows or changes from run to run."""


def check(rows: pa.Table | Path, contract: Table, table: str, batch: str, scratch: Path | None = None) -> list[Finding]:
    """A finding for each condition of the contract that is false in one row or more, of a table or a Parquet file.

    What does not fit into memory is put into the folder `scratch`.

    Raises KibanError if a condition is not SQL, contains what VOCABULARY lacks, or cannot be computed.
    """
    conditions = {name: column for name, column in contract.columns.items() if column.condition is not None}
    if not conditions:
        return []
    findings = []
    with duckdb.connect(config={"autoload_known_extensions": "false"}) as engine:
        engine.execute(duck.set_up(scratch))
        if isinstance(rows, Path):
            engine.execute("SET allowed_paths = [$path]", {"path": str(rows)})
            engine.read_parquet(str(rows)).create_view("batch")
        else:
            engine.register("batch", rows)
        engine.execute("SET enable_external_access = false; SET lock_configuration = true")
        for name, column in conditions.items():
            where = f"{table}.{name}: the condition {column.condition!r}"
            expression = _parsed(column.condition or "", contract, where)
            count, examples = _false(engine, expression, contract.key, where)
            if count:
                findings.append(
                    Finding(
                        table=table,
                        batch=batch,
                        column=name,
                        expectation=_in_words(column.condition),
                        severity=column.out_of_range,
                        rows=count,
                        observed=None,
                        examples=examples,
                    )
                )
    return findings


def expected(contract: Table) -> list[Expected]:
    """The conditions of the contract."""
    return [
        Expected(column=name, expectation=_in_words(column.condition))
        for name, column in contract.columns.items()
        if column.condition is not None
    ]


def _in_words(condition: str | None) -> str:
    return f"condition({condition})"


def _parsed(condition: str, contract: Table, where: str) -> exp.Expr:
    try:
        expression = sqlglot.parse_one(condition, dialect="duckdb")
        expression.sql(dialect="duckdb")
    except SqlglotError as error:
        raise KibanError(f"{where} is not a SQL expression: {one_line(click.unstyle(str(error)))}") from None
    except RecursionError:
        raise KibanError(f"{where} is nested too deeply") from None
    for node in expression.walk():
        if not isinstance(node, VOCABULARY):
            text = node.sql(dialect="duckdb")
            raise KibanError(f"{where}: {text} is not allowed; docs/contracts.md lists what is")
        if isinstance(node, exp.Column) and node.sql(dialect="duckdb").strip('"') not in contract.columns:
            raise KibanError(f"{where}: there is no column {node.sql(dialect='duckdb')}")
    return expression


def _false(
    engine: duckdb.DuckDBPyConnection, expression: exp.Expr, key: list[str], where: str
) -> tuple[int, list[dict[str, Any]]]:
    """The number of rows in which the expression is false, and at most EXAMPLES of them, the first by key.

    An example has the columns of the key and of the expression, as text.
    """
    names = [*dict.fromkeys([*key, *sorted({column.name for column in expression.find_all(exp.Column)})])]
    columns = duck.quoted(*names)
    condition = expression.sql(dialect="duckdb", identify=True)
    query = (
        f'SELECT {columns}, count(*) OVER () FROM (SELECT *, ({condition}) AS "kiban condition" FROM batch) '  # noqa: S608  the condition was parsed and checked
        f'WHERE NOT "kiban condition" ORDER BY {duck.quoted(*key)} LIMIT {EXAMPLES}'
    )
    try:
        ((_, kind, *_),) = engine.execute(f"DESCRIBE SELECT {condition} FROM batch").fetchall()  # noqa: S608
        if kind != "BOOLEAN":
            raise KibanError(f"{where} has the type {kind}, not BOOLEAN")
        rows = engine.execute(query).fetchall()
    except duckdb.Error as error:
        raise KibanError(f"{where} cannot be computed: {one_line(error)}") from None
    examples = [{name: as_text(value) for name, value in zip(names, row, strict=False)} for row in rows]
    return (rows[0][-1] if rows else 0), examples
