"""The prepared data: its numbers of rows, and reading the batches that validation has accepted."""

import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import parquet, pieces, verdict

TABLE = "prepared"
"""The name of the prepared table in its verdict."""


class Counts(BaseModel):
    """The number of rows of a prepared batch, and of the rows that were left out.

    A row without a target is left out: it can be used neither to train nor to test.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    left_out_without_target: int


class PreparedBatch(Counts):
    """A prepared batch that validation accepted. Reports of the first release have no hash."""

    sha256: str | None = None


class Account(BaseModel):
    """The content of reports/data.json, which is in git: the data that a model may use.

    `quarantined` has the reasons for each batch that validation rejected, `left_out` the one for each batch that a
    person left out.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    rows: int = 0
    left_out_without_target: int = 0
    batches: dict[str, PreparedBatch] = {}
    quarantined: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}


def parse_account(content: bytes) -> Account:
    """The account in the content of reports/data.json, or an empty account if the content does not fit."""
    try:
        return Account.model_validate_json(content)
    except ValidationError:
        return Account()


def write_account(account: Account) -> None:
    """Write reports/data.json. Only the stage validate_prepared does so."""
    files.write(paths.DATA, (account.model_dump_json(indent=1) + "\n").encode())


def write_counts(counts: Mapping[str, Counts]) -> None:
    paths.PREPARED_COUNTS.parent.mkdir(exist_ok=True)
    text = json.dumps({batch: count.model_dump() for batch, count in counts.items()}, indent=1) + "\n"
    paths.PREPARED_COUNTS.write_text(text, encoding="utf-8")


def read_counts() -> dict[str, Counts]:
    """The counts of each prepared batch. Raises KibanError if their file is missing or not whole."""
    try:
        return TypeAdapter(dict[str, Counts]).validate_json(paths.PREPARED_COUNTS.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise KibanError(f"{paths.PREPARED_COUNTS} is missing or not whole: run `dvc repro`") from None


def accepted() -> dict[str, str]:
    """The SHA-256 of each prepared batch that validation accepted and nobody left out, sorted by name.

    Raises KibanError if there is no verdict.
    """
    known = verdict.read("prepared")
    return {
        name: digest for name, digest in sorted(known.accepted.get(TABLE, {}).items()) if name not in known.left_out
    }


def in_pieces(dataset: str, batch: str, digest: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a batch, or some of their columns, a piece at a time. Raises KibanError if its file has other bytes
    than those of the SHA-256 `digest`.
    """
    with verdict.opened(paths.prepared_file(dataset, batch), digest) as file:
        yield from pieces.read(file, columns)


def read(dataset: str, hashes: Mapping[str, str]) -> pa.Table:
    """The rows of batches, given by name with their SHA-256, in the order of their names.

    Raises KibanError if a file has other bytes.
    """
    parts = []
    for batch, digest in sorted(hashes.items()):
        with verdict.opened(paths.prepared_file(dataset, batch), digest) as file:
            parts.append(parquet.read_open(file))
    return pa.concat_tables(parts)
