"""What is bad on disk or in the ledger is caught before prepare, with a cause, and nothing that was there is lost.

What is bad at the source: test_bad_sources.py.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from slice import run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.ingest import ledger

Lines = dict[str, list[str]]
RAW = Path("data/raw/flights/flights/2013-02.parquet")


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
    saved = paths.ledger("flights").read_bytes()
    with_source(
        **{**slices, "flights": [re.sub(r"^(2013,2,.*),1400,", r"\1,1401,", line) for line in slices["flights"]]}
    )
    paths.ledger("flights").write_bytes(saved)
    with pytest.raises(KibanError, match=r"flights 2013-02 .*: the source has other rows now"):
        run_stage("ingest")
    assert not RAW.exists()
    assert RAW.with_name("2013-01.parquet").exists()


def test_no_ledger_says_what_to_do(project: Path) -> None:
    paths.ledger("flights").unlink()
    with pytest.raises(KibanError, match="has no batch of flights: run `kiban ingest --new`"):
        run_stage("ingest")
    assert RAW.exists()


def test_a_ledger_of_other_tables_is_refused(project: Path) -> None:
    recorded = ledger.read(paths.ledger("flights"))
    ledger.write(paths.ledger("flights"), {**recorded, "trains": recorded["planes"]})
    with pytest.raises(KibanError, match="has the table trains, which conf/dataset lacks"):
        run_stage("ingest")
    assert RAW.exists()


def test_raw_data_altered_after_its_validation_is_not_prepared(project: Path) -> None:
    RAW.write_bytes(RAW.read_bytes()[:5000])
    missing = Path("data/prepared/flights/2013-02.parquet")
    missing.unlink()  # so that it has to be computed
    prepared = {path: path.read_bytes() for path in Path("data/prepared").rglob("*.parquet")}
    with pytest.raises(KibanError, match=r"2013-02\.parquet is not the file that was validated"):
        run_stage("prepare")
    assert all(path.read_bytes() == content for path, content in prepared.items())
    assert not missing.exists()


def test_a_table_without_a_batch_that_another_has_stops(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = ledger.read(paths.ledger("flights"))
    del recorded["weather"]["2013-02"]
    ledger.write(paths.ledger("flights"), recorded)
    with pytest.raises(KibanError, match="weather 2013-02 did not pass validation"):
        run_stage("validate_raw")
    assert "batch in every table" in capsys.readouterr().err
