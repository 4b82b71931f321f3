import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.evaluate.bootstrap import Difference
from kiban.evaluate.clusters import clusters
from kiban.evaluate.settings import Gate
from kiban.review.comparison import judge, paired

TIMEZONE = "America/New_York"


@pytest.fixture
def predictions(project: Path) -> pa.Table:
    return parquet.read(Path("reports/predictions.parquet"))


@pytest.mark.parametrize(
    ("low", "high", "judged"),
    [
        (0.003, 0.01, "better"),
        (-0.01, -0.003, "worse"),
        (0.001, 0.01, "no clear difference"),
        (-0.01, 0.01, "no clear difference"),
        (0.0, 0.0, "no clear difference"),
        (-0.01, -0.001, "no clear difference"),
    ],
)
def test_only_an_interval_wholly_beyond_the_least_change_counts(low: float, high: float, judged: str) -> None:
    gate = Gate(metric="roc_auc", split="test", threshold=0.7, minimum_change=0.002, cluster="day")
    assert judge(Difference(0.7, 0.7 + (low + high) / 2, low, high), gate) == judged
    opposite = {"better": "worse", "worse": "better"}.get(judged, judged)
    assert (
        judge(Difference(0.7, 0.7 + (low + high) / 2, low, high), gate.model_copy(update={"metric": "rmse"}))
        == opposite
    )


def test_only_rows_that_both_tested_are_compared_each_with_its_own_scores(predictions: pa.Table) -> None:
    test = predictions.filter(pc.field("split") == "test")
    shuffled = predictions.take(np.random.default_rng(0).permutation(len(predictions)))
    fewer = shuffled.filter(pc.field("carrier") != "UA")
    halved = fewer.set_column(fewer.column_names.index("score"), "score", pc.divide(fewer["score"], 2.0))
    rows = paired(predictions, halved, "test")
    assert 0 < len(rows) == pc.sum(pc.not_equal(test["carrier"], "UA")).as_py() < len(test)
    assert pc.all(pc.equal(rows["after"], pc.divide(rows["before"], 2.0))).as_py()


def test_versions_that_identify_rows_otherwise_have_none_in_common(predictions: pa.Table) -> None:
    assert len(paired(predictions, predictions.drop_columns(["carrier"]), "test")) == 0


def test_a_day_is_that_of_the_clocks_where_the_data_is_at_home(predictions: pa.Table) -> None:
    codes = clusters(predictions, "day", "scheduled_departure", TIMEZONE)
    local = predictions["scheduled_departure"].to_pandas().dt.tz_convert(TIMEZONE)
    assert len(set(codes)) == local.dt.date.nunique()
    evening = (local.dt.hour >= 20).to_numpy()  # the next day in UTC
    assert evening.any()
    for code in set(codes[evening]):
        assert local[codes == code].dt.date.nunique() == 1


def test_a_column_of_the_key_may_be_the_cluster(predictions: pa.Table) -> None:
    codes = clusters(predictions, "carrier", "scheduled_departure", TIMEZONE)
    assert codes.max() + 1 == len(pc.unique(predictions["carrier"]))


@pytest.mark.parametrize(("cluster", "time"), [("score", "scheduled_departure"), ("hour", None), ("day", None)])
def test_what_is_no_cluster_is_said(predictions: pa.Table, cluster: str, time: str | None) -> None:
    renamed = predictions.rename_columns({"score": "before"})
    with pytest.raises(KibanError, match=rf"gate\.cluster: '{cluster}' is not one of "):
        clusters(renamed, cluster, time, TIMEZONE)


def test_a_report_holds_what_is_in_a_table_in_its_cell() -> None:
    from kiban.review.report import cell, code, signed

    assert cell("a|b\nc<!-- pictures -->") == r"a\|b<br>c&lt;!-- pictures --&gt;"
    assert cell("@team ![x](http://h) `c`") == r"&#64;team !\[x\](http://h) \`c\`"
    assert code("a|b`c\n") == r"`a\|b c\n`"
    assert cell(None) == "–"
    assert signed(-0.01234) == "−0.0123"
    assert re.fullmatch(r"\+0\.0000", signed(0.0))
