"""The features in the SQL of engines that were never reached: it compiles, and its windows are over whole seconds."""

import re

import ibis
import pytest
from slice import ROOT

from kiban.data import contract
from kiban.features import flights
from kiban.prepare.batch import IBIS_TYPES

RAW = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")


@pytest.mark.parametrize("dialect", ["bigquery", "snowflake", "trino", "databricks", "postgres"])
def test_the_features_compile(dialect: str) -> None:
    tables = {
        name: ibis.table({column: IBIS_TYPES[each.type] for column, each in table.columns.items()}, name=name)
        for name, table in RAW.items()
    }
    sql = str(ibis.to_sql(flights.features(tables), dialect=dialect))
    lengths = {int(seconds) for seconds in re.findall(r"RANGE BETWEEN (\d+) PRECEDING AND CURRENT ROW", sql.upper())}
    assert lengths == {seconds for _, seconds in {**flights._MEAN_DELAYS, **flights._WAITING}.values()}
