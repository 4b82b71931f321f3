"""A table in pieces, from a CSV or Parquet file here or in an S3 store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kiban.errors import KibanError
from kiban.sources import stores

PIECE = 4 << 20  # bytes of CSV
ROWS = 1 << 15  # of Parquet


class Rejected(NamedTuple):
    """A row that cannot be scored, by its number in the file, from 1 and without the header."""

    row: int
    problem: str
    fields: list[object]


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
    names: list[str] = []
    if not path.endswith(".parquet"):
        with stores.reached(path, lambda: system.open(path, "rb")) as raw:
            names = _read(path, lambda: _csv_reader(raw, path, [], []).schema.names)
    with stores.reached(path, lambda: system.open(path, "rb")) as raw:
        found = _read(path, lambda: _parquet(raw) if path.endswith(".parquet") else _csv(raw, path, names, size))
        names = found.schema.names
        for name in names:
            if names.count(name) > 1:
                raise KibanError(f"{path}: column {name!r} stands twice")
        yield found._replace(pieces=_explained(path, found.pieces))


def _read(path: str, ask: Any) -> Any:
    try:
        return ask()
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        kind = "Parquet" if path.endswith(".parquet") else "CSV"
        raise KibanError(f"{path} cannot be read as {kind}: {stores.line(error)}") from None


def _explained(path: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    while (piece := _read(path, lambda: next(pieces, None))) is not None:
        yield piece


def _parquet(raw: Any) -> Input:
    file = pq.ParquetFile(raw, buffer_size=1 << 20)  # else a whole column of a row group is in memory

    def pieces() -> Iterator[Piece]:
        done = 0
        for batch in file.iter_batches(ROWS):
            batch.validate(full=True)  # text that is no UTF-8
            numbers = list(range(done + 1, done + 1 + len(batch)))
            done += len(batch)
            yield Piece(pa.Table.from_batches([batch]), numbers, [], done)

    return Input(file.schema_arrow, False, file.metadata.num_rows, pieces())


def _csv_reader(raw: Any, path: str, names: list[str], malformed: list[Rejected]) -> Any:
    """Batches of text, with what is malformed put into the list; `names` are the columns."""

    def keep(row: Any) -> str:
        # As one field: nobody knows where one too many, or too few, is.
        problem = f"it has {row.actual_columns} fields, the header {row.expected_columns}"
        malformed.append(Rejected(row.number - 1, problem, [row.text]))
        return "skip"

    return pyarrow.csv.open_csv(
        pa.CompressedInputStream(raw, "gzip") if path.endswith(".gz") else raw,
        pyarrow.csv.ReadOptions(use_threads=False, block_size=PIECE),  # only so are rows numbered
        pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    )


def _csv(raw: Any, path: str, names: list[str], size: int) -> Input:
    malformed: list[Rejected] = []
    batches = _csv_reader(raw, path, names, malformed)

    def pieces() -> Iterator[Piece]:
        last = 0
        for batch in batches:
            # The reader is ahead by a block: what it has found beyond this batch is left for later.
            numbers: list[int] = []
            at = {line.row for line in malformed}
            while len(numbers) < len(batch):
                last += 1
                if last not in at:
                    numbers.append(last)
            here = [line for line in malformed if line.row < last]
            malformed[:] = malformed[len(here) :]
            yield Piece(pa.Table.from_batches([batch]), numbers, here, min(raw.tell(), size))
        if malformed:
            yield Piece(batches.schema.empty_table(), [], list(malformed), size)

    return Input(batches.schema, True, size, pieces())
