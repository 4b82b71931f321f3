"""A table in pieces, from a CSV or Parquet file here or in an S3 store.

CSV is read as /invocations reads it, strictly: to Arrow, and most other readers, a quote that was forgotten is a value
that goes on to the end of the file.
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

PIECE = 4 << 20  # bytes of CSV
LONGEST = 16 << 20  # bytes of a line
ROWS = 1 << 15  # of Parquet, or fewer where they are large:
LARGEST = 32 << 20  # bytes of a piece of it
PROBE = 1000  # rows that say how large they are

T = TypeVar("T")


class Rejected(NamedTuple):
    """A row that cannot be scored, by its number in the file, from 1 and without the header."""

    row: int
    problem: str
    fields: list[str]


class Piece(NamedTuple):
    """Rows with their numbers in the file, lines with too many or too few fields, and how far the file is read."""

    rows: pa.Table
    numbers: list[int]
    malformed: list[Rejected]
    done: int


class Input(NamedTuple):
    """`schema` is that of every piece; `is_text` where all is text, as in CSV; `size` is what `done` ends at."""

    schema: pa.Schema
    is_text: bool
    size: int
    pieces: Iterator[Piece]


@contextmanager
def opened(path: str) -> Iterator[Input]:
    """The table at `path`: .csv, .csv.gz or .parquet. KibanError if it cannot be read, here or in a piece."""
    if not path.endswith((".csv", ".csv.gz", ".parquet")):
        raise KibanError(f"{path}: a name must end with .csv, .csv.gz or .parquet")
    system = stores.system(path)
    size = stores.reached(path, lambda: system.size(path))
    with stores.reached(path, lambda: system.open(path, "rb")) as raw:
        table = _read(path, lambda: _parquet(raw) if path.endswith(".parquet") else _csv(raw, path, size))
        names = table.schema.names
        for name in names:
            if names.count(name) > 1:
                raise KibanError(f"{path}: column {name!r} stands twice")
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
    file = pq.ParquetFile(raw, buffer_size=1 << 20)  # else a whole column of a row group is in memory

    def pieces() -> Iterator[Piece]:
        done = 0
        probe = next(file.iter_batches(PROBE), None)
        rows = min(ROWS, LARGEST * len(probe) // probe.nbytes) if probe and probe.nbytes else ROWS
        for batch in file.iter_batches(max(rows, 1)):
            batch.validate(full=True)  # text that is no UTF-8
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
        unread, last = b"".join(first.splitlines(keepends=True)[header.line_num :]), 0
        for text in chain(texts, [b""]):
            good, misquoted, unread = _strict(unread + text, last + 1, not text, path)
            piece = _piece(good, misquoted, last, schema, min(raw.tell(), size) if text else size)
            last += len(piece.numbers) + len(piece.malformed)
            yield piece

    return Input(schema, True, size, pieces())


def _texts(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """The bytes of whole lines, some PIECE at a time; KibanError if they are no UTF-8, or a line does not end."""
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
    """The records of `text` whose quotes are RFC 4180's, the others, and the beginning of one that does not end here.

    `first` is the number of the first record. KibanError if a quote never ends.
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
            number += bool(next(reader))  # an empty line is none
            good += lines[begin : reader.line_num]
        except csv.Error as error:
            if "expected after" not in str(error):  # the end, or csv's limit of a field
                if reader.line_num == len(lines) and not is_last:
                    return "".join(good).encode(), misquoted, "".join(lines[begin:]).encode()
                raise KibanError(f"{path}, row {number}: a quote is opened and not closed") from None
            record = "".join(lines[begin : reader.line_num]).rstrip("\r\n")
            misquoted[number] = Rejected(number, f"its quotes are wrong: {error}", [record])
            number += 1
    return "".join(good).encode(), misquoted, b""


def _is_plain(text: bytes) -> bool:
    """Whether all quotes open at the beginning of a field and close at its end, with none between: as most are."""
    at = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    quotes = np.flatnonzero(at == ord('"'))
    around = at[quotes[::2] - 1], at[quotes[1::2] + 1]
    return len(quotes) % 2 == 0 and all(np.isin(side, np.frombuffer(b",\r\n", np.uint8)).all() for side in around)


def _piece(text: bytes, misquoted: dict[int, Rejected], last: int, schema: pa.Schema, done: int) -> Piece:
    """The table that the text is, after `last` records and beside those that are misquoted."""
    malformed: dict[int, tuple[str, str]] = {}  # by the number in the text

    def keep(row: Any) -> str:
        # As one field: nobody knows where one too many, or too few, is.
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
    after = last + len(rows) + len(malformed) + len(misquoted) + 1
    places = [number for number in range(last + 1, after) if number not in misquoted]
    wrong = [Rejected(places[place - 1], problem, [line]) for place, (problem, line) in malformed.items()]
    numbers = [number for place, number in enumerate(places, start=1) if place not in malformed]
    return Piece(rows, numbers, [*wrong, *misquoted.values()], done)
