"""A batch in a few numbers for each week, by which batches are compared without reading them again."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

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


def sketch(rows: pa.Table, contract: Table, batch: str, timezone: str) -> Sketch:
    """The sketch of the rows of a batch, whose weeks are counted from its first day. The last takes what remains.

    The table has a time, and all rows are of the period that the batch is named after.
    """
    period = bounds(batch, timezone)
    first, end = (bound.date() for bound in period)
    days = (end - first).days
    local = pc.local_timestamp(rows[contract.time].cast(pa.timestamp("us", timezone)))
    day = pc.days_between(pa.scalar(first), local.cast(pa.date32())).to_numpy()
    columns = {name: _comparable(rows, name, contract) for name in contract.columns if name != contract.time}
    columns.setdefault(HOURS, pc.strftime(local, "%H"))
    table = pa.table(columns)
    starts = [7 * week for week in range(max(1, days // 7))]
    weeks = []
    for start, stop in zip(starts, [*starts[1:], days], strict=True):
        inside = (day >= start) & (day < stop)
        if inside.any():
            part = table.filter(pa.array(inside))
            by_day = _by_day(day[inside] - start, stop - start)
            weeks.append(Week(first=first + timedelta(days=start), rows=by_day, columns=_values(part)))
    compared = [name for name, column in contract.columns.items() if column.compare_by]
    whole = _values(table) if compared else {}
    levels = {name: dict(_levels(table, whole, day, days, name)) for name in compared}
    return Sketch(first=first, rows=_by_day(day, days), hours=_hours(period), weeks=weeks, levels=levels)


def _hours(period: Period) -> list[str]:
    start, end = (bound.timestamp() for bound in period)
    instants = pa.array(np.arange(start, min(end, start + 2 * 86_400), 3600), pa.float64()).cast(pa.int64())
    times = instants.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", str(period[0].tzinfo)))
    return sorted(set(pc.strftime(times, "%H").to_pylist()))


def _comparable(rows: pa.Table, name: str, contract: Table) -> pa.ChunkedArray:
    """The values of a column. Those of a further time are its seconds since the time of the row."""
    values = rows[name]
    if contract.columns[name].type not in ("timestamp", "date"):
        return values
    since, until = (rows[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for column in (contract.time, name))
    return pc.divide(pc.subtract(until, since).cast(pa.float64()), SECOND)


def _by_day(days: npt.NDArray[np.int64], count: int) -> list[int]:
    return [int(number) for number in np.bincount(days, minlength=count)]


def _values(rows: pa.Table) -> dict[str, Values]:
    return {name: values_of(rows[name]) for name in rows.column_names}


def _levels(
    rows: pa.Table, whole: Mapping[str, Values], day: npt.NDArray[np.int64], days: int, name: str
) -> Iterator[tuple[str, Level]]:
    """The most frequent levels of the column `name`. `whole` are the values of all rows."""
    shares = whole[name].shares or {}
    texts = rows[name].cast(pa.string())
    for level in sorted(shares, key=lambda level: (-shares[level], level))[:MOST_LEVELS]:
        inside = pc.fill_null(pc.equal(texts, level), False)
        parts = _values(rows.drop_columns(name).filter(inside))
        distances = {other: between(part, whole[other]) for other, part in parts.items()}
        yield (
            level,
            Level(
                rows=_by_day(day[inside.to_numpy()], days),
                nulls={other: part.nulls for other, part in parts.items()},
                distances={other: distance for other, distance in distances.items() if distance is not None},
            ),
        )
