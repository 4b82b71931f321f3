"""Conditions of a contract: what they find, and what they may not be."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from slice import ROOT

from kiban.core.errors import KibanError
from kiban.data import contract, parquet
from kiban.data.contract import Column, Expectation, Table
from kiban.validate import conditions

RAW = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")


@pytest.fixture
def flights(project: Path) -> pa.Table:
    return parquet.read(Path("data/raw/flights/flights/2013-01.parquet"))


@pytest.fixture
def weather(project: Path) -> pa.Table:
    return parquet.read(Path("data/raw/flights/weather/2013-01.parquet"))


def altered(rows: pa.Table, row: int, **values: Any) -> pa.Table:
    records = rows.to_pylist()
    records[row].update(values)
    return pa.Table.from_pylist(records, rows.schema)


def changed(rows: pa.Table, column: str, change: Any) -> pa.Table:
    """The rows with every value of a column changed."""
    records = rows.to_pylist()
    for record in records:
        record[column] = None if record[column] is None else change(record[column])
    return pa.Table.from_pylist(records, rows.schema)


def test_real_rows_meet_the_contracts_conditions(flights: pa.Table, weather: pa.Table) -> None:
    assert conditions.check(flights, RAW["flights"], "flights", "2013-01") == []
    assert conditions.check(weather, RAW["weather"], "weather", "2013-01") == []


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"minute": 61}, "sched_dep_time"),
        ({"hour": 2, "sched_dep_time": 259, "minute": 59, "dep_time": None, "dep_delay": None}, "hour"),
        ({"dep_time": None}, "dep_time"),
        ({"dep_delay": 7000}, "dep_time"),
        ({"arr_delay": 7000}, "arr_time"),
        ({"distance": 11}, "distance"),
    ],
)
def test_columns_that_disagree_are_found_with_their_key(flights: pa.Table, values: dict[str, Any], column: str) -> None:
    row = next(row for row, delay in enumerate(flights["arr_delay"].to_pylist()) if delay is not None)
    (finding,) = conditions.check(altered(flights, row, **values), RAW["flights"], "flights", "2013-01")
    assert (finding.column, finding.severity) == (column, "reject")
    assert finding.expectation == f"condition({RAW['flights'].columns[column].condition})"
    assert finding.examples[0].keys() >= {*RAW["flights"].key, *values.keys() & {column}}
    if column != "distance":  # where all rows of the route are
        assert finding.rows == 1
        assert finding.examples[0]["flight"] == str(flights["flight"][row].as_py())


def test_another_unit_within_the_range_is_found(weather: pa.Table) -> None:
    """Degrees Celsius for Fahrenheit, in one column or in both."""
    celsius = lambda value: (value - 32) / 1.8  # noqa: E731
    findings = conditions.check(changed(weather, "temp", celsius), RAW["weather"], "weather", "2013-01")
    assert {finding.column for finding in findings} == {"dewp", "humid"}
    both = changed(changed(weather, "temp", celsius), "dewp", celsius)
    (finding,) = conditions.check(both, RAW["weather"], "weather", "2013-01")
    assert (finding.column, finding.rows) == ("humid", len(weather))


def table(condition: str, **options: Any) -> Table:
    columns = {"id": Column(type="integer", description=""), "x": Column(type="number", nullable=True, description="")}
    columns["x"] = columns["x"].model_copy(update={"condition": condition, **options})
    return Table(description="", key=["id"], columns=columns)


ROWS = pa.table({"id": [3, 1, 2, 4], "x": [1.0, 2.0, None, float("nan")]})


def test_null_is_not_false_and_the_policy_is_the_columns() -> None:
    (finding,) = conditions.check(ROWS, table("x < 2", out_of_range="warn"), "t", "static")
    assert finding.severity == "warn"
    assert finding.examples == [{"id": "1", "x": "2"}, {"id": "4", "x": "null"}]
    assert conditions.check(ROWS, table("x < 3 OR x IS NULL OR id = 4"), "t", "static") == []


@pytest.mark.parametrize(
    "condition",
    [
        "x < 3; COPY batch TO 'out.csv'",
        "(SELECT count(*) FROM read_csv('/etc/passwd')) = 0",
        "x IN (SELECT x FROM batch)",
        "getenv('HOME') IS NULL",
        "x < random()",
        "current_date > DATE '2013-01-01'",
        "@pd.io.common.os.system('true')",
        "x",
        "x < 'three'",
        "y < 3",
        "t.x < 3",
        "x <",
        "",
        "(" * 3000 + "x < 3" + ")" * 3000,
        " + ".join(["x"] * 3000) + " > 0",
        "length(repeat('x', 1000000000)) > 1",
        "x < 3 -- and more\n) FROM batch; DROP TABLE batch; --",
    ],
)
def test_what_is_no_condition_is_refused(condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KibanError, match=r"t\.x: the condition ") as raised:
        conditions.check(ROWS, table(condition), "t", "static")
    assert "\x1b" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kwargs",
    [
        {"column": "x", "row_condition": "@pd.io.common.os.system('true')", "condition_parser": "pandas"},
        {"column": "x", "row_condition": {"type": "pass_through", "pass_through_filter": "x > 1"}},
        {"column": "x", "min_value": {"$PARAMETER": "now()"}},
    ],
)
def test_an_expectation_that_is_code_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not allowed, because it runs as code"):
        Expectation(type="expect_column_values_to_be_between", kwargs=kwargs)
