"""A table to a file, in pieces, whole or not at all, here or in an S3 store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kiban.errors import KibanError
from kiban.sources import stores


@contextmanager
def whole(path: str) -> Iterator[Path]:
    """A file to write to, which is at `path` as soon as the context ends without an exception, and only then.

    For an S3 store it lies in the folder of temporary files until it is sent. KibanError if it cannot be written.
    """
    system = stores.system(path)
    folder = path.rpartition("/")[0] or "."
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
    except (OSError, pa.ArrowException) as error:
        raise KibanError(f"{path} cannot be written: {stores.line(error)}") from None


def table_writer(file: Path, schema: pa.Schema, is_csv: bool) -> pq.ParquetWriter | pyarrow.csv.CSVWriter:
    """What writes tables of the schema to `file`; a context manager."""
    if is_csv:
        return pyarrow.csv.CSVWriter(file, schema)
    return pq.ParquetWriter(file, schema, compression="zstd")
