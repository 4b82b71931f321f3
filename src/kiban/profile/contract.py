"""The contract of a table: a column for each of its own, with limits that later files may exceed with a warning."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data.contract import Column, Table
from kiban.data.written import WrittenFile
from kiban.profile.ranges import limits
from kiban.profile.roles import Use, uses
from kiban.profile.table import Typed
from kiban.profile.target import Asked
from kiban.profile.types import Read
from kiban.profile.wishes import Wishes
from kiban.servable.columns import OF_DATES, target_from_arrow

MOST_LEVELS = 255  # of a text; one with more has no list of levels


Uses = Mapping[str, Use]
"""The use of each column that is neither the target nor required."""


def contract(
    table: Typed, labels: pa.ChunkedArray, target: Asked, written: WrittenFile, origin: str, wishes: Wishes
) -> tuple[Table, Uses]:
    """The contract of the table, and why its columns are used or not. `labels` are the targets in the contract's type.

    Raises KibanError if a column that must have values lacks one, or if no column is of use.
    """
    decided = _decided(table, labels, target, origin, wishes)
    columns: dict[str, Column] = {}
    for name, read in table.columns.items():
        values = table.rows[name]
        if name in wishes.required and values.null_count:
            row = pc.index(values.is_null(), True).as_py() + 1
            raise KibanError(f"{origin}, row {row}: {name!r} is missing, which --time, --key and --group do not allow")
        use = decided.get(name, Use("info"))
        columns[name] = target.column if name == wishes.target else _column(name, values, read, use, wishes)
    content = {"description": f"{wishes.target} of a row of {origin}", "columns": columns, "written": written}
    content |= {"key": list(wishes.key)} if wishes.key else {}
    return Table.model_validate(content | ({"time": wishes.time} if wishes.time else {})), decided


def _decided(table: Typed, labels: pa.ChunkedArray, target: Asked, origin: str, wishes: Wishes) -> Uses:
    known = table.rows.filter(labels.is_valid())
    fixed = {wishes.target, *wishes.required}
    candidates = [name for name in table.columns if name not in fixed]
    numbered = target_from_arrow(labels.drop_null(), target.column)
    decided = uses(known.select(candidates), table.columns, numbered, target.task)
    decided |= {name: Use("feature", note="kept, as --keep says") for name in wishes.keep if name in candidates}
    if not any(use.role == "feature" for use in decided.values()):
        raise KibanError(f"{origin} has no column that tells of {wishes.target}: --keep COLUMN takes one all the same")
    return decided


def _column(name: str, values: pa.ChunkedArray, read: Read, use: Use, wishes: Wishes) -> Column:
    settings: dict[str, Any] = {
        "type": read.type,
        "role": use.role,
        "nullable": name not in wishes.required,
        "written": read.written,
        "description": name,
    }
    if use.role == "feature" and read.type in ("integer", "number"):
        low, high = limits(values, read.type)
        settings |= {"min": low, "max": high, "out_of_range": "warn"}
    if use.role == "feature" and read.type == "string":
        levels = sorted(values.drop_null().unique().to_pylist())
        settings |= {"levels": levels, "unseen": "warn"} if len(levels) <= MOST_LEVELS else {}
    if use.role == "feature" and read.type in ("date", "timestamp"):
        hour = ["hour"] if read.type == "timestamp" else []
        # Trees cannot go beyond the last day that they have seen: with a split by time its number would mislead them.
        settings["parts"] = [*OF_DATES, *hour, *(["day_number"] if wishes.time is None else [])]
    return Column.model_validate(settings)
