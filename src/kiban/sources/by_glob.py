"""Source: CSV and Parquet files by glob, on this machine or in an S3 store."""

import posixpath
import re
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem
from pydantic import validate_call

from kiban.batches import STATIC, Period
from kiban.errors import KibanError
from kiban.sources import text

BATCH = "{batch}"
S3 = "s3://"
# A store that does not answer is given up after seconds, not minutes.
S3_CONFIG = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}


class Files:
    """Files that match `path`, such as incoming/flights-{batch}.csv or s3://bucket/flights/{batch}/*.parquet.

    `{batch}` stands for the batch's name, and `*` for anything; all files of one batch are one. Without `{batch}` the
    table is static. The suffix tells CSV (.csv, .csv.gz) from Parquet (.parquet). `endpoint_url` is that of an S3 store
    other than Amazon's; credentials come from the environment, as for every S3 client.
    """

    @validate_call
    def __init__(
        self, path: str, delimiter: str = ",", encoding: str = "utf-8", endpoint_url: str | None = None
    ) -> None:
        if path.count(BATCH) > 1 or re.search(r"\*\*|[?\[]", path):
            raise KibanError(f"dataset source path {path!r}: it takes {BATCH} once, and * within a name, nothing else")
        self.path = path if path.startswith(S3) else posixpath.normpath(path.removeprefix("file://"))
        self.delimiter = delimiter
        self.encoding = encoding
        self.endpoint_url = endpoint_url

    def batches(self) -> list[str]:
        return sorted(self._files)

    def read(self, batch: str, period: Period | None) -> pa.Table:
        files = self._files.get(batch)
        if not files:
            raise KibanError(f"{self.path} has no batch {batch}")
        parts = [self._rows(file) for file in files]
        if len(parts) == 1:
            return parts[0]
        try:
            return pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:
            raise KibanError(f"the files of {self.path}, batch {batch}, differ: {_line(error)}") from None

    def describe(self) -> str:
        return self.path

    @cached_property
    def _system(self) -> AbstractFileSystem:
        if not self.path.startswith(S3):
            return fsspec.filesystem("file")
        return fsspec.filesystem(
            "s3", endpoint_url=self.endpoint_url, config_kwargs=S3_CONFIG, skip_instance_cache=True
        )

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """The files by batch, sorted."""
        before, placeholder, after = self.path.removeprefix(S3).partition(BATCH)
        found = self._reached(lambda: self._system.glob(f"{before}*{after}" if placeholder else before))
        if not found:
            raise KibanError(f"no file matches {self.path}")
        if not placeholder:
            return {STATIC: sorted(found)}
        pattern = re.compile(f"(?:.*/)?{_as_pattern(before)}([^/]*?){_as_pattern(after)}")
        by_batch: dict[str, list[str]] = {}
        for file in sorted(found):
            match = pattern.fullmatch(file)
            if match is None or not re.fullmatch(r"\d{4}(-\d{2}){0,2}", match[1]):
                raise KibanError(f"{file.rpartition('/')[2]} matches {self.path}, but names no batch such as 2013-01")
            by_batch.setdefault(match[1], []).append(file)
        return by_batch

    def _rows(self, file: str) -> pa.Table:
        where = f"{self.path}: {PurePosixPath(file).name}"
        content: bytes = self._reached(lambda: self._system.cat_file(file))
        if file.endswith(".parquet"):
            try:
                return pq.read_table(pa.BufferReader(content)).replace_schema_metadata()
            except (pa.ArrowException, OSError) as error:
                raise KibanError(f"{where} is not a whole Parquet file: {_line(error)}") from None
        if file.endswith((".csv", ".csv.gz")):
            return text.rows(_plain(content, file, where), where, self.delimiter, self.encoding)
        raise KibanError(f"{where}: a name must end with .csv, .csv.gz or .parquet")

    def _reached(self, ask: Any) -> Any:
        """What the file system answers; KibanError, without what may be a secret, if it does not."""
        try:
            return ask()
        except Exception as error:  # the clients of a store raise what they like
            raise KibanError(f"{self.path} cannot be read: {_line(error)}; {_advice(error)}") from None


def _plain(content: bytes, file: str, where: str) -> bytes:
    if not file.endswith(".gz"):
        return content
    import gzip
    import zlib

    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise KibanError(f"{where} is not a whole gzip file: {_line(error)}") from None


def _as_pattern(glob: str) -> str:
    return re.escape(glob).replace(r"\*", "[^/]*")


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError) or "redential" in str(error):
        return "check the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    return "check the path and the connection"
