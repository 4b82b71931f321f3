"""Real tables by name, each with what it taught. Those of packages are read there, the others are slices."""

import importlib.util
from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.data.contract import ROW_HASH
from kiban.profile import run
from kiban.profile.wishes import Wishes

pytestmark = pytest.mark.usefixtures("without_comparison")
SLICES = Path(__file__).parent / "real_tables"


def planned(table: str, target: str) -> run.Plan:
    """The plan for a slice, or for a file `package/file` of an installed package."""
    package, _, file = table.partition("/")
    if not file:
        return run.of_files(str(SLICES / f"{table}.csv"), Wishes(target))
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return run.of_files(f"{spec.submodule_search_locations[0]}/{file}", Wishes(target))


def left_out(plan: run.Plan) -> dict[str, str]:
    """The columns that are left out, with the first words of the reason."""
    return {name: use.reason or "" for name, use in plan.uses.items() if use.role == "info"}


def test_titanic_names_are_text_and_the_rarer_value_is_positive() -> None:
    plan = planned("titanic", "survived")
    assert left_out(plan) == {"name": "free text"}
    assert plan.table.columns["survived"].positive == 1
    assert plan.table.columns["class"].levels == ["*", "1st", "2nd", "3rd"]


def test_superstore_a_country_is_one_value_and_equal_rows_have_keys_of_their_own() -> None:
    plan = planned("superstore", "Profit")
    assert left_out(plan) == {"Country": "it has only one value"}
    (rows,) = plan.rows.values()
    keys = rows[ROW_HASH].to_pylist()
    assert len(set(keys)) == len(keys)
    assert any(key.endswith("-2") for key in keys)


def test_cgm_a_word_among_numbers_is_null() -> None:
    plan = planned("cgm", "glucose")
    assert plan.table.columns["isig"].type == "number"
    assert plan.notes["isig"] == ["'nil' stands for null"]
    (rows,) = plan.rows.values()
    assert rows["isig"].null_count > 0


def test_auto_mpg2_pandas_index_is_known() -> None:
    assert left_out(planned("auto_mpg2", "class")) == {"": "pandas' index, a row number"}


def test_airports_codes_names_and_empty_columns_are_left_out() -> None:
    reasons = left_out(planned("airports", "Altitude"))
    assert reasons["IATA"] == reasons["ICAO"] == "an identifier: another value in nearly every row"
    assert reasons["Name"] == "free text"
    assert reasons["source"] == "it has only one value"
    assert "Latitude" not in reasons


def test_elements_sodium_is_no_missing_value() -> None:
    plan = planned("elements", "metal")
    assert any("'Na' is text here" in note for note in plan.notes["symbol"])
    assert plan.notes["group"] == ["'-' stands for null"]
    assert plan.table.columns["atomic mass"].type == "string"  # [98]


def test_sprint_a_quote_after_a_space_is_refused_by_its_row() -> None:
    with pytest.raises(KibanError, match=r"sprint\.csv, row \d+: wrong quotes"):
        planned("sprint", "     Time")


def test_unemployment_a_file_without_names_is_refused() -> None:
    with pytest.raises(KibanError, match="its first line has '01', '001', '2009' for names of columns"):
        planned("unemployment", "9.7")


def test_marriages_years_are_no_row_numbers() -> None:
    assert planned("marriages", "Marriages").table.columns["Year"].role == "feature"


def test_cycling_durations_are_text() -> None:
    assert left_out(planned("cycling", "power"))["time"] == "free text"


@pytest.mark.parametrize(
    ("table", "target", "leaks"),
    [
        ("mroz", "inlf", {"hours", "wage", "lwage"}),  # there for those who work, 0 or missing for others
        ("bwght", "bwght", {"lbwght", "bwghtlbs"}),  # its logarithm, and another unit
        ("affairs", "affair", {"naffairs"}),  # the number of what is yes or no
    ],
)
def test_what_is_computed_from_the_target_is_a_leak(table: str, target: str, leaks: set[str]) -> None:
    reasons = left_out(planned(table, target))
    assert {name for name, reason in reasons.items() if reason.startswith("tells the target by itself")} == leaks


def test_recid_a_column_that_may_be_honest_is_kept_and_said() -> None:
    plan = planned("recid", "cens")
    use = plan.uses["durat"]
    assert use.role == "feature"
    assert "tells nearly all of the target by itself" in str(use.note)


def test_us_employment_amounts_are_no_identifiers() -> None:
    """120 of them are all different, and have as many digits."""
    plan = planned("vega_datasets/_data/us-employment.csv", "nonfarm")
    assert left_out(plan) == {}
    assert plan.table.columns["month"].type == "date"


def test_stocks_dates_begin_with_the_name_of_the_month() -> None:
    plan = planned("vega_datasets/_data/stocks.csv", "price")
    assert plan.table.columns["date"].type == "date"
    assert plan.notes["date"] == ["dates like Jan 1 2000"]


def test_vega_airports_a_state_called_na_is_a_level() -> None:
    levels = planned("vega_datasets/_data/airports.csv", "state").table.columns["state"].levels
    assert levels is not None
    assert "NA" in levels
