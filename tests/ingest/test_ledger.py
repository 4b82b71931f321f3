from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.ingest import ledger
from kiban.ingest.ledger import Entry


def entry(rows: int) -> Entry:
    return Entry(rows=rows, bytes=100, sha256="ab", source="somewhere", taken_at="2013-02-01T00:00:00+00:00")


def test_what_is_written_is_read_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "flights.batches.yaml"
    written = {"weather": {"2013-02": entry(2), "2013-01": entry(1)}, "flights": {"static": entry(3)}}
    ledger.write(path, written)
    assert ledger.read(path) == written
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    assert [line for line in lines if not line.startswith("    ")][1:] == [
        "flights:",
        "  static:",
        "weather:",
        "  2013-01:",
        "  2013-02:",
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "flights.batches.yaml") == {}


@pytest.mark.parametrize("text", ["flights: [", "flights: {2013-01: {rows: many}}", "flights: {2013-01: {rows: 1}}"])
def test_a_damaged_ledger_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flights.batches.yaml"
    path.write_text(text)
    with pytest.raises(KibanError, match="restore it with `git checkout`"):
        ledger.read(path)
