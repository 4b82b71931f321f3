from pathlib import Path

import pytest

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import parquet, prepared, verdict


def test_accepted_batches_are_read_in_order(project: Path) -> None:
    batches = prepared.accepted()
    assert list(batches) == ["2013-01", "2013-02", "2013-03"]
    rows = prepared.read("flights", dict(reversed(batches.items())))
    times = rows["scheduled_departure"].to_pylist()
    assert times == sorted(times)


def test_what_is_read_is_what_was_hashed(project: Path) -> None:
    """Even if another file takes the place of a batch between the two."""
    path, other = paths.prepared_file("flights", "2013-02"), paths.prepared_file("flights", "2013-03")
    digest = prepared.accepted()["2013-02"]
    with verdict.opened(path, digest) as file:
        other.replace(path)
        rows = parquet.read_open(file)
    assert {time.month for time in rows["scheduled_departure"].to_pylist()[200:400]} == {2}
    with pytest.raises(KibanError, match="is not the file that was validated"):
        prepared.read("flights", {"2013-02": digest})


@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_a_file_that_is_not_the_validated_one_is_refused(project: Path, damage: str) -> None:
    path = paths.prepared_file("flights", "2013-02")
    if damage == "alter":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.unlink()
    with pytest.raises(KibanError, match=r"2013-02\.parquet is not the file that was validated"):
        prepared.read("flights", prepared.accepted())
