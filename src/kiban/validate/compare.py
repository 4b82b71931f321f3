"""Batches beside those before them. The sketch of a batch, and what was found about it, are remembered."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from kiban.core import files, memo
from kiban.core.errors import KibanError
from kiban.data import pieces
from kiban.data.batches import DELIVERY, STATIC, base, bounds
from kiban.data.contract import Table
from kiban.data.sketch import Sketch, sketch
from kiban.data.verdict import Finding
from kiban.validate.settings import History

LEAST_BATCHES = 3  # before a batch can be compared with them
LEAST_DAYS = 9  # of batches of a day: two changes from one week to the next are then known, and the day a week ago

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


def is_compared(contract: Table, batch: str) -> bool:
    """Whether batches of a table are compared with earlier ones."""
    return contract.time is not None and batch != STATIC and batch == base(batch) and not DELIVERY.fullmatch(batch)


def can_be_compared(batch: str, earlier: Sequence[str], timezone: str) -> bool:
    """Whether there are enough batches before this one to compare it with them."""
    start, end = bounds(batch, timezone)
    return len(earlier) >= (LEAST_DAYS if (end - start).days <= 1 else LEAST_BATCHES)


def compared(
    versions: Sequence[Version], contract: Table, table: str, timezone: str, settings: History
) -> list[Finding]:
    """The findings about the last of `versions` beside the others, which are earlier.

    They are warnings if the batch is one of those that the settings accept.

    Raises KibanError if a file that has to be read is not that version.
    """
    *_, last = versions
    key = memo.key(
        what="compare",
        files=[(version.batch, version.sha256) for version in versions],
        contract=contract.model_dump(mode="json"),
        table=table,
        timezone=timezone,
        settings=settings.model_dump(mode="json", exclude={"accept"}),
        code=memo.code(JUDGEMENT, PACKAGES),
    )
    remembered = memo.recall(key, Compared)
    if remembered is None:
        from kiban.validate import history  # the import takes a while

        *earlier, new = sketched(versions, contract, timezone)
        remembered = Compared(findings=history.judge(new, earlier, settings, table, last.batch))
        memo.remember(key, remembered)
    if last.sha256 in settings.accept:
        return [finding.model_copy(update={"severity": "warn"}) for finding in remembered.findings]
    return remembered.findings


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
    problem = KibanError(f"{version.path} was changed meanwhile: run `dvc repro`")
    if not version.path.is_file():
        raise problem
    with files.hashed(version.path) as (file, digest), files.scratch(version.path) as scratch:
        if digest != version.sha256:
            raise problem
        with pieces.as_now(file, contract, version.batch, scratch) as path:
            made = sketch(pieces.Columns(path), contract, version.batch, timezone)
    memo.remember(key, made)
    return made
