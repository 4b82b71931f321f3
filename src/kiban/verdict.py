"""What validation found: the verdict that later stages rest on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.errors import KibanError

Level = Literal["raw", "prepared"]


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


class Verdict(_Model):
    """SHA-256 of every batch that passed, by table and batch; number of expectations by table; what was found."""

    accepted: dict[str, dict[str, str]]
    expectations: dict[str, int]
    findings: list[Finding]

    def rejections(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "reject"]


def folder(level: Level) -> Path:
    """Where verdict.json and index.html of a level of data lie."""
    return Path("reports/validation") / level


def read(level: Level) -> Verdict:
    """The verdict on the raw or prepared data; KibanError if there is none."""
    path = folder(level) / "verdict.json"
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise KibanError(f"{path} is missing or not a verdict: run `dvc repro`") from None
