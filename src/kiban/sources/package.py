"""Source: files of an installed Python package."""

import importlib.metadata
import importlib.util
import zipfile
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import validate_call

from kiban.core.errors import KibanError
from kiban.data.batches import STATIC, Period
from kiban.sources import text


class PackageCsv:
    """A CSV file, plain or zipped, of an installed Python package.

    `batch_by` names the columns of year, month and day that give the name of the batch; without it the table is static.
    """

    @validate_call
    def __init__(self, package: str, file: str, batch_by: list[str] | None = None) -> None:
        self.package = package
        self.file = file
        self.batch_by = batch_by

    def batches(self) -> list[str]:
        return sorted(self._names.unique().to_pylist())

    def read(self, batch: str, period: Period | None) -> pa.Table:
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
        return text.rows(self._content(), self.describe())

    def _content(self) -> bytes:
        # find_spec does not import the package: only its files are needed.
        try:
            spec = importlib.util.find_spec(self.package)
        except ModuleNotFoundError:  # the parent package is missing
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise KibanError(f"the package {self.package!r} is not installed: install requirements.lock")
        path = Path(spec.submodule_search_locations[0]) / self.file
        try:
            if path.suffix == ".zip":
                return _only_member(path, self.file)
            return path.read_bytes()
        except (OSError, zipfile.BadZipFile):
            raise KibanError(f"the package {self.package!r} has no readable file {self.file}") from None

    @cached_property
    def _names(self) -> pa.ChunkedArray:
        if not self.batch_by:
            return pa.chunked_array([pa.repeat(STATIC, self._rows.num_rows)])
        if len(self.batch_by) > 3:
            raise KibanError(f"{self.describe()}: batch_by takes at most three columns: year, month and day")
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


def _only_member(path: Path, file: str) -> bytes:
    """The content of a zip file with one member. Raises KibanError if it has more, or unpacks to too much."""
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            names = ", ".join(member.filename for member in members[:3])
            raise KibanError(f"{file} has {len(members)} members ({names}), and one is read: leave one in it")
        most = text.MOST_UNPACKED * path.stat().st_size
        with archive.open(members[0]) as unpacked:
            content = unpacked.read(most + 1)
    if len(content) > most:
        raise KibanError(f"{file} has more than {text.MOST_UNPACKED} times its packed size: unpack it, and look")
    return content
