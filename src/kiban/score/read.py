"""Reading a table in pieces from a CSV or Parquet file, on this machine or in an S3 store.

CSV is read by the reader of the sources, so that a file to score means the same as a file to train on.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, TypeVar

import pyarrow as pa

from kiban.core.errors import KibanError, one_line
from kiban.data.pieces import opened_foreign
from kiban.data.written import WrittenFile
from kiban.sources import given, stores, text

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
def opened(path: str, written: WrittenFile) -> Iterator[Input]:
    """The table at `path`, any that `kiban init` takes. `written` is how text is written.

    CSV, perhaps with .gz, and Parquet are read in pieces; others, such as JSON lines, at once.
    Raises KibanError if it cannot be opened, or, from the iterator of its pieces, if a piece cannot be read.
    """
    if not path.removesuffix(".gz").endswith(given.TEXT) and not path.endswith(".parquet"):
        yield _whole(path, written)
        return
    system = stores.system(path)
    size = stores.reached(path, lambda: system.size(path))
    with stores.reached(path, lambda: system.open(path, "rb")) as raw:
        table = _read(path, lambda: _parquet(raw) if path.endswith(".parquet") else _csv(raw, path, size, written))
        names = table.schema.names
        for name in names:
            if names.count(name) > 1:
                raise KibanError(f"{path}: column {name!r} occurs twice")
        yield table._replace(pieces=_explained(path, table.pieces))


def _whole(path: str, written: WrittenFile) -> Input:
    """A file that is read at once, or several of a folder or a pattern."""
    files = given.files(path)
    rows = given.rows(files, written)
    is_text = not files[0].name.lower().endswith(".parquet")

    def pieces() -> Iterator[Piece]:
        for first in range(0, rows.num_rows, ROWS):
            part = rows.slice(first, ROWS)
            end = first + part.num_rows
            yield Piece(part, list(range(first + 1, end + 1)), [], end)

    return Input(rows.schema, is_text, rows.num_rows, pieces())


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
    file = opened_foreign(raw)

    def pieces() -> Iterator[Piece]:
        done = 0
        probe = next(file.iter_batches(PROBE, use_threads=False), None)
        rows = min(ROWS, LARGEST * len(probe) // probe.nbytes) if probe and probe.nbytes else ROWS
        for batch in file.iter_batches(max(rows, 1), use_threads=False):
            batch.validate(full=True)  # raises if text is not UTF-8
            numbers = list(range(done + 1, done + 1 + len(batch)))
            done += len(batch)
            yield Piece(pa.Table.from_batches([batch]), numbers, [], done)

    return Input(file.schema_arrow, False, file.metadata.num_rows, pieces())


def _csv(raw: BinaryIO, path: str, size: int, written: WrittenFile) -> Input:
    def unpacked() -> text.Readable:
        raw.seek(0)
        return text.Unpacked(raw, size, path) if path.endswith(".gz") else raw

    is_other = written.encoding != "utf-8" and not text.is_utf8(unpacked())
    stream = text.Recoded(unpacked(), written.encoding, path) if is_other else unpacked()
    names, parts = text.read(stream, path, written.delimiter, written.skip)
    schema = pa.schema([(name, pa.string()) for name in names])

    def pieces() -> Iterator[Piece]:
        for part in parts:
            malformed = [Rejected(*line) for line in part.malformed]
            yield Piece(part.rows, part.numbers, malformed, min(raw.tell(), size))

    return Input(schema, True, size, pieces())
