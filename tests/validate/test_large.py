from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from slice import HISTORY

from kiban.core import memo, paths
from kiban.core.errors import KibanError
from kiban.data import contract, parquet, pieces
from kiban.data.contract import Column, Expectation, Table
from kiban.validate import check, expectations, large

ZONE = "America/New_York"


def between(kind: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    return f"expect_column_{kind}_to_be_between", kwargs


EXPECTED = [
    between("mean", column="number", min_value=1, max_value=2.5),
    between("mean", column="flag", max_value=0.6),
    between("min", column="number", min_value=0, strict_min=True),
    between("max", column="number", max_value=4),
    between("sum", column="number", max_value=20),
    between("median", column="number", min_value=1, max_value=3),
    between("stdev", column="number", max_value=1.5),
    between("unique_value_count", column="text", min_value=2, max_value=3),
    between("proportion_of_unique_values", column="text", max_value=0.5),
    between("proportion_of_non_null_values", column="text", min_value=0.7),
    ("expect_table_row_count_to_be_between", {"max_value": 12}),
    ("expect_table_row_count_to_equal", {"value": 10}),
    (
        "expect_column_quantile_values_to_be_between",
        {
            "column": "number",
            "quantile_ranges": {"quantiles": [0.1, 0.5, 0.9], "value_ranges": [[0, 2], [1, 3], [None, 4]]},
        },
    ),
    ("expect_column_values_to_be_unique", {"column": "number", "mostly": 0.5}),
    ("expect_column_values_to_be_unique", {"column": "text"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["number", "text"]}),
    ("expect_column_values_to_not_be_null", {"column": "text", "mostly": 0.7}),
    ("expect_column_values_to_be_null", {"column": "flag", "mostly": 0.3}),
    ("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["a", "b"], "mostly": 0.6}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 1, "max_value": 3}),
    ("expect_column_values_to_match_regex", {"column": "text", "regex": "^[ab]", "mostly": 0.5}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "number", "column_B": "id", "mostly": 0.2}),
    ("expect_table_columns_to_match_set", {"column_set": ["id", "number"], "exact_match": True}),
]
TABLE = Table(
    description="",
    key=["id"],
    columns={
        "id": Column(type="integer", description=""),
        "number": Column(type="integer", description="", nullable=True, min=0, max=4, out_of_range="warn"),
        "text": Column(type="string", description="", nullable=True, levels=["a", "b", "c"]),
        "flag": Column(type="boolean", description="", nullable=True),
    },
    expectations=[Expectation(type=kind, kwargs=kwargs) for kind, kwargs in EXPECTED],
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 5)),
        st.one_of(st.none(), st.sampled_from(["a", "b", "ab", "d"])),
        st.one_of(st.none(), st.booleans()),
    ),
    min_size=5,
    max_size=16,
)


# Great Expectations takes a second an example: what fails is shown as it is, not shrunk.
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ROWS)
def test_a_batch_in_pieces_has_the_findings_of_one_at_once(
    rows: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, texts, flags = ([row[place] for row in rows] for place in range(3))
    ids = [*range(len(rows) - 1), 0]  # the first and the last have one key
    columns = zip(TABLE.columns, (ids, numbers, texts, flags), strict=True)
    table = pa.table(dict(columns), parquet.schema(TABLE))
    parquet.write(table, tmp_path / "batch.parquet")
    monkeypatch.setattr(pieces, "LARGE", 3)
    at_once = expectations.check(table, TABLE, "orders", "static", ZONE)
    in_pieces = large.check(tmp_path / "batch.parquet", TABLE, "orders", "static", ZONE, tmp_path)
    for one, other in zip(in_pieces, at_once, strict=True):
        assert one.model_dump() == other.model_dump()


def test_large_numbers_are_whole(tmp_path: Path) -> None:
    kind, kwargs = between("max", column="number", max_value=2**53)  # above it a double is no whole number
    table = TABLE.model_copy(update={"expectations": [Expectation(type=kind, kwargs=kwargs)]})
    rows = {"id": [1, 2], "number": [2, 2**53 + 1], "text": ["a", "a"], "flag": [True, True]}
    parquet.write(pa.table(rows, parquet.schema(table)), tmp_path / "batch.parquet")
    findings = large.check(tmp_path / "batch.parquet", table, "orders", "static", ZONE, tmp_path)
    assert f"{kind}(max_value={2**53})" in [finding.expectation for finding in findings]


def test_what_pieces_cannot_tell_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "batch.parquet"
    for kind, kwargs, reason in [
        ("expect_column_value_z_scores_to_be_less_than", {"column": "number", "threshold": 3}, "cannot be checked"),
        ("expect_column_max_to_be_between", {"column": "text", "max_value": "b"}, "can be checked of numbers only"),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["number", "text"], "ignore_row_if": "never"},
            "can be checked with ignore_row_if all_values_are_missing only",
        ),
    ]:
        table = TABLE.model_copy(update={"expectations": [Expectation(type=kind, kwargs=kwargs)]})
        with pytest.raises(KibanError, match=f"orders static: {kind} {reason} in a batch of more than 1,048,576 rows"):
            large.check(path, table, "orders", "static", ZONE, tmp_path)


def test_real_batches_have_one_verdict_whether_they_are_large_or_not(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = contract.read_raw(paths.raw_contract("flights"))
    weather = parquet.read(paths.raw_file("flights", "weather", "2013-02"))
    humid = weather["humid"].to_pylist()
    wrong = weather.set_column(weather.column_names.index("humid"), "humid", pa.array([200.0, *humid[1:]]))
    parquet.write(wrong, tmp_path / "2013-02.parquet")
    files = {
        ("flights", "2013-01"): paths.raw_file("flights", "flights", "2013-01"),
        ("weather", "2013-02"): tmp_path / "2013-02.parquet",
    }
    at_once = check.validate(tables, files, ZONE, HISTORY)
    assert [finding.column for finding in at_once.findings] == ["humid"]
    monkeypatch.setattr(pieces, "LARGE", 300)
    monkeypatch.setattr(memo, "recall", lambda key, kind: None)
    assert check.validate(tables, files, ZONE, HISTORY) == at_once


def test_a_wrong_argument_is_no_expectation_of_a_large_batch_either(tmp_path: Path) -> None:
    own = Expectation(type="expect_column_max_to_be_between", kwargs={"column": "number", "max": 3})
    table = TABLE.model_copy(update={"expectations": [own]})
    with pytest.raises(
        KibanError, match="the contract's expect_column_max_to_be_between .* is not a valid expectation"
    ):
        large.check(tmp_path / "batch.parquet", table, "orders", "static", ZONE, tmp_path)
