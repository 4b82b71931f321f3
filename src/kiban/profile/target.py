"""The task that a target column asks for, with the reason, and its column of the contract."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data import rules
from kiban.data.contract import Column
from kiban.data.written import Written
from kiban.profile.ranges import limits
from kiban.profile.table import Typed
from kiban.profile.types import Read
from kiban.profile.wishes import Wishes
from kiban.tasks.task import Name

YES = ("yes", "true", "1", "y", "t", "ja", "oui", "si")
MOST_CLASSES = 100
ROWS_OF_CLASS = 10  # whole numbers are classes only with so many rows of each, and
ROWS_BY_VALUE = 20  # so many rows for each value, of
MOST_NUMBERS = 10  # values at most


class Asked(NamedTuple):
    """The task, why it is that, and the target's column of the contract."""

    task: Name
    reason: str
    column: Column


def asked(wishes: Wishes, raw: pa.ChunkedArray, table: Typed) -> Asked:
    """The task of the target column, whose values are `raw` in the source.

    Raises KibanError if no model can answer about the column, or not as a person wishes.
    """
    name, task, positive = wishes.target, wishes.task, wishes.positive
    read, present = table.columns[name], table.rows[name].drop_null()
    counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(present).to_pylist()}
    if len(counts) < 2:
        raise KibanError(f"--target {name}: it has only one value, so there is nothing to predict")
    if read.type in ("date", "timestamp"):
        raise KibanError(f"--target {name}: it is a time; give a column of yes or no, of classes, or of numbers")
    wanted, reason = (task, "as --task says") if task else _told(counts, read, len(present))
    if positive is not None and task is None:
        wanted, reason = "binary", f"{positive!r} or not, as --positive says"
    described: dict[str, Any] = {"role": "target", "nullable": True, "description": name, "written": read.written}
    if wanted == "regression":
        if read.type not in ("integer", "number"):
            raise KibanError(f"--task regression: the values of {name} are no numbers")
        low, high = limits(present, read.type)
        described |= {"min": low, "max": high, "out_of_range": "warn"}
        return Asked("regression", reason, Column(type=read.type, **described))
    if read.type == "boolean" and wanted == "binary":
        return Asked("binary", reason, Column(type="boolean", **described))
    if read.type == "number":
        raise KibanError(f"--task {wanted}: the values of {name} are fractions: give --task regression")
    if wanted == "binary":
        value = _positive(name, counts, positive)
        levels = sorted(counts) if read.type == "string" else None
        ends = {"min": min(counts), "max": max(counts)} if read.type == "integer" else {}
        return Asked(
            "binary",
            f"{reason}; positive is {str(value)!r}, {counts[value] / len(present):.0%} of the rows",
            Column(type=read.type, levels=levels, positive=value, **ends, **described),
        )
    if len(counts) > MOST_CLASSES or len(counts) > len(present) / ROWS_OF_CLASS:
        raise KibanError(
            f"--target {name}: {len(counts):,} classes in {len(present):,} rows are too many to learn; "
            "give another target, or --task regression for numbers"
        )
    if read.type == "string":
        return Asked("multiclass", reason, Column(type="string", levels=sorted(counts), **described))
    levels, written = _as_texts(raw, read, sorted(counts))
    return Asked("multiclass", reason, Column(type="string", levels=levels, **{**described, "written": written}))


def _as_texts(raw: pa.ChunkedArray, read: Read, values: list[Any]) -> tuple[list[str], Written | None]:
    """Classes that are whole numbers, as they stand in the source, in the order of the numbers."""
    if not rules.is_text(raw.type):
        return [_word(value) for value in values], None
    missing = read.written.missing if read.written else []
    texts = pc.utf8_trim_whitespace(raw.cast(pa.string())).unique().to_pylist()
    levels = [text for text in texts if text and text not in missing]
    if len(levels) > len(values):
        raise KibanError("the classes are whole numbers that are written in several ways: give --task regression")
    numbers = read.written or Written()
    ordered = sorted(levels, key=lambda text: int(numbers.canonical(text, "integer") or 0))
    return ordered, Written(missing=missing) if read.written else None


def _told(counts: dict[Any, int], read: Read, rows: int) -> tuple[Name, str]:
    """The task that the values tell, and the reason."""
    if read.type == "boolean" or len(counts) == 2:
        return "binary", "two values"
    if read.type == "string":
        return "multiclass", f"{len(counts)} texts"
    if read.type == "number":
        return "regression", "fractions"
    few = len(counts) <= MOST_NUMBERS and min(counts.values()) >= ROWS_OF_CLASS and rows >= ROWS_BY_VALUE * len(counts)
    if few:
        return "multiclass", f"{len(counts)} whole numbers, each often; --task regression if they count something"
    return "regression", f"{len(counts):,} whole numbers"


def _positive(name: str, counts: dict[Any, int], positive: str | None) -> Any:
    """The value that counts as true: what a person said, or a word for yes, or the rarer of two."""
    if positive is not None:
        for value in counts:
            if _word(value) == positive:
                return value
        known = ", ".join(repr(_word(value)) for value in list(counts)[:10])
        raise KibanError(f"--positive {positive}: {name} has no such value, but {known}")
    if len(counts) > 2:
        raise KibanError(
            f"--task binary: {name} has {len(counts)} values: give the one that counts as yes by --positive"
        )
    words = [value for value in counts if _word(value).casefold() in YES]
    return words[0] if len(words) == 1 else min(counts, key=lambda value: (counts[value], _word(value)))


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
