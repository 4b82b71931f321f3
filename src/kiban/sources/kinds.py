"""The kinds of sources of raw batches, and the protocol that each implements.

conf/dataset/ names a source by `_target_` and gives its options. A source lists its batches and reads one of them.
`kiban.ingest` converts the rows to the contract's schema, so that the same rows give the same bytes from every source.
To add a kind, write a class with the three methods of `Source` in a file of this room: kiban.sources.FILE.CLASS.
"""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import pyarrow as pa
from pydantic import ValidationError

from kiban.core.errors import KibanError, one_line
from kiban.core.settings import explain
from kiban.data import parquet
from kiban.data.batches import Period
from kiban.sources.settings import Source as SourceSettings

# The module of each kind. It is imported only if it is used: a database's client may not be installed.
KINDS = {"PackageCsv": "package", "Files": "by_glob", "Given": "given", "Sql": "sql"}


class Source(Protocol):
    """The source of one table."""

    def batches(self) -> list[str]:
        """The names of the batches that the source has, sorted."""
        ...

    def read(self, batch: str, period: Period | None) -> pa.Table | Iterable[pa.Table]:
        """The rows of one batch, which covers `period`, in the types of the source; in parts, if they may be many.

        Raises KibanError, perhaps only from the iterator, if the source has no such batch or cannot be read.
        """
        ...

    def describe(self) -> str:
        """The origin of a snapshot as the ledger records it. It must contain no secret and no absolute path."""
        ...


class Opened:
    """A source, whose batches are read in parts, with null in the place of the texts that stand for it."""

    def __init__(self, source: Source, missing: list[str]) -> None:
        self.source = source
        self.missing = missing

    def batches(self) -> list[str]:
        return self.source.batches()

    def read(self, batch: str, period: Period | None) -> Iterator[pa.Table]:
        rows = self.source.read(batch, period)
        for part in [rows] if isinstance(rows, pa.Table) else rows:
            yield parquet.with_nulls(part, self.missing) if self.missing else part

    def describe(self) -> str:
        return self.source.describe()


def open_source(settings: SourceSettings) -> Opened:
    """The source that the settings name. Raises KibanError if there is no such kind or if an option is wrong."""
    kind = _kind(settings.target)
    try:
        source: Source = kind(**settings.options)
    except ValidationError as error:
        # The value is not shown: it may be a secret that was written in the wrong place.
        raise KibanError(f"dataset source {settings.target}: option {explain(error, show_input=False)}") from None
    except TypeError as error:  # of a class that does not check its options by pydantic
        raise KibanError(f"dataset source {settings.target}: {one_line(error)}") from None
    return Opened(source, settings.missing)


def _kind(target: str) -> type[Any]:
    """The class of a kind: one of KINDS, or kiban.sources.FILE.CLASS of a file that a team has added."""
    file, _, name = target.removeprefix("kiban.sources.").rpartition(".")
    module = f"kiban.sources.{file or KINDS.get(name, name)}"
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        kind = None
    if not isinstance(kind, type) or not all(hasattr(kind, method) for method in ("batches", "read", "describe")):
        raise KibanError(
            f"dataset source _target_: there is no source {target!r}: name one of {', '.join(sorted(KINDS))}, or "
            "FILE.CLASS of a file in src/kiban/sources/"
        )
    return kind
