"""A table to a file, in pieces, whole or not at all, here or in an S3 store."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kiban.errors import KibanError
from kiban.scoring.read import Rejected
from kiban.sources import stores

REJECTED = ("rejected_row", "rejected_because")
"""The first columns of the file of what was rejected; the input's follow."""


@contextmanager
def whole(path: str) -> Iterator[Path]:
    """A file to write to, which is at `path` as soon as the context ends without an exception, and only then.

    For an S3 store it lies in the folder of temporary files until it is sent. KibanError if it cannot be written.
    """
    system = stores.system(path)
    # Of a store only the bucket: it has no folders.
    folder = "/".join(path.split("/")[:3]) if path.startswith(stores.S3) else path.rpartition("/")[0] or "."
    if not stores.reached(path, lambda: system.exists(folder), "written"):
        raise KibanError(f"{path} cannot be written: there is no {folder}")
    try:
        if path.startswith(stores.S3):
            with TemporaryDirectory() as beside:
                file = Path(beside) / "file"
                yield file
                stores.reached(path, lambda: system.put_file(str(file), path), "written")
            return
        file = Path(f"{path}.part")
        try:
            yield file
            file.replace(path)
        finally:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise KibanError(f"{path} cannot be written: {stores.line(error)}") from None


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
            writer.writerow([row.row, row.problem, *(str(of).lower() if isinstance(of, bool) else of for of in fields)])

        yield write
