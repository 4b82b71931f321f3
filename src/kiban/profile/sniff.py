"""How a text file is written: its encoding, the sign between values, and the lines before the header."""

import codecs
import csv
import io
from collections import Counter
from typing import NamedTuple

from kiban.core.errors import KibanError, one_line
from kiban.data.written import WrittenFile
from kiban.sources.given import File

DELIMITERS = (",", ";", "\t", "|")
MOST_RECORDS = 5000  # that tell the sign between values


class Sniffed(NamedTuple):
    """How a file is written, and what a person should know about it."""

    written: WrittenFile
    notes: list[str]


def sniffed(file: File) -> Sniffed:
    """How a text file is written. Raises KibanError if it is no table."""
    encoding, text, notes = _decoded(file)
    if not text.strip():
        raise KibanError(f"{file.name} is empty")
    delimiter, width, share = max((_widths(text, sign) for sign in DELIMITERS), key=lambda tried: (tried[2], tried[1]))
    if width == 1:
        delimiter = ","
    if share < 0.5:
        raise KibanError(f"{file.name}: its lines have no common number of values: is it a table?")
    skip = _lines_before(text, delimiter, width)
    if skip:
        notes.append(f"{skip} line{'s' * (skip > 1)} before the names of the columns: not read")
    return Sniffed(WrittenFile(delimiter=delimiter, encoding=encoding, skip=skip), notes)  # type: ignore[arg-type]


def _decoded(file: File) -> tuple[str, str, list[str]]:
    """The encoding, the text, and notes. Raises KibanError for bytes that no encoding here reads."""
    content = file.content
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", _decode(file, "utf-16"), ["encoding UTF-16"]
    if b"\0" in content:
        raise KibanError(f"{file.name} has bytes that are no text: is it a table in CSV?")
    try:
        return "utf-8", content.removeprefix(codecs.BOM_UTF8).decode(), []
    except UnicodeDecodeError as error:
        text = _decode(file, "cp1252")
        before = content[: error.start].rpartition(b"\n")[2]
        word = content[error.start - min(len(before), 12) : error.start + 12].decode("cp1252").strip()
        return "cp1252", text, [f"encoding cp1252 (Windows), since it is not UTF-8: reads …{one_line(word)}…"]


def _decode(file: File, encoding: str) -> str:
    try:
        return file.content.decode(encoding)
    except UnicodeDecodeError as error:
        raise KibanError(f"{file.name} is neither UTF-8 nor cp1252 ({error.reason}): save it as UTF-8") from None


def _records(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    try:
        for record in reader:
            if record:
                records.append(record)
            if len(records) == MOST_RECORDS:
                break
    except csv.Error:  # what is read so far tells enough; the strict reader names the row
        pass
    return records


def _widths(text: str, delimiter: str) -> tuple[str, int, float]:
    """The most usual number of values of a line with this sign, and the share of lines that have it, 0 if it is one."""
    counts = Counter(len(record) for record in _records(text, delimiter))
    if not counts:
        return delimiter, 1, 0.0
    width, lines = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
    share = lines / counts.total()
    # A file of one column has no sign between values, and is taken as one only if nothing else fits.
    return delimiter, width, share if width > 1 else min(share, 0.5)


def _lines_before(text: str, delimiter: str, width: int) -> int:
    """The number of lines before the first record of this width."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    before = 0
    try:
        for record in reader:
            if len(record) == width:
                return before
            before = reader.line_num
    except csv.Error:
        pass
    return 0
