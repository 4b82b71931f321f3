"""Source: CSV and Parquet files that match a pattern, on this machine or in a store."""

import glob
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath

import pyarrow as pa
from fsspec.spec import AbstractFileSystem
from pydantic import validate_call

from kiban.core.errors import KibanError
from kiban.data import pieces
from kiban.data.batches import STATIC, Period
from kiban.sources import stores, text

BATCH = "{batch}"


class Files:
    """Files that match `path`, such as incoming/flights-{batch}.csv or s3://bucket/flights/{batch}/*.parquet.

    `{batch}` stands for the name of the batch, and `*` for any text without a slash. All files of a batch are read as
    one table. Without `{batch}` the table is static. The suffix says whether a file is CSV (.csv, .csv.gz) or Parquet
    (.parquet). `endpoint_url` is the URL of an S3 store other than Amazon's. Credentials come from the environment, as
    for every S3 client.
    """

    @validate_call
    def __init__(
        self, path: str, delimiter: str = ",", encoding: str = "utf-8", endpoint_url: str | None = None
    ) -> None:
        if path.count(BATCH) > 1 or re.search(r"\*\*|[?\[]", path):
            raise KibanError(f"dataset source path {path!r}: only one {BATCH} and * within a name are allowed")
        if len(delimiter.encode()) != 1 or delimiter in '\r\n"':
            raise KibanError(
                f"dataset source delimiter {delimiter!r}: it must be one character of ASCII, no quote and no line end"
            )
        self.path = path if stores.is_address(path) else posixpath.normpath(path.removeprefix("file://"))
        self.delimiter = delimiter
        self.encoding = encoding
        self.endpoint_url = endpoint_url

    def batches(self) -> list[str]:
        return sorted(self._files)

    def read(self, batch: str, period: Period | None) -> Iterator[pa.Table]:
        files = self._files.get(batch)
        if not files:
            raise KibanError(f"{self.path} has no batch {batch}")
        names: list[str] = []
        for file in files:
            for rows in self._rows(file):
                names = names or rows.column_names
                for name in sorted(set(rows.column_names) ^ set(names)):
                    lacking = files[0] if name in rows.column_names else file
                    raise KibanError(
                        f"{self.path}, batch {batch}: {PurePosixPath(lacking).name} has no column {name!r}, which "
                        "another file of the batch has; correct the files"
                    )
                yield rows

    def describe(self) -> str:
        return self.path

    @cached_property
    def _system(self) -> AbstractFileSystem:
        return stores.system(self.path, self.endpoint_url)

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """The sorted paths of the files by batch."""
        before, placeholder, after = stores.within(self.path, self._system).partition(BATCH)
        pattern = f"{before}*{after}" if placeholder else before
        # On this machine without fsspec, which takes the name of the working directory for a part of the pattern.
        find = self._system.glob if stores.is_address(self.path) else glob.glob
        matches = stores.reached(self.path, lambda: find(pattern))
        if not matches:
            raise KibanError(f"no file matches {self.path}")
        if not placeholder:
            return {STATIC: sorted(matches)}
        expression = re.compile(f"(?:.*/)?{_as_pattern(before)}([^/]*?){_as_pattern(after)}")
        by_batch: dict[str, list[str]] = {}
        for file in sorted(matches):
            match = expression.fullmatch(file)
            if match is None or not re.fullmatch(r"\d{4}(-\d{2}){0,2}", match[1]):
                raise KibanError(f"{file.rpartition('/')[2]} matches {self.path}, but names no batch such as 2013-01")
            by_batch.setdefault(match[1], []).append(file)
        return by_batch

    def _rows(self, file: str) -> Iterator[pa.Table]:
        where = f"{self.path}: {PurePosixPath(file).name}"
        if not file.endswith((".csv", ".csv.gz", ".parquet")):
            raise KibanError(f"{where}: a name must end with .csv, .csv.gz or .parquet")
        with stores.reached(self.path, lambda: self._system.open(file, "rb")) as raw:
            if file.endswith(".parquet"):
                yield from stores.streamed(self.path, pieces.read_foreign(raw, where))
                return
            size = stores.reached(self.path, lambda: self._system.size(file))
            stream = text.Unpacked(raw, size, where) if file.endswith(".gz") else raw
            yield from stores.streamed(self.path, text.tables(stream, where, self.delimiter, self.encoding))


def _as_pattern(path: str) -> str:
    return re.escape(path).replace(r"\*", "[^/]*")
