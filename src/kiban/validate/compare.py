"""Batches beside those before them. The sketch of a batch, and what was found about it, are remembered."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from kiban.core import memo
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.contract import Table
from kiban.data.sketch import Sketch, sketch
from kiban.data.verdict import Finding
from kiban.validate.settings import History

LEAST_BATCHES = 3  # before a batch can be compared with them

SKETCH = ("kiban.data.sketch",)
JUDGEMENT = ("kiban.validate.history",)
PACKAGES = ("numpy", "pyarrow", "scipy")


class Version(NamedTuple):
    """A batch, and the file with its rows, of which the SHA-256 is known."""

    path: Path
    batch: str
    sha256: str


class Compared(BaseModel):
    """What was found about a batch."""

    findings: list[Finding]


def compared(
    versions: Sequence[Version], contract: Table, table: str, timezone: str, settings: History
) -> list[Finding]:
    """The findings about the last of `versions` beside the others, which are earlier.

    Raises KibanError if a file that has to be read is not that version.
    """
    *_, last = versions
    key = memo.key(
        what="compare",
        files=[(version.batch, version.sha256) for version in versions],
        contract=contract.model_dump(mode="json"),
        table=table,
        timezone=timezone,
        settings=settings.model_dump(mode="json"),
        code=memo.code(JUDGEMENT, PACKAGES),
    )
    if (remembered := memo.recall(key, Compared)) is not None:
        return remembered.findings
    from kiban.validate import history  # the import takes a while

    *earlier, new = sketched(versions, contract, timezone)
    findings = history.judge(new, earlier, settings, table, last.batch)
    memo.remember(key, Compared(findings=findings))
    return findings


def sketched(versions: Sequence[Version], contract: Table, timezone: str) -> list[Sketch]:
    """The sketches of batches, in order. Raises KibanError if a file that has to be read is not that version."""
    return [_sketch(version, contract, timezone) for version in versions]


def _sketch(version: Version, contract: Table, timezone: str) -> Sketch:
    key = memo.key(
        what="sketch",
        file=version.sha256,
        contract=contract.model_dump(mode="json"),
        batch=version.batch,
        timezone=timezone,
        code=memo.code(SKETCH, PACKAGES),
    )
    if (remembered := memo.recall(key, Sketch)) is not None:
        return remembered
    rows = parquet.read_version(version.path, version.sha256)
    if rows is None:
        raise KibanError(f"{version.path} was changed meanwhile: run `dvc repro`")
    made = sketch(rows, contract, version.batch, timezone)
    memo.remember(key, made)
    return made
