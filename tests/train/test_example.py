"""The typical row."""

import pyarrow as pa

from kiban.data.contract import Column
from kiban.train.example import typical

FEATURES = {
    "word": Column(type="string", description="", role="feature", levels=["a", "b"], nullable=True),
    "count": Column(type="integer", description="", role="feature", nullable=True),
    "share": Column(type="number", description="", role="feature", nullable=True),
    "flag": Column(type="boolean", description="", role="feature", nullable=True),
}


def test_medians_and_the_most_frequent_values_without_nulls() -> None:
    rows = pa.table(
        {
            "word": ["b", "a", None, None, None],
            "count": pa.array([1, 2, 9, 10, None]),
            "share": pa.array([0.123456789, 0.5, None, None, 0.0]),
            "flag": [True, True, False, None, None],
        }
    )
    assert typical(rows, FEATURES) == {"word": "a", "count": 2, "share": 0.123457, "flag": True}


def test_rounding_does_not_leave_what_was_seen() -> None:
    rows = pa.table({"share": [0.12345678, 0.12345678]})
    assert typical(rows, {"share": FEATURES["share"]}) == {"share": 0.12345678}


def test_what_was_never_seen_is_null() -> None:
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
    rows = pa.table({name: pa.nulls(2, kind) for name, kind in zip(FEATURES, kinds, strict=True)})
    assert typical(rows, FEATURES) == dict.fromkeys(FEATURES)
