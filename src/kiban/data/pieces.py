"""Tables in pieces: what is larger than LARGE rows is read, sorted and written a piece at a time.

The bytes of a file are the same, whether its rows were written at once or in pieces.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kiban.core import files
from kiban.core.errors import KibanError, one_line
from kiban.data import parquet
from kiban.data.contract import Table

AT_ONCE = 1 << 16
"""The rows that are read at once of a file of others."""
LARGE = 1 << 20
"""The rows of a piece, which fit into memory: 100 to 300 bytes each."""


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The rows of all tables as tables of `rows` rows, each in one chunk. The last has fewer, and at least one."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows).combine_chunks()
            waiting, count = [joined.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def write(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    """Write the rows of all tables, which have this schema, to `path`, whole or not at all. Returns their number."""
    count = 0
    with files.whole(path) as part, pq.ParquetWriter(part, schema, **parquet.WRITTEN) as writer:
        for table in regrouped(tables, parquet.ROW_GROUP):
            writer.write_table(table, parquet.ROW_GROUP)
            count += table.num_rows
        if not count:
            writer.write_table(schema.empty_table())
    return count


def read(file: BinaryIO | Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file of ours, LARGE at a time. Raises KibanError if it is not one."""
    with _explained(file):
        for batch in _opened(file).iter_batches(LARGE, columns=columns, use_threads=False):
            yield pa.Table.from_batches([batch])


@contextmanager
def _explained(file: BinaryIO | Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        where, reason = file if isinstance(file, Path) else file.name, one_line(error)
        raise KibanError(f"{where} is not a whole Parquet file ({reason}): restore it with `dvc checkout`") from None


def read_foreign(file: BinaryIO, where: str) -> Iterator[pa.Table]:
    """The rows of an open Parquet file that others wrote, without its metadata, AT_ONCE at a time; checksums are
    compared.

    Raises KibanError, which starts with `where`, if it is not one.
    """
    try:
        rows = opened_foreign(file)
        empty = rows.schema_arrow.empty_table()
        for batch in rows.iter_batches(AT_ONCE, use_threads=False):
            yield pa.Table.from_batches([batch]).replace_schema_metadata()
        if not rows.metadata.num_rows:
            yield empty.replace_schema_metadata()
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # of the store, and not of Arrow
            raise
        raise KibanError(f"{where} is not a whole Parquet file: {one_line(error)}") from None


def opened_foreign(file: BinaryIO) -> pq.ParquetFile:
    """An open Parquet file that others wrote, for `iter_batches` without threads; checksums are compared.

    Without a buffer a whole column of a row group is in memory. A Python object is read, which no thread of Arrow may
    hold: see `_opened`.
    """
    return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)


class Columns:
    """The columns of a Parquet file of ours by name, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([part.column(0).combine_chunks() for part in read(self.path, [name])])


@contextmanager
def as_now(file: BinaryIO, contract: Table, batch: str, scratch: Path) -> Iterator[Path]:
    """A path to the rows of an open snapshot with the contract's present columns, while the context is open.

    It is that of the open file itself, unless its columns were otherwise. Raises KibanError like parquet.as_now.
    """
    if contract.at(batch) is contract:
        yield path_of(file)
        return
    path = scratch / "as_now.parquet"
    rows = (parquet.as_now(part, contract, batch, file.name) for part in read(file))
    write(rows, parquet.schema(contract), path)
    yield path


def count(file: BinaryIO | Path) -> int:
    """The number of rows of a Parquet file, from its end alone. Raises KibanError if it is not one."""
    with _explained(file):
        rows: int = _opened(file).metadata.num_rows
    return rows


def path_of(file: BinaryIO) -> Path:
    """A path by which others open what is open here, whatever stands at its own path by now."""
    return Path(f"/dev/fd/{file.fileno()}")


def _opened(file: BinaryIO | Path) -> pq.ParquetFile:
    """Arrow itself opens the file: its threads may let go of one after the reader has returned, and a Python object
    that they hold then ends the process (parquet.py).
    """
    return pq.ParquetFile(str(file if isinstance(file, Path) else path_of(file)), pre_buffer=False)


def joined(tables: Iterable[pa.Table], where: str) -> pa.Table:
    """The rows of all tables, which may have other types. Raises KibanError, which starts with `where`, if they differ
    otherwise."""
    parts = list(tables)
    if not parts:
        raise KibanError(f"{where}: there are no rows")
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise KibanError(f"{where}: its parts differ: {one_line(error)}") from None
