from datetime import UTC, datetime

import pytest

from kiban.core.errors import KibanError
from kiban.data.batches import bounds, with_lookback


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("2013", datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2014, 1, 1, 5, tzinfo=UTC)),
        ("2013-12", datetime(2013, 12, 1, 5, tzinfo=UTC), datetime(2014, 1, 1, 5, tzinfo=UTC)),
        ("2013-03", datetime(2013, 3, 1, 5, tzinfo=UTC), datetime(2013, 4, 1, 4, tzinfo=UTC)),  # summer time begins
        ("2013-11-03", datetime(2013, 11, 3, 4, tzinfo=UTC), datetime(2013, 11, 4, 5, tzinfo=UTC)),  # it ends: 25 h
    ],
)
def test_a_name_gives_local_bounds(name: str, start: datetime, end: datetime) -> None:
    actual = bounds(name, "America/New_York")
    assert [bound.astimezone(UTC) for bound in actual] == [start, end]


@pytest.mark.parametrize(
    "name",
    ["2013-13", "13-01", "2013-1", "static", "2013-02-30", "2013-01; drop", "0000", "2013-00", "9999", "9999-12-31"],
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(KibanError, match="must be a year, a month or a day"):
        bounds(name, "UTC")


def test_lookback_takes_the_batches_that_reach_into_it() -> None:
    names = ["2013-01", "2013-02", "2013-03", "2013-04"]
    assert with_lookback("2013-03", names, 16, "UTC") == ["2013-02", "2013-03"]
    assert with_lookback("2013-03", names, 29, "UTC") == ["2013-01", "2013-02", "2013-03"]
    assert with_lookback("2013-01", names, 16, "UTC") == ["2013-01"]
    days = [f"2013-01-{day:02d}" for day in range(1, 32)]
    assert with_lookback("2013-01-20", days, 2, "UTC") == ["2013-01-18", "2013-01-19", "2013-01-20"]
