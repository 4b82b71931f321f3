import ibis
import pytest

from kiban.data import exact


@pytest.mark.parametrize(
    ("values", "decimals", "expected"),
    [
        ([12, 12, 12, 13], 2, 12.25),
        ([1, 2], 0, 2),
        ([-1, -2], 0, -2),  # half away from zero, on both sides
        ([489, 0, 0, 0, 0, 0, 0, 0] * 5, 2, 61.13),  # 61.125
        ([-1, 0, 0], 2, -0.33),
        ([None, 3, None], 1, 3.0),
        ([None], 2, None),
    ],
)
def test_a_mean_of_whole_numbers_is_rounded_half_away_from_zero(
    values: list[int | None], decimals: int, expected: float | None
) -> None:
    table = ibis.memtable({"value": values}, schema={"value": "int64"})
    mean = exact.mean(table.value.sum().fill_null(0), table.value.count(), decimals)
    assert table.aggregate(mean=mean).to_pyarrow()["mean"].to_pylist() == [expected]
