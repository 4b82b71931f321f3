"""Files that are given to a command: CSV, JSON lines or Parquet, on this machine or in an S3 store.

Their rows are taken once, as a snapshot. Nothing is recorded of them but the name of the file.
"""

import glob
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pydantic import validate_call

from kiban.core.errors import KibanError, one_line
from kiban.data import parquet
from kiban.data.batches import Period
from kiban.data.written import WrittenFile
from kiban.sources import stores, text

TEXT = (".csv", ".tsv", ".txt")
LINES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT, *LINES, ".parquet")
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


class Given:
    """The source of a table whose files are given to `kiban init` and `kiban add`. It has nothing to take anew."""

    @validate_call
    def __init__(self) -> None:
        pass

    def batches(self) -> list[str]:
        return []

    def read(self, batch: str, period: Period | None) -> pa.Table:
        raise KibanError(
            f"batch {batch} is of a file that was given, of which only the snapshot is kept: `dvc pull` brings it from "
            "a remote that has it"
        )

    def describe(self) -> str:
        return "a file that was given"


class File:
    """The content of a file, unpacked. `name` is its name without `.gz` or `.zip`."""

    def __init__(self, path: str, name: str, content: bytes) -> None:
        self.path = path
        self.name = name
        self.content = content

    def is_text(self) -> bool:
        return self.name.lower().endswith(TEXT)


def files(path: str) -> list[File]:
    """The files at `path`: a file, a folder, or a pattern with *.

    Raises KibanError if there are none, if one cannot be read, or if its kind is none of those that are read.
    """
    if path.startswith(("http://", "https://")):
        raise KibanError(f"{path} is an address: download the file, so that you can see it, and give its path")
    system = stores.system(path)
    pattern = f"{path.rstrip('/')}/*" if stores.reached(path, lambda: system.isdir(path)) else path
    if stores.is_address(path):
        found = stores.reached(path, lambda: system.glob(pattern))
    else:  # a name may have brackets in it
        found = [path] if Path(path).is_file() else glob.glob(pattern)
    visible = [name for name in found if not PurePosixPath(name).name.startswith((".", "_"))]
    names = sorted(name for name in visible if stores.reached(path, lambda name=name: system.isfile(name)))  # type: ignore[misc]
    if not names:
        raise KibanError(f"there is no file {path}")
    return [_file(name, stores.reached(path, lambda name=name: system.cat_file(name))) for name in names]  # type: ignore[misc]


def _file(path: str, content: bytes) -> File:
    name = PurePosixPath(path).name
    if name.lower().endswith(SPREADSHEETS):
        raise KibanError(f"{name} is a spreadsheet: save the sheet as CSV, and give that")
    if name.lower().endswith(".gz"):
        content = text.Unpacked(io.BytesIO(content), len(content), name).read()
        name = name[: -len(".gz")]
    elif name.lower().endswith(".zip"):
        name, content = _only_member(name, content)
    if not name.lower().endswith(SUFFIXES):
        raise KibanError(f"{name}: a name must end with {', '.join(SUFFIXES)}, perhaps followed by .gz or .zip")
    return File(path, name, content)


def _only_member(name: str, content: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise KibanError(f"{name} has {len(members)} files in it, and one is read: leave one in it")
            with archive.open(members[0]) as unpacked:
                most = text.MOST_UNPACKED * len(content)
                whole = unpacked.read(most + 1)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise KibanError(f"{name} is not a whole zip file: {one_line(error)}") from None
    if len(whole) > most:
        raise KibanError(f"{name} has more than {text.MOST_UNPACKED} times its packed size: unpack it, and look")
    return PurePosixPath(members[0].filename).name, whole


def rows(given: Sequence[File], written: WrittenFile) -> pa.Table:
    """The rows of the files, one after another. Columns of text files are text.

    Raises KibanError if one is not what its name says, or if they have other columns.
    """
    parts = [_rows(file, written) for file in given]
    for file, part in zip(given[1:], parts[1:], strict=True):
        for name in sorted(set(part.column_names) ^ set(parts[0].column_names)):
            lacking, other = (given[0], file) if name in part.column_names else (file, given[0])
            raise KibanError(f"{lacking.name} has no column {name!r}, which {other.name} has; correct the files")
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise KibanError(f"the files differ: {one_line(error)}") from None


def _rows(file: File, written: WrittenFile) -> pa.Table:
    if file.is_text():
        encoding = "utf-8" if text.is_utf8(io.BytesIO(file.content)) else written.encoding
        return text.rows(file.content, file.name, written.delimiter, encoding, written.skip)
    if file.name.lower().endswith(LINES):
        return _of_json(file)
    return parquet.read_foreign(file.content, file.name)


def _of_json(file: File) -> pa.Table:
    """The rows of a file with one JSON object on each line. Values become text, as they would stand in CSV."""
    records: list[dict[str, Any]] = []
    for number, line in enumerate(file.content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except ValueError as error:
            raise KibanError(f"{file.name}, line {number}, is not JSON: {one_line(error)}") from None
        if not isinstance(record, dict):
            raise KibanError(f"{file.name}, line {number}, is not an object with a value for each column")
        nested = [name for name, value in record.items() if isinstance(value, list | dict)]
        if nested:
            raise KibanError(f"{file.name}, line {number}: the value of {nested[0]!r} is nested: a table has none")
        records.append(record)
    if not records:
        raise KibanError(f"{file.name} has no rows")
    names = list(dict.fromkeys(name for record in records for name in record))
    try:
        columns = {name: pa.array([_text(record.get(name)) for record in records], pa.string()) for name in names}
    except UnicodeEncodeError as error:
        raise KibanError(f"{file.name} has half of a character: {one_line(error)}; correct the file") from None
    return pa.table(columns)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError if it has a name twice, of which Python would take the last."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} occurs twice")
    return dict(pairs)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
