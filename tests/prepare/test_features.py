import ibis
import pytest

from kiban.core.errors import KibanError
from kiban.prepare.features import load


def test_a_file_of_features_says_of_which_table_its_rows_are() -> None:
    features = load("flights.py", ["flights", "planes", "weather"])
    assert (features.rows_of, features.lookback_days, features.module) == ("flights", 17, "kiban.features.flights")


def test_without_features_the_columns_of_the_one_table_are_prepared_as_they_are() -> None:
    features = load("columns.py", ["orders"])
    table = ibis.memtable({"number": [1, 2], "paid": [True, False]})
    assert features.rows_of == "orders"
    assert features.compute({"orders": table}).to_pyarrow().to_pydict() == {"number": [1, 2], "paid": [True, False]}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere.py", r"dataset\.features: there is no file src/kiban/features/nowhere\.py"),
        ("columns.py", "ROWS_OF is None, but the raw tables are orders, customers"),
        ("flights.py", "ROWS_OF is 'flights', but the raw tables are orders, customers"),
    ],
)
def test_what_cannot_be_the_features_of_a_dataset_is_said(file: str, message: str) -> None:
    with pytest.raises(KibanError, match=message):
        load(file, ["orders", "customers"])
