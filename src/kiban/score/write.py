"""A table to a file, in pieces, whole or not at all, here or in an S3 store."""

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
"""The first columns of the file of what was rejected; the input's follow."""


@contextmanager
def whole(path: str) -> Iterator[Path]:
    """A file to write to, which is at `path` as soon as the context ends without an exception, and only then.

    For an S3 store it lies in the folder of temporary files until it is sent. KibanError if it cannot be written.
    """
    try:
        with _sent(path) if path.startswith(stores.S3) else _renamed(path) as file:
            yield file
    except OSError as error:
        raise KibanError(f"{path} cannot be written: {one_line(error)}") from None


@contextmanager
def _sent(path: str) -> Iterator[Path]:
    system = stores.system(path)
    bucket = path.removeprefix(stores.S3).split("/")[0]
    stores.reached(path, lambda: system.call_s3("head_bucket", Bucket=bucket), "written")
    with TemporaryDirectory() as beside:
        file = Path(beside) / "file"
        yield file
        stores.reached(path, lambda: system.put_file(str(file), path), "written")


@contextmanager
def _renamed(path: str) -> Iterator[Path]:
    target = Path(path.removeprefix("file://")).resolve()  # what a link leads to, not the link
    if not target.parent.is_dir():
        raise KibanError(f"{path} cannot be written: there is no folder {path.rpartition('/')[0]}")
    if target.is_dir():
        raise KibanError(f"{path} cannot be written: it is a folder")
    # A name that nobody else has: another run may be writing to the same.
    with files.whole(target, target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")) as file:
        yield file
        if target.exists():
            file.chmod(target.stat().st_mode & 0o777)


def table_writer(file: Path, schema: pa.Schema, is_csv: bool) -> pq.ParquetWriter | pyarrow.csv.CSVWriter:
    """What writes tables of the schema to `file`; a context manager."""
    if is_csv:
        return pyarrow.csv.CSVWriter(file, schema)
    return pq.ParquetWriter(file, schema, compression="zstd")


@contextmanager
def rejected_writer(file: Path, names: list[str]) -> Iterator[Callable[[Rejected], None]]:
    """What writes rejected rows of a table with the columns `names` to `file`, as CSV that can be scored when mended.

    A malformed line is one field, the first, so that it is not taken for a row.
    """
    kept = [place for place, name in enumerate(names) if name not in REJECTED]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*REJECTED, *(names[place] for place in kept)])

        def write(row: Rejected) -> None:
            is_whole = len(row.fields) == len(names)
            fields = [row.fields[place] for place in kept] if is_whole else [*row.fields, *[""] * (len(kept) - 1)]
            writer.writerow([row.row, row.problem, *fields])

        yield write
