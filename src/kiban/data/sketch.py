"""A batch in a few numbers for each week, by which batches are compared without reading them again."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from kiban.data.batches import Period, bounds
from kiban.data.contract import Table
from kiban.data.distance import Values, between, values_of

HOURS = "hour of the day"
"""The name of the column of local hours, which every table with a time has beside its own, if none has this name."""

MOST_LEVELS = 30  # of a column with compare_by: the most frequent
SECOND = 1_000_000  # microseconds, in which timestamps are stored


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Week(_Model):
    """The rows of a week, or of a whole batch that is shorter than two.

    `first` is the local day on which it begins, `rows` their number on each day from then on. `columns` are the values
    by column.
    """

    first: date
    rows: list[int]
    columns: dict[str, Values]

    @property
    def rows_a_day(self) -> float:
        """The mean number of rows on the days that have some, of which there is at least one."""
        return float(sum(self.rows) / np.count_nonzero(self.rows))


class Level(_Model):
    """The rows of a batch with one level of a column with `compare_by`.

    `rows` are their number on each local day of the batch. By column: the share of nulls, and how far the values are
    from those of all rows of the batch.
    """

    rows: list[int]
    nulls: dict[str, float]
    distances: dict[str, float]


class Sketch(_Model):
    """A batch, whose first local day is `first`. `rows` are their number on each day.

    `hours` are the hours of the local day that the batch has: on a day when clocks go forward one is left out. `weeks`
    are those that have rows, in order. `levels` are by the column with `compare_by`, and by the level.
    """

    first: date
    rows: list[int]
    hours: list[str]
    weeks: list[Week]
    levels: dict[str, dict[str, Level]]


ByLevel = dict[str, dict[str, dict[str, tuple[Values, float | None]]]]
"""By column, level and other column: the values, and how far they are from those of all rows."""


class Columns(Protocol):
    """The columns of a table by name, such as an Arrow table, or a file of which one column at a time is read."""

    def __getitem__(self, name: str, /) -> pa.ChunkedArray: ...


def sketch(rows: Columns, contract: Table, batch: str, timezone: str) -> Sketch:
    """The sketch of the rows of a batch, whose weeks are counted from its first day. The last takes what remains.

    The table has a time, and all rows are of the period that the batch is named after.
    """
    period = bounds(batch, timezone)
    first, end = (bound.date() for bound in period)
    days = (end - first).days
    local = pc.local_timestamp(rows[contract.time or ""].cast(pa.timestamp("us", timezone)))
    day = pc.days_between(pa.scalar(first), local.cast(pa.date32())).to_numpy()
    hours = pc.strftime(local, "%H")
    starts = [7 * week for week in range(max(1, days // 7))]
    stops = dict(zip(starts, [*starts[1:], days], strict=True))
    weeks = {start: inside for start in starts if (inside := (day >= start) & (day < stops[start])).any()}
    levels = {name: _levels(rows[name]) for name, column in contract.columns.items() if column.compare_by}
    names = [name for name in contract.columns if name != contract.time]
    by_week: dict[int, dict[str, Values]] = {start: {} for start in weeks}
    by_level: ByLevel = {column: {level: {} for level in masks} for column, masks in levels.items()}
    for name in [*names, *([HOURS] if HOURS not in names else [])]:
        values = _comparable(rows, name, contract) if name in contract.columns else hours
        for start, inside in weeks.items():
            by_week[start][name] = values_of(values.filter(pa.array(inside)))
        if levels:
            whole = values_of(values)
            for column, level, mask in _masks(levels, name):
                part = values_of(values.filter(mask))
                by_level[column][level][name] = part, between(part, whole)
    return Sketch(
        first=first,
        rows=_by_day(day, days),
        hours=_hours(period),
        weeks=[
            Week(
                first=first + timedelta(days=start),
                rows=_by_day(day[inside] - start, stops[start] - start),
                columns=by_week[start],
            )
            for start, inside in weeks.items()
        ],
        levels={
            column: {
                level: _level(by_level[column][level], _by_day(day[mask.to_numpy()], days))
                for level, mask in masks.items()
            }
            for column, masks in levels.items()
        },
    )


def _masks(
    levels: Mapping[str, Mapping[str, pa.ChunkedArray]], name: str
) -> Iterator[tuple[str, str, pa.ChunkedArray]]:
    """Which rows have a level, by column and level, but for those of the column `name` itself."""
    for column, masks in levels.items():
        for level, mask in masks.items() if column != name else ():
            yield column, level, mask


def _level(parts: Mapping[str, tuple[Values, float | None]], rows: list[int]) -> Level:
    return Level(
        rows=rows,
        nulls={name: part.nulls for name, (part, _) in parts.items()},
        distances={name: distance for name, (_, distance) in parts.items() if distance is not None},
    )


def _hours(period: Period) -> list[str]:
    start, end = (bound.timestamp() for bound in period)
    instants = pa.array(np.arange(start, min(end, start + 2 * 86_400), 3600), pa.float64()).cast(pa.int64())
    times = instants.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", str(period[0].tzinfo)))
    return sorted(set(pc.strftime(times, "%H").to_pylist()))


def _comparable(rows: Columns, name: str, contract: Table) -> pa.ChunkedArray:
    """The values of a column. Those of a further time are its seconds since the time of the row."""
    values = rows[name]
    if contract.columns[name].type not in ("timestamp", "date"):
        return values
    since, until = (
        rows[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for column in (contract.time or "", name)
    )
    return pc.divide(pc.subtract(until, since).cast(pa.float64()), SECOND)


def _by_day(days: npt.NDArray[np.int64], count: int) -> list[int]:
    return [int(number) for number in np.bincount(days, minlength=count)]


def _levels(values: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Which rows have each of the most frequent levels of a column."""
    shares = values_of(values).shares or {}
    texts = values.cast(pa.string())
    return {
        level: pc.fill_null(pc.equal(texts, level), False)
        for level in sorted(shares, key=lambda level: (-shares[level], level))[:MOST_LEVELS]
    }
