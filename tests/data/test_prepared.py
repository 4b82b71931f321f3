from pathlib import Path

import pytest

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import prepared


def test_accepted_batches_are_read_in_order(project: Path) -> None:
    batches = prepared.accepted("flights")
    assert list(batches) == ["2013-01", "2013-02", "2013-03"]
    rows = prepared.read("flights", reversed(batches))
    times = rows["scheduled_departure"].to_pylist()
    assert times == sorted(times)


@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_a_file_that_is_not_the_validated_one_is_refused(project: Path, damage: str) -> None:
    path = paths.prepared_file("flights", "2013-02")
    if damage == "alter":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.unlink()
    with pytest.raises(KibanError, match=r"2013-02\.parquet is not the file that was validated"):
        prepared.accepted("flights")
