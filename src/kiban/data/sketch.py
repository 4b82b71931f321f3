"""A batch in a few numbers for each week, by which batches are compared without reading them again."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from kiban.data.batches import bounds
from kiban.data.contract import Table
from kiban.data.distance import Values, between, values_of

HOURS = "hour of the day"
"""The name of the column of local hours, which every table with a time has beside its own. No contract has a space."""

MOST_LEVELS = 30  # of a column with compare_by: the most frequent
SECOND = 1_000_000  # microseconds, in which timestamps are stored


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Week(_Model):
    """The rows of a week, or of a whole batch that is shorter than two.

    `first` is the local day on which it begins, `days` its length. `days_with_rows` are counted from 0. `columns` are
    the values by column.
    """

    first: date
    days: int
    days_with_rows: list[int]
    rows: int
    columns: dict[str, Values]


class Level(_Model):
    """The rows of a batch with one level of a column with `compare_by`.

    `days_with_rows` are local days, counted from the batch's first day. By column: the share of nulls, and how far the
    values are from those of all rows of the batch.
    """

    days_with_rows: list[int]
    nulls: dict[str, float]
    distances: dict[str, float]


class Sketch(_Model):
    """A batch, whose first local day is `first` and which has `days` of them.

    `days_with_rows` are counted from 0. `weeks` are those that have rows, in order. `levels` are by the column with
    `compare_by`, and by the level.
    """

    first: date
    days: int
    days_with_rows: list[int]
    weeks: list[Week]
    levels: dict[str, dict[str, Level]]


def sketch(rows: pa.Table, contract: Table, batch: str, timezone: str) -> Sketch:
    """The sketch of the rows of a batch, whose weeks are counted from its first day. The last takes what remains.

    The table has a time, and all rows are of the period that the batch is named after.
    """
    first, end = (bound.date() for bound in bounds(batch, timezone))
    days = (end - first).days
    local = _local(rows[contract.time], timezone)
    day = pc.days_between(pa.scalar(first), local.cast(pa.date32())).to_numpy()
    columns = {name: _comparable(rows, name, contract) for name in contract.columns if name != contract.time}
    table = pa.table({**columns, HOURS: pc.strftime(local, "%H")})
    starts = [7 * week for week in range(max(1, days // 7))]
    weeks = []
    for start, stop in zip(starts, [*starts[1:], days], strict=True):
        inside = (day >= start) & (day < stop)
        if inside.any():
            part = table.filter(pa.array(inside))
            week = Week(
                first=first + timedelta(days=start),
                days=stop - start,
                days_with_rows=_distinct(day[inside] - start),
                rows=part.num_rows,
                columns=_values(part),
            )
            weeks.append(week)
    compared = [name for name, column in contract.columns.items() if column.compare_by]
    levels = {name: dict(_levels(table, day, name)) for name in compared}
    return Sketch(first=first, days=days, days_with_rows=_distinct(day), weeks=weeks, levels=levels)


def _local(times: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """Times as local times without a zone. A date is its midnight."""
    if pa.types.is_date(times.type):
        return times.cast(pa.timestamp("us"))
    return pc.local_timestamp(times.cast(pa.timestamp("us", timezone)))


def _comparable(rows: pa.Table, name: str, contract: Table) -> pa.ChunkedArray:
    """The values of a column. Those of a further time are its seconds since the time of the row."""
    values = rows[name]
    if contract.columns[name].type not in ("timestamp", "date"):
        return values
    since, until = (rows[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for column in (contract.time, name))
    return pc.divide(pc.subtract(until, since).cast(pa.float64()), SECOND)


def _distinct(days: npt.NDArray[np.int64]) -> list[int]:
    return [int(number) for number in np.unique(days)]


def _values(rows: pa.Table) -> dict[str, Values]:
    return {name: values_of(rows[name]) for name in rows.column_names}


def _levels(rows: pa.Table, day: npt.NDArray[np.int64], name: str) -> Iterator[tuple[str, Level]]:
    whole = _values(rows)
    shares = whole[name].shares or {}
    texts = rows[name].cast(pa.string())
    for level in sorted(shares, key=lambda level: (-shares[level], level))[:MOST_LEVELS]:
        inside = pc.fill_null(pc.equal(texts, level), False)
        parts = _values(rows.drop_columns(name).filter(inside))
        distances = {other: between(part, whole[other]) for other, part in parts.items()}
        yield (
            level,
            Level(
                days_with_rows=_distinct(day[inside.to_numpy()]),
                nulls={other: part.nulls for other, part in parts.items()},
                distances={other: distance for other, distance in distances.items() if distance is not None},
            ),
        )
