"""The prepared data: where it lies, and reading the batches that validation has accepted."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from kiban import parquet, verdict
from kiban.errors import KibanError

TABLE = "prepared"
"""The name under which the verdict knows the prepared table."""


def folder(dataset: str) -> Path:
    return Path("data/prepared") / dataset


def batch_file(dataset: str, batch: str) -> Path:
    return folder(dataset) / f"{batch}.parquet"


def accepted(dataset: str) -> dict[str, str]:
    """The SHA-256 of each prepared batch that passed validation; KibanError if a file is not what was validated."""
    hashes = verdict.read("prepared").accepted.get(TABLE, {})
    for batch, digest in hashes.items():
        path = batch_file(dataset, batch)
        if not path.exists() or parquet.sha256(path) != digest:
            raise KibanError(f"{path} is not the file that was validated: run `dvc repro`")
    return dict(sorted(hashes.items()))


def read(dataset: str, batches: Iterable[str]) -> pa.Table:
    """The rows of the named batches, in the order of their names."""
    return pa.concat_tables([parquet.read(batch_file(dataset, batch)) for batch in sorted(batches)])
