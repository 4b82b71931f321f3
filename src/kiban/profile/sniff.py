"""How a text file is written: its encoding, the sign between values, and the lines before the header."""

import codecs
import csv
import io
import re
from collections import Counter
from typing import NamedTuple

from kiban.core.errors import KibanError, one_line
from kiban.data.written import WrittenFile
from kiban.sources.given import File

DELIMITERS = (",", ";", "\t", "|")
LEAST_SHARE = 0.5
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
    ways = [_way(text, sign) for sign in DELIMITERS]
    best = max(ways, key=lambda way: (way.width > 1, way.share, -way.before, way.width))
    if best.share < LEAST_SHARE:
        raise KibanError(f"{file.name}: its lines have no common number of values: is it a table?")
    if best.is_narrow:
        raise KibanError(
            f"{file.name}: the line of names has one name fewer than the rows have values: name the first column"
        )
    if numbers := _numbers(best.names):
        raise KibanError(
            f"{file.name}: its first line has {', '.join(map(repr, numbers[:3]))} for names of columns, as a row has: "
            "write a line with the names before it"
        )
    if best.before:
        notes.append(f"{best.before} line{'s' * (best.before > 1)} before the names of the columns: not read")
    delimiter, skip = best.delimiter if best.width > 1 else ",", best.before
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


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The first records, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[tuple[int, list[str]]] = []
    try:
        for record in reader:
            if record:
                records.append((reader.line_num, record))
            if len(records) == MOST_RECORDS:
                break
    except csv.Error:  # what is read so far tells enough; the strict reader names the row
        pass
    return records


def _numbers(names: list[str]) -> list[str]:
    """The names that are numbers, if there are several: then they are the values of a row. Ascending whole numbers,
    such as years, may be names."""
    numbers = [name.strip() for name in names if re.fullmatch(r"\s*[-+]?\d[\d.,]*\s*", name)]
    whole = [int(number) for number in numbers if re.fullmatch(r"0|[1-9]\d*", number)]
    is_ascending = len(whole) == len(numbers) and whole == sorted(set(whole))
    return [] if len(numbers) < 2 or is_ascending else numbers


class Way(NamedTuple):
    """What a sign between values makes of a text: the most usual number of values, and the share of lines that have it.

    `before` is the number of lines before the first such, which do not count for the share. `is_narrow` says that the
    last of these has one value less, as the line of names has that R writes with names of rows. `names` is the first
    line that counts.
    """

    delimiter: str
    width: int
    share: float
    before: int
    is_narrow: bool
    names: list[str]


def _way(text: str, delimiter: str) -> Way:
    records = _records(text, delimiter)
    widths = [len(record) for _, record in records]
    counts = Counter(widths)
    width = max(counts, key=lambda each: (counts[each], each), default=1)
    if width == 1:
        return Way(delimiter, 1, 1.0 if len(counts) == 1 else 0.0, 0, False, [])
    first = widths.index(width)
    before = records[first - 1][0] if first else 0
    is_narrow = first > 0 and width > 2 and widths[first - 1] == width - 1
    return Way(delimiter, width, counts[width] / (len(widths) - first), before, is_narrow, records[first][1])
