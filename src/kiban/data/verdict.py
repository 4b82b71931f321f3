"""What validation found: the verdict that later stages rest on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core import files, paths
from kiban.core.errors import KibanError

Level = Literal["raw", "prepared"]
LEVELS: tuple[Level, ...] = get_args(Level)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Model):
    """An expectation that a batch does not meet; `examples` are offending values with their keys, if it has any."""

    table: str
    batch: str
    column: str | None
    expectation: str
    severity: Literal["reject", "warn"]
    rows: int | None
    observed: str | None
    examples: list[dict[str, Any]]


class Checked(_Model):
    """What checking one batch gave: the number of expectations, and those that it does not meet."""

    expectations: int
    findings: list[Finding]


class Verdict(_Model):
    """SHA-256 of the batches that passed and of those that did not, by table and batch; number of expectations by
    table; what was found."""

    accepted: dict[str, dict[str, str]]
    rejected: dict[str, dict[str, str]]
    expectations: dict[str, int]
    findings: list[Finding]

    def reasons(self) -> dict[str, list[Finding]]:
        """The findings by which batches are not to be used, by name of the batch."""
        by_batch: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.severity == "reject":
                by_batch.setdefault(finding.batch, []).append(finding)
        return by_batch

    def in_words(self) -> str:
        """The numbers of it."""
        accepted, rejected = (
            sum(len(hashes) for hashes in batches.values()) for batches in (self.accepted, self.rejected)
        )
        warnings = sum(finding.severity == "warn" for finding in self.findings)
        return f"{accepted} batches accepted, {rejected} rejected, {warnings} warnings"


def as_text(value: Any) -> str:
    """A value in a finding: the same text for the same value, whatever type pandas or an engine gave it."""
    if value is None or (isinstance(value, float | datetime) and value != value):  # NaN, and pandas' NaT
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} levels"
    return str(value)


@contextmanager
def opened(path: Path, digest: str) -> Iterator[BinaryIO]:
    """The open file at `path`; KibanError if it is not the one of this SHA-256, to which a verdict was given."""
    problem = KibanError(f"{path} is not the file that was validated: run `dvc repro`")
    if not path.is_file():
        raise problem
    with files.hashed(path) as (file, found):
        if found != digest:
            raise problem
        yield file


def read(level: Level) -> Verdict:
    """The verdict on the raw or prepared data; KibanError if there is none."""
    path = paths.verdict(level)
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise KibanError(f"{path} is missing or not a verdict: run `dvc repro`") from None
