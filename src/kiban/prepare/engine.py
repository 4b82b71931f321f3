"""The engine that computes the features of batches: a module with the functions of `Engine`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend

from kiban.core import extras
from kiban.data import settings
from kiban.data.contract import Table
from kiban.prepare import on_duckdb


class Engine(Protocol):
    """What an engine does; on_duckdb.py says it of each."""

    def connect(self, scratch: Path | None = None) -> BaseBackend: ...

    def table(self, session: BaseBackend, name: str, files: Sequence[BinaryIO]) -> ir.Table: ...

    def in_order(
        self, session: BaseBackend, features: ir.Table, contract: Table, count: int, where: str, scratch: Path
    ) -> Iterator[pa.Table]: ...


def engine(name: settings.Engine) -> Engine:
    """The engine of this name. Raises KibanError if it is not installed."""
    if name == "duckdb":
        return on_duckdb
    extras.check("pyspark", "spark", "params.yaml: engine")
    from kiban.prepare import on_spark

    return on_spark
