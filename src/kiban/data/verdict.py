"""The verdict of validation, which later stages read."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.core.text import plain

Level = Literal["raw", "prepared"]
LEVELS: tuple[Level, ...] = get_args(Level)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Model):
    """An expectation that a batch does not meet. `examples` are rows with a failing value and their keys."""

    table: str
    batch: str
    column: str | None
    expectation: str
    severity: Literal["reject", "warn"]
    rows: int | None
    observed: str | None
    examples: list[dict[str, Any]]


LIKE_EARLIER = "like_earlier_batches"
"""The expectation of a batch that is compared with earlier ones; the check follows in brackets."""


class Expected(_Model):
    """An expectation of a contract, in the words of a finding."""

    column: str | None
    expectation: str


class Checked(_Model):
    """The result of checking one batch: its rows, the expectations, and a finding for each that it fails."""

    rows: int
    expectations: list[Expected]
    findings: list[Finding]


class Verdict(_Model):
    """The verdict on all batches of a level.

    `accepted` and `rejected` have the SHA-256 of each batch by table and batch. `expectations` are those of
    each table, `rows` the number of rows by table and batch, and `uncompared` the batches that have too few before them
    to be compared with. `left_out` has the reason for each batch that a person left out: features look back on it, but
    no model learns from it, and none is measured by it.
    """

    accepted: dict[str, dict[str, str]]
    rejected: dict[str, dict[str, str]]
    expectations: dict[str, list[Expected]]
    findings: list[Finding]
    rows: dict[str, dict[str, int]] = {}
    uncompared: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}

    def reasons(self) -> dict[str, list[Finding]]:
        """The findings with severity `reject`, by batch."""
        by_batch: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.severity == "reject":
                by_batch.setdefault(finding.batch, []).append(finding)
        return by_batch

    def in_words(self) -> str:
        """The numbers of batches accepted and rejected, and of warnings, as text."""
        accepted, rejected = (
            sum(len(hashes) for hashes in batches.values()) for batches in (self.accepted, self.rejected)
        )
        warnings = sum(finding.severity == "warn" for finding in self.findings)
        return f"{accepted} batches accepted, {rejected} rejected, {warnings} warnings"


def as_text(value: Any) -> str:
    """The text of a value in a finding. It is the same whatever type pandas or an engine gave the value."""
    if value is None or (isinstance(value, float | datetime) and value != value):  # NaN, and pandas' NaT
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} levels"
    return plain(_short(value))


def _short(value: Any) -> Any:
    """A value whose numbers, also within lists and mappings, have the digits that their text has alone."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:g}")
    if isinstance(value, list):
        return [_short(each) for each in value]
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return value


@contextmanager
def opened(path: Path, digest: str) -> Iterator[BinaryIO]:
    """The file at `path`, open for reading.

    Raises KibanError if it does not have the SHA-256 `digest`, which the verdict has for it.
    """
    problem = KibanError(f"{path} is not the file that was validated: run `dvc repro`")
    if not path.is_file():
        raise problem
    with files.hashed(path) as (file, actual):
        if actual != digest:
            raise problem
        yield file


def read(level: Level) -> Verdict:
    """The verdict on the raw or the prepared data. Raises KibanError if it is missing or cannot be read."""
    path = paths.verdict(level)
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise KibanError(f"{path} is missing or not a verdict: run `dvc repro`") from None
