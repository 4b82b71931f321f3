"""Reading a table in pieces from a CSV or Parquet file, on this machine or in an S3 store.

CSV is read strictly, as /invocations reads it. Arrow and most other readers accept a quote that is not closed, and read
the rest of the file as one value.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kiban.core.errors import KibanError, one_line
from kiban.sources import stores

PIECE = 4 << 20  # bytes of a piece of CSV
LONGEST = 16 << 20  # bytes of a line
ROWS = 1 << 15  # rows of a piece of Parquet, or fewer if they would exceed
LARGEST = 32 << 20  # bytes of a piece of Parquet
PROBE = 1000  # rows that are read first to estimate the size of a row

T = TypeVar("T")


class Rejected(NamedTuple):
    """A row that cannot be scored. `row` is its number in the file, from 1, not counting the header."""

    row: int
    problem: str
    fields: list[str]


class Piece(NamedTuple):
    """Some rows of the file with their numbers, and its malformed lines.

    `done` says how much of the file has been read: bytes of CSV, rows of Parquet.
    """

    rows: pa.Table
    numbers: list[int]
    malformed: list[Rejected]
    done: int


class Input(NamedTuple):
    """An opened table. All pieces have the same `schema`. `is_text` says that all values are text, as in CSV. `size` is
    the value of `done` at the end of the file."""

    schema: pa.Schema
    is_text: bool
    size: int
    pieces: Iterator[Piece]


@contextmanager
def opened(path: str) -> Iterator[Input]:
    """The table at `path`: .csv, .csv.gz or .parquet.

    Raises KibanError if it cannot be opened, or, from the iterator of its pieces, if a piece cannot be read.
    """
    if not path.endswith((".csv", ".csv.gz", ".parquet")):
        raise KibanError(f"{path}: a name must end with .csv, .csv.gz or .parquet")
    system = stores.system(path)
    size = stores.reached(path, lambda: system.size(path))
    with stores.reached(path, lambda: system.open(path, "rb")) as raw:
        table = _read(path, lambda: _parquet(raw) if path.endswith(".parquet") else _csv(raw, path, size))
        names = table.schema.names
        for name in names:
            if names.count(name) > 1:
                raise KibanError(f"{path}: column {name!r} occurs twice")
        yield table._replace(pieces=_explained(path, table.pieces))


def _read(path: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (pa.ArrowException, csv.Error, OSError, EOFError, ValueError) as error:
        kind = "Parquet" if path.endswith(".parquet") else "CSV"
        raise KibanError(f"{path} cannot be read as {kind}: {one_line(error)}") from None


def _explained(path: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    while (piece := _read(path, lambda: next(pieces, None))) is not None:
        yield piece


def _parquet(raw: BinaryIO) -> Input:
    file = pq.ParquetFile(raw, buffer_size=1 << 20)  # without a buffer a whole column of a row group is in memory

    def pieces() -> Iterator[Piece]:
        done = 0
        probe = next(file.iter_batches(PROBE), None)
        rows = min(ROWS, LARGEST * len(probe) // probe.nbytes) if probe and probe.nbytes else ROWS
        for batch in file.iter_batches(max(rows, 1)):
            batch.validate(full=True)  # raises if text is not UTF-8
            numbers = list(range(done + 1, done + 1 + len(batch)))
            done += len(batch)
            yield Piece(pa.Table.from_batches([batch]), numbers, [], done)

    return Input(file.schema_arrow, False, file.metadata.num_rows, pieces())


def _csv(raw: BinaryIO, path: str, size: int) -> Input:
    texts = _texts(pa.CompressedInputStream(raw, "gzip") if path.endswith(".gz") else raw, path)
    first = next(texts, b"").removeprefix(codecs.BOM_UTF8)
    header = csv.reader(io.StringIO(first.decode(), newline=""), strict=True)
    names = next((names for names in header if names), None)
    if names is None:
        raise KibanError(f"{path} is empty: the first line of a CSV file has the names of its columns")
    schema = pa.schema([(name, pa.string()) for name in names])

    def pieces() -> Iterator[Piece]:
        unread, last_row = b"".join(first.splitlines(keepends=True)[header.line_num :]), 0
        for text in chain(texts, [b""]):
            good, misquoted, unread = _strict(unread + text, last_row + 1, not text, path)
            piece = _piece(good, misquoted, last_row, schema, min(raw.tell(), size) if text else size)
            last_row += len(piece.numbers) + len(piece.malformed)
            yield piece

    return Input(schema, True, size, pieces())


def _texts(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """The bytes of whole lines, about PIECE bytes at a time.

    Raises KibanError if they are not UTF-8, or if a line has more than LONGEST bytes.
    """
    part, lines = b"", 0
    while more := stream.read(PIECE):
        part += more
        end = part.rfind(b"\n") + 1 or part.rfind(b"\r") + 1
        if end:
            yield _text(part[:end], path, lines)
            lines += part.count(b"\n", 0, end)
            part = part[end:]
        elif len(part) > LONGEST:
            raise KibanError(f"{path}, line {lines + 1:,} has more than {LONGEST >> 20} MB: is it CSV?")
    if part:
        yield _text(part, path, lines)


def _text(part: bytes, path: str, before: int) -> bytes:
    try:
        part.decode()
    except UnicodeDecodeError as error:
        line = before + part.count(b"\n", 0, error.start) + 1
        raise KibanError(f"{path}, line {line:,} is not UTF-8 ({error.reason}): save it as UTF-8") from None
    return part


def _strict(text: bytes, first: int, is_last: bool, path: str) -> tuple[bytes, dict[int, Rejected], bytes]:
    """The records of `text` whose quotes follow RFC 4180, the misquoted ones, and the start of an incomplete record.

    `first` is the number of the first record. Raises KibanError if a quote is never closed.
    """
    if _is_plain(text):
        return text, {}, b""
    lines = io.StringIO(text.decode(), newline="").readlines()
    reader = csv.reader(lines, strict=True)
    good: list[str] = []
    misquoted: dict[int, Rejected] = {}
    number = first
    while (begin := reader.line_num) < len(lines):
        try:
            number += bool(next(reader))  # an empty line is not a record
            good += lines[begin : reader.line_num]
        except csv.Error as error:
            if "expected after" not in str(error):  # the text ended within quotes, or a field exceeds csv's limit
                if reader.line_num == len(lines) and not is_last:
                    return "".join(good).encode(), misquoted, "".join(lines[begin:]).encode()
                raise KibanError(f"{path}, row {number}: a quote is opened and not closed") from None
            record = "".join(lines[begin : reader.line_num]).rstrip("\r\n")
            misquoted[number] = Rejected(number, f"wrong quotes: {error}", [record])
            number += 1
    return "".join(good).encode(), misquoted, b""


def _is_plain(text: bytes) -> bool:
    """Whether each quote opens at the start of a field or closes at its end, as in most files: a fast check."""
    characters = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    neighbours = characters[quotes[::2] - 1], characters[quotes[1::2] + 1]
    return len(quotes) % 2 == 0 and all(np.isin(side, np.frombuffer(b",\r\n", np.uint8)).all() for side in neighbours)


def _piece(text: bytes, misquoted: dict[int, Rejected], last_row: int, schema: pa.Schema, done: int) -> Piece:
    """The piece with the rows of `text` and the `misquoted` ones, which follow row number `last_row` of the file."""
    malformed: dict[int, tuple[str, str]] = {}  # by the number of the row in the text

    def keep(row: Any) -> str:
        # The line is kept as one field: it is unknown which field is missing or added.
        malformed[row.number] = f"it has {row.actual_columns} fields, the header {row.expected_columns}", row.text
        return "skip"

    rows = schema.empty_table()
    if text.strip(b"\r\n"):
        rows = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=schema.names),
            pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            pyarrow.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True),
        )
    next_row = last_row + len(rows) + len(malformed) + len(misquoted) + 1
    text_numbers = [number for number in range(last_row + 1, next_row) if number not in misquoted]
    wrong = [Rejected(text_numbers[row - 1], problem, [line]) for row, (problem, line) in malformed.items()]
    numbers = [number for row, number in enumerate(text_numbers, start=1) if row not in malformed]
    return Piece(rows, numbers, [*wrong, *misquoted.values()], done)
