from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from slice import HISTORY, ROOT

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import contract, parquet
from kiban.data.batches import bounds
from kiban.data.contract import Column, Expectation, Table
from kiban.validate import check, expectations

FLIGHTS = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")["flights"]
ZONE = "America/New_York"


def test_the_suite_is_the_contract() -> None:
    table = Table(
        description="",
        key=["id", "at"],
        time="at",
        columns={
            "id": Column(type="integer", description="", min=1),
            "at": Column(type="timestamp", description=""),
            "kind": Column(type="string", description="", nullable=True, levels=["a", "b"], unseen="warn"),
        },
        expectations=[Expectation(type="expect_column_mean_to_be_between", kwargs={"column": "id", "min_value": 2})],
    )
    suite = expectations.suite(table, "2013-01", ZONE)
    assert [(config["type"], config["kwargs"].get("column"), config["severity"]) for config in suite] == [
        ("expect_table_columns_to_match_set", None, "critical"),
        ("expect_table_row_count_to_be_between", None, "critical"),
        ("expect_compound_columns_to_be_unique", None, "critical"),
        ("expect_column_values_to_be_between", "at", "critical"),
        ("expect_column_values_to_not_be_null", "id", "critical"),
        ("expect_column_values_to_be_between", "id", "critical"),
        ("expect_column_values_to_not_be_null", "at", "critical"),
        ("expect_column_values_to_be_in_set", "kind", "warning"),
        ("expect_column_mean_to_be_between", "id", "critical"),
    ]
    assert suite[3]["kwargs"]["strict_max"]


def validate(rows: pa.Table, tmp_path: Path, table: Table = FLIGHTS) -> Any:
    path = tmp_path / "2013-01.parquet"
    parquet.write(rows, path)
    return check.validate({"flights": table}, {("flights", "2013-01"): path}, ZONE, HISTORY)


def altered(rows: pa.Table, row: int, **values: Any) -> pa.Table:
    records = rows.to_pylist()
    records[row].update(values)
    return pa.Table.from_pylist(records, rows.schema)


@pytest.fixture
def rows(project: Path) -> pa.Table:
    return parquet.read(Path("data/raw/flights/flights/2013-01.parquet"))


def test_good_rows_are_accepted_under_their_hash(rows: pa.Table, tmp_path: Path) -> None:
    verdict = validate(rows, tmp_path)
    assert verdict.accepted == {"flights": {"2013-01": files.sha256(tmp_path / "2013-01.parquet")}}
    assert verdict.findings == []
    assert len(verdict.expectations["flights"]) > 30


@pytest.mark.parametrize(
    ("row", "values", "column", "expectation", "example"),
    [
        (5, {"origin": "XXX"}, "origin", "in_set", "XXX"),
        (5, {"air_time": 4}, "air_time", "between", "4"),
        (5, {"origin": None}, "origin", "not_be_null", "null"),
        (5, {"carrier": None}, "carrier", "not_be_null", "null"),
    ],
)
def test_an_offending_value_is_shown_with_its_key(
    rows: pa.Table, tmp_path: Path, row: int, values: dict[str, Any], column: str, expectation: str, example: str
) -> None:
    verdict = validate(altered(rows, row, **values), tmp_path)
    assert verdict.accepted == {}
    (finding,) = verdict.findings
    assert (finding.column, finding.rows, finding.severity) == (column, 1, "reject")
    assert expectation in finding.expectation
    assert finding.examples[0][column] == example
    assert finding.examples[0]["flight"] == str(rows["flight"][row].as_py())


def test_a_duplicated_key_and_a_time_outside_the_batch_are_found(rows: pa.Table, tmp_path: Path) -> None:
    verdict = validate(pa.concat_tables([rows, rows.slice(0, 1)]), tmp_path)
    assert [finding.expectation.split("(")[0] for finding in verdict.findings] == [
        "expect_compound_columns_to_be_unique"
    ]
    start, end = bounds("2013-01", ZONE)
    for time, findings in ((start, 0), (end, 1)):
        verdict = validate(altered(rows, 3, time_hour=time), tmp_path)
        assert [finding.column for finding in verdict.findings].count("time_hour") == findings


def test_no_rows_and_a_changed_unit_are_found(rows: pa.Table, tmp_path: Path) -> None:
    (empty,) = [
        finding for finding in validate(rows.slice(0, 0), tmp_path).findings if "row_count" in finding.expectation
    ]
    assert empty.observed == "observed 0"
    miles = rows["distance"].to_pylist()
    kilometres = rows.set_column(
        rows.column_names.index("distance"), "distance", pa.array([int(d * 1.609) for d in miles])
    )
    columns = {finding.column for finding in validate(kilometres, tmp_path).findings}
    assert columns == {"distance"}


def test_warn_reports_and_lets_pass(rows: pa.Table, tmp_path: Path) -> None:
    verdict = validate(altered(rows, 5, dep_delay=(rows["dep_delay"][5].as_py() or 0) + 4 * 1440), tmp_path)
    assert [(finding.column, finding.severity) for finding in verdict.findings] == [("dep_delay", "warn")]
    assert "flights" in verdict.accepted


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [("expect_nothing", {}), ("expect_column_mean_to_be_between", {"column": "absent", "min_value": 1})],
)
def test_an_expectation_that_cannot_be_is_named(
    rows: pa.Table, tmp_path: Path, kind: str, kwargs: dict[str, Any]
) -> None:
    table = FLIGHTS.model_copy(update={"expectations": [Expectation(type=kind, kwargs=kwargs)]})
    with pytest.raises(KibanError, match=r"flights 2013-01: .*expect_"):
        validate(rows, tmp_path, table)


def test_two_expectations_of_one_type_and_column_are_both_checked(rows: pa.Table) -> None:
    own = Expectation(type="expect_column_values_to_be_between", kwargs={"column": "distance", "min_value": 1})
    table = FLIGHTS.model_copy(update={"expectations": [own, own]})
    assert table.columns["distance"].min
    short = altered(rows, 5, distance=0)
    found = expectations.check(short, table, "flights", "2013-01", ZONE)
    assert [(finding.column, finding.rows) for finding in found] == [("distance", 1), ("distance", 1)]
