"""Where raw batches come from, one module a kind.

A source is a class named in conf/dataset/ by `_target_` with its options. It knows which batches there are and reads
one; what it reads is brought into the contract's schema here, so that the same rows give the same bytes whatever the
source. A kind of your own is a class with the three methods of `Source`, and a row in KINDS.
"""

import importlib
from typing import Protocol

import pyarrow as pa
from pydantic import ValidationError

from kiban.core.errors import KibanError
from kiban.core.settings import explain
from kiban.data.batches import Period
from kiban.sources.settings import Source as SourceSettings

# The module of each kind: a database's client is imported only where it is used.
KINDS = {"PackageCsv": "package", "Files": "by_glob", "Sql": "sql"}


class Source(Protocol):
    """One table's source."""

    def batches(self) -> list[str]:
        """The names of the batches that the source has, sorted."""
        ...

    def read(self, batch: str, period: Period | None) -> pa.Table:
        """The rows of one batch, which covers `period`, as the source has them; KibanError if there are none."""
        ...

    def describe(self) -> str:
        """What the ledger records as the origin of a snapshot: no secret, no path of this machine."""
        ...


def open_source(settings: SourceSettings) -> Source:
    """The source that the settings name; KibanError if there is none, or if an option does not fit."""
    name = settings.target.removeprefix("kiban.sources.")
    if name not in KINDS:
        raise KibanError(f"dataset source _target_: there is no source {settings.target!r}, only {sorted(KINDS)}")
    kind = getattr(importlib.import_module(f"kiban.sources.{KINDS[name]}"), name)
    try:
        source: Source = kind(**settings.options)
    except ValidationError as error:
        # The value is not shown: it may be what should not have been written there.
        raise KibanError(f"dataset source {settings.target}: option {explain(error, show_input=False)}") from None
    return source
