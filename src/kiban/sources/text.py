"""CSV, read strictly, with every column as text. The contract gives the types later, so that an error names the value.

The data of training and the rows to score are read by the same reader. Arrow and most other readers accept a quote that
is not closed, and read the rest of the file as one value.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv

from kiban.core.errors import KibanError, one_line

PIECE = 4 << 20  # bytes that are read at once
LONGEST = 16 << 20  # bytes of a line, and characters of a value
MOST_UNPACKED = 100  # times the size of the packed file; no real table is packed as much
csv.field_size_limit(LONGEST)


class Malformed(NamedTuple):
    """A line that is not a row of the table. `row` is its number, from 1, not counting the header."""

    row: int
    problem: str
    fields: list[str]


class Part(NamedTuple):
    """Some rows with their numbers, and the malformed lines between them."""

    rows: pa.Table
    numbers: list[int]
    malformed: list[Malformed]


class Readable(Protocol):
    """What a table is read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class Unpacked:
    """A gzip file as it is read. Raises KibanError if it is damaged, or larger than any real table would be."""

    def __init__(self, packed: BinaryIO, size: int, where: str) -> None:
        self.stream = gzip.GzipFile(fileobj=packed)
        self.room = MOST_UNPACKED * size
        self.where = where

    def read(self, size: int = -1, /) -> bytes:
        try:
            content = self.stream.read(min(size, self.room + 1) if size >= 0 else self.room + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise KibanError(f"{self.where} is not a whole gzip file: {one_line(error)}") from None
        self.room -= len(content)
        if self.room < 0:
            raise KibanError(f"{self.where} has more than {MOST_UNPACKED} times its packed size: unpack it, and look")
        return content


def is_utf8(stream: Readable) -> bool:
    """Whether all that is left of the stream is UTF-8. The first of two files may have been in another encoding."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while content := stream.read(PIECE):
            decoder.decode(content)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class Recoded:
    """A text file in another encoding, as it is read in UTF-8. Raises KibanError if it is not in that encoding."""

    def __init__(self, stream: Readable, encoding: str, where: str) -> None:
        self.stream = stream
        try:
            self.decoder = codecs.getincrementaldecoder(encoding)()
        except LookupError as error:
            raise KibanError(f"{where} is not text in {encoding}: {one_line(error)}") from None
        self.encoding = encoding
        self.where = where

    def read(self, size: int = -1, /) -> bytes:
        content = self.stream.read(size)
        try:
            text = self.decoder.decode(content, final=not content)
        except ValueError as error:
            raise KibanError(f"{self.where} is not text in {self.encoding}: {one_line(error)}") from None
        return text.encode() if text or not content else self.read(size)


def rows(content: bytes, where: str, delimiter: str = ",", encoding: str = "utf-8", skip: int = 0) -> pa.Table:
    """The rows of a CSV file, whose header follows `skip` lines. An empty value is null.

    Raises KibanError, which starts with `where`, if the content is not CSV or has no rows.
    """
    return pa.concat_tables(tables(io.BytesIO(content), where, delimiter, encoding, skip))


def tables(
    stream: Readable, where: str, delimiter: str = ",", encoding: str = "utf-8", skip: int = 0
) -> Iterator[pa.Table]:
    """The rows of a CSV file in parts. Raises KibanError like `rows`."""
    is_utf8 = encoding.lower() in ("utf-8", "utf8")
    _, parts = read(stream if is_utf8 else Recoded(stream, encoding, where), where, delimiter, skip)
    count = 0
    for part in parts:
        for line in part.malformed[:1]:
            raise KibanError(f"{where}, row {line.row:,}: {line.problem}; correct the file")
        count += part.rows.num_rows
        yield part.rows
    if not count:
        raise KibanError(f"{where} has no rows")


def read(stream: Readable, where: str, delimiter: str = ",", skip: int = 0) -> tuple[list[str], Iterator[Part]]:
    """The names of the columns of a CSV file in UTF-8, which follow `skip` lines, and its rows in parts.

    Raises KibanError, which starts with `where`, if a line is too long, or not UTF-8, or if a quote is never closed.
    """
    texts = _texts(stream, where)
    first = next(texts, b"").removeprefix(codecs.BOM_UTF8)
    first = b"".join(first.splitlines(keepends=True)[skip:]) if skip else first
    header = csv.reader(io.StringIO(first.decode(), newline=""), strict=True, delimiter=delimiter)
    try:
        names = next((names for names in header if names), None)
    except csv.Error as error:
        raise KibanError(f"{where}: the first line cannot be read as names of columns: {error}") from None
    if names is None:
        raise KibanError(f"{where} is empty: the first line of a CSV file has the names of its columns")
    for name in names:
        if names.count(name) > 1:
            raise KibanError(f"{where}: column {name!r} occurs twice")

    def parts() -> Iterator[Part]:
        unread, last_row = b"".join(first.splitlines(keepends=True)[header.line_num :]), 0
        for text in chain(texts, [b""]):
            good, misquoted, unread = _strict(unread + text, last_row + 1, not text, where, delimiter)
            part = _part(good, misquoted, last_row, names, delimiter)
            last_row += len(part.numbers) + len(part.malformed)
            yield part

    return names, parts()


def _texts(stream: Readable, where: str) -> Iterator[bytes]:
    """The bytes of whole lines, about PIECE bytes at a time.

    Raises KibanError if they are not UTF-8, or if a line has more than LONGEST bytes.
    """
    part, lines = b"", 0
    while more := stream.read(PIECE):
        part += more
        end = part.rfind(b"\n") + 1 or part.rfind(b"\r") + 1
        if end:
            yield _text(part[:end], where, lines)
            lines += part.count(b"\n", 0, end)
            part = part[end:]
        elif len(part) > LONGEST:
            raise KibanError(f"{where}, line {lines + 1:,} has more than {LONGEST >> 20} MB: is it CSV?")
    if part:
        yield _text(part, where, lines)


def _text(part: bytes, where: str, before: int) -> bytes:
    try:
        part.decode()
    except UnicodeDecodeError as error:
        line = before + part.count(b"\n", 0, error.start) + 1
        raise KibanError(f"{where}, line {line:,} is not UTF-8 ({error.reason}): save it as UTF-8") from None
    return part


def _strict(
    text: bytes, first: int, is_last: bool, where: str, delimiter: str
) -> tuple[bytes, dict[int, Malformed], bytes]:
    """The records of `text` whose quotes follow RFC 4180, the misquoted ones, and the start of an incomplete record.

    `first` is the number of the first record. Raises KibanError if a quote is never closed.
    """
    if _is_plain(text, delimiter):
        return text, {}, b""
    lines = io.StringIO(text.decode(), newline="").readlines()
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    good: list[str] = []
    misquoted: dict[int, Malformed] = {}
    number = first
    while (begin := reader.line_num) < len(lines):
        try:
            number += bool(next(reader))  # an empty line is not a record
            good += lines[begin : reader.line_num]
        except csv.Error as error:
            if "expected after" not in str(error):  # the text ended within quotes, or a field exceeds csv's limit
                if reader.line_num == len(lines) and not is_last:
                    return "".join(good).encode(), misquoted, "".join(lines[begin:]).encode()
                raise KibanError(f"{where}, row {number}: a quote is opened and not closed") from None
            record = "".join(lines[begin : reader.line_num]).rstrip("\r\n")
            misquoted[number] = Malformed(number, f"wrong quotes: {error}", [record])
            number += 1
    return "".join(good).encode(), misquoted, b""


def _is_plain(text: bytes, delimiter: str) -> bool:
    """Whether each quote opens at the start of a field or closes at its end, as in most files: a fast check."""
    characters = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    beside = np.frombuffer(f"{delimiter}\r\n".encode(), np.uint8)
    neighbours = characters[quotes[::2] - 1], characters[quotes[1::2] + 1]
    return len(quotes) % 2 == 0 and all(np.isin(side, beside).all() for side in neighbours)


def _part(text: bytes, misquoted: dict[int, Malformed], last_row: int, names: list[str], delimiter: str) -> Part:
    """The part with the rows of `text` and the `misquoted` ones, which follow row number `last_row` of the file."""
    malformed: dict[int, tuple[str, str]] = {}  # by the number of the row in the text

    def keep(row: Any) -> str:
        # The line is kept as one field: it is unknown which field is missing or added.
        malformed[row.number] = f"it has {row.actual_columns} fields, the header {row.expected_columns}", row.text
        return "skip"

    schema = pa.schema([(name, pa.string()) for name in names])
    rows = schema.empty_table()
    if text.strip(b"\r\n"):
        rows = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep),
            pyarrow.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True),
        )
    next_row = last_row + len(rows) + len(malformed) + len(misquoted) + 1
    text_numbers = [number for number in range(last_row + 1, next_row) if number not in misquoted]
    wrong = [Malformed(text_numbers[row - 1], problem, [line]) for row, (problem, line) in malformed.items()]
    numbers = [number for row, number in enumerate(text_numbers, start=1) if row not in malformed]
    return Part(rows, numbers, [*wrong, *misquoted.values()])
