"""CSV is what Python's strict reader, the endpoint's, says that it is, wherever a piece of the file ends."""

import csv
import io
import random
from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.data.written import WrittenFile
from kiban.score.read import opened
from kiban.sources import text as csv_text

PARTS = ['"', '"', ",", "\n", "\r\n", "a", "b", " ", "é", '""', '"a",', ',"b"\n']
OPEN = "a quote is opened and not closed"


def by_python(text: str) -> list[list[str] | None] | str:
    """The records, None for one that is malformed; or OPEN."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[list[str] | None] = []
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return found
        except csv.Error as error:
            if "expected after" not in str(error):
                return OPEN
            found.append(None)
            continue
        if record:
            found.append(record if len(record) == 2 else None)


def by_opened(file: Path) -> list[list[str] | None] | str:
    found: dict[int, list[str] | None] = {}
    try:
        with opened(str(file), WrittenFile()) as table:
            for piece in table.pieces:
                rows = [[row["p"] or "", row["q"] or ""] for row in piece.rows.to_pylist()]
                found |= dict(zip(piece.numbers, rows, strict=True))
                found |= {each.row: None for each in piece.malformed}
    except KibanError as error:
        return OPEN if OPEN in str(error) else str(error)
    assert sorted(found) == list(range(1, len(found) + 1))
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("size", [1, 3, 8, 1 << 20])
def test_any_text_is_read_as_by_python(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "PIECE", size)
    chosen, file = random.Random(size), tmp_path / "in.csv"
    kinds = set()
    for _ in range(1500):
        text = "".join(chosen.choices(PARTS, k=chosen.randint(0, 16)))
        file.write_bytes(f"p,q\n{text}".encode())
        expected = by_python(text)
        assert by_opened(file) == expected, text
        kinds.add(OPEN if expected == OPEN else None in expected)
    assert kinds == {OPEN, True, False}


def test_a_line_without_an_end_is_no_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "PIECE", 1000)
    monkeypatch.setattr(csv_text, "LONGEST", 1 << 20)
    (tmp_path / "in.csv").write_bytes(b"p,q\n1,2\n" + b"x" * (2 << 20))
    with (
        pytest.raises(KibanError, match=r"in\.csv, line 3 has more than 1 MB: is it CSV\?$"),
        opened(str(tmp_path / "in.csv"), WrittenFile()) as table,
    ):
        list(table.pieces)
