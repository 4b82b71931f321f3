"""Writing a table in pieces to a file, whole or not at all, on this machine or in a store."""

import csv
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kiban.core import files
from kiban.core.errors import KibanError, one_line
from kiban.score.read import Rejected
from kiban.sources import stores

REJECTED = ("rejected_row", "rejected_because")
"""The first columns of the file of rejected rows. The columns of the input follow."""


@contextmanager
def whole(path: str) -> Iterator[Path]:
    """A file to write to, which appears at `path` when the context ends without an exception.

    For a store the file is in a temporary folder until it is sent. Raises KibanError if it cannot be written.
    """
    try:
        with _sent(path) if stores.is_address(path) else _renamed(path) as file:
            yield file
    except OSError as error:
        raise KibanError(f"{path} cannot be written: {one_line(error)}") from None


@contextmanager
def _sent(path: str) -> Iterator[Path]:
    system = stores.system(path)
    if path.startswith(stores.S3):
        bucket = path.removeprefix(stores.S3).split("/")[0]
        stores.reached(path, lambda: system.call_s3("head_bucket", Bucket=bucket), "written")
    with TemporaryDirectory() as beside:
        file = Path(beside) / "file"
        yield file
        stores.reached(path, lambda: system.put_file(str(file), stores.within(path, system)), "written")


@contextmanager
def _renamed(path: str) -> Iterator[Path]:
    target = Path(path.removeprefix("file://")).resolve()  # the target of a link, not the link
    if not target.parent.is_dir():
        raise KibanError(f"{path} cannot be written: there is no folder {path.rpartition('/')[0]}")
    if target.is_dir():
        raise KibanError(f"{path} cannot be written: it is a folder")
    # A unique name, because another run may be writing to the same path.
    with files.whole(target, target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")) as file:
        yield file
        if target.exists():
            file.chmod(target.stat().st_mode & 0o777)


def table_writer(file: Path, schema: pa.Schema, is_csv: bool) -> pq.ParquetWriter | pyarrow.csv.CSVWriter:
    """A writer of tables with `schema` to `file`, which is a context manager."""
    if is_csv:
        return pyarrow.csv.CSVWriter(file, schema)
    return pq.ParquetWriter(file, schema, compression="zstd")


@contextmanager
def rejected_writer(file: Path, names: list[str]) -> Iterator[Callable[[Rejected], None]]:
    """A function that writes rejected rows of a table with the columns `names` to `file`, as CSV.

    The file can be scored after the rows are corrected. A malformed line is written into the first field alone, so that
    it is not taken for a row.
    """
    indices = [index for index, name in enumerate(names) if name not in REJECTED]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*REJECTED, *(names[index] for index in indices)])

        def write(row: Rejected) -> None:
            is_whole = len(row.fields) == len(names)
            fields = [row.fields[index] for index in indices] if is_whole else [*row.fields, *[""] * (len(indices) - 1)]
            writer.writerow([row.row, row.problem, *fields])

        yield write
