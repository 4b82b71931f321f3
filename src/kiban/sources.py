"""Where raw batches come from.

A source is a class of this module, named in conf/dataset/ by `_target_` with its options. It knows which batches there
are and reads one; what it reads is brought into the contract's schema by the caller.
"""

import importlib.metadata
import importlib.util
import io
import zipfile
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kiban import parquet
from kiban.batches import STATIC
from kiban.contract import Table
from kiban.errors import KibanError
from kiban.ledger import Entry
from kiban.settings.dataset import Source as SourceSettings


class Source(Protocol):
    """One table's source."""

    def batches(self) -> list[str]:
        """The names of the batches that the source has, sorted."""
        ...

    def read(self, batch: str) -> pa.Table:
        """The rows of one batch as the source has them; KibanError if there is no such batch."""
        ...

    def describe(self) -> str:
        """What the ledger records as the origin of a snapshot: no secret, no path of this machine."""
        ...


def open_source(settings: SourceSettings) -> Source:
    """The source that the settings name; KibanError if there is none, or if an option does not fit."""
    name = settings.target.removeprefix("kiban.sources.")
    known: dict[str, type[Source]] = {"PackageCsv": PackageCsv}
    if name not in known:
        raise KibanError(f"dataset source _target_: there is no source {settings.target!r}, only {sorted(known)}")
    try:
        return known[name](**settings.options)
    except TypeError as error:
        raise KibanError(
            f"dataset source {settings.target}: {str(error).partition('__init__() ')[2] or error}"
        ) from None


def take(source: Source, contract: Table, batch: str, path: Path, expected: Entry | None = None) -> Entry:
    """Read one batch, write it to `path`, and return its entry.

    With `expected` the bytes must be those that the ledger recorded; if they are not, nothing is written and
    KibanError says so.
    """
    where = f"{path.parent.name} {batch} ({source.describe()})"
    rows = parquet.conform(source.read(batch), contract, where)
    beside = path.with_name(path.name + ".taken")
    parquet.write(rows, beside)
    digest = parquet.sha256(beside)
    if expected is not None and digest != expected.sha256:
        beside.unlink()
        raise KibanError(
            f"{where}: the source has other rows now ({rows.num_rows}) than the snapshot in the ledger "
            f"({expected.rows}); get the snapshot with `dvc pull` from a remote that has it"
        )
    beside.replace(path)
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Entry(rows=rows.num_rows, sha256=digest, source=source.describe(), taken_at=taken_at)


class PackageCsv:
    """A CSV file, plain or zipped, that an installed Python package carries.

    `batch_by` names the columns of year, month and day that name the batch; without it the table is static. NA is null.
    """

    def __init__(self, package: str, file: str, batch_by: list[str] | None = None) -> None:
        self.package = package
        self.file = file
        self.batch_by = batch_by

    def batches(self) -> list[str]:
        return sorted(self._names.unique().to_pylist())

    def read(self, batch: str) -> pa.Table:
        rows = self._rows.filter(pc.equal(self._names, batch))
        if rows.num_rows == 0:
            raise KibanError(f"{self.describe()} has no batch {batch}")
        return rows

    def describe(self) -> str:
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            version = "without version"
        return f"{self.package} {version}: {self.file}"

    @cached_property
    def _rows(self) -> pa.Table:
        content = self._content()
        try:
            header = pyarrow.csv.open_csv(io.BytesIO(content)).schema.names
            # Every column as text: the contract gives the types, and a value that does not fit can be named.
            options = pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=["NA", ""], strings_can_be_null=True
            )
            rows = pyarrow.csv.read_csv(io.BytesIO(content), convert_options=options)
        except pa.ArrowInvalid as error:
            raise KibanError(f"{self.describe()} is not a CSV file: {str(error).splitlines()[0]}") from None
        if rows.num_rows == 0:
            raise KibanError(f"{self.describe()} has no rows")
        return rows

    def _content(self) -> bytes:
        # find_spec does not import the package: its code need not work, only its files are read.
        try:
            spec = importlib.util.find_spec(self.package)
        except ModuleNotFoundError:  # of the package around it
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise KibanError(f"the package {self.package!r} is not installed: install requirements.lock")
        path = Path(spec.submodule_search_locations[0]) / self.file
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    return archive.read(archive.namelist()[0])
            return path.read_bytes()
        except (OSError, zipfile.BadZipFile):
            raise KibanError(f"the package {self.package!r} has no readable file {self.file}") from None

    @cached_property
    def _names(self) -> pa.ChunkedArray:
        if not self.batch_by:
            return pa.chunked_array([pa.repeat(STATIC, self._rows.num_rows)])
        if len(self.batch_by) > 3:
            raise KibanError(f"{self.describe()}: batch_by takes the columns of year, month and day, no more")
        missing = [name for name in self.batch_by if name not in self._rows.column_names]
        if missing:
            raise KibanError(f"{self.describe()}: column {missing[0]!r} is missing, which names the batch")
        for name in self.batch_by:
            if self._rows[name].null_count:
                row = self._rows[name].is_null().index(True).as_py() + 1
                raise KibanError(f"{self.describe()}: column {name!r}, row {row} is null, but it names the batch")
        widths = (4, 2, 2)
        parts = [pc.utf8_lpad(self._rows[name], width, "0") for name, width in zip(self.batch_by, widths, strict=False)]
        return pc.binary_join_element_wise(*parts, "-") if len(parts) > 1 else parts[0]
