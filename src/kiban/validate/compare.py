"""Batches beside those before them. The sketch of a batch, and what was found about it, are remembered."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kiban.core import memo
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.contract import Table
from kiban.data.verdict import Checked, Finding
from kiban.validate.settings import History

if TYPE_CHECKING:
    from kiban.data.sketch import Sketch

LEAST_BATCHES = 3  # before a batch can be compared with them

SKETCH = ("kiban.data.sketch",)
JUDGEMENT = ("kiban.validate.history",)
PACKAGES = ("numpy", "pyarrow", "scipy")


class Version(NamedTuple):
    """A batch, and the file with its rows, of which the SHA-256 is known."""

    path: Path
    batch: str
    sha256: str


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
    if (remembered := memo.recall(key, Checked)) is not None:
        return remembered.findings
    from kiban.validate import history  # the import takes a while

    *earlier, new = (_sketch(version, contract, timezone) for version in versions)
    findings = history.judge(new, earlier, settings, table, last.batch)
    memo.remember(key, Checked(expectations=0, findings=findings))
    return findings


def _sketch(version: Version, contract: Table, timezone: str) -> "Sketch":
    from kiban.data.sketch import Sketch, sketch

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
