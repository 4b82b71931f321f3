"""The batches that a table is cut into, and how its rows are split."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data.contract import Table
from kiban.data.split import SPLITS, ByNewest, ByRow, ByTime, Newest, Resolved
from kiban.profile.wishes import Wishes

LEAST_MONTHS, LEAST_DAYS = 6, 10  # that a split by time needs
VERBS = ("train", "validate", "test")
HELD_OUT = 0.15  # the share of the rows, or of the batches, for validation, and for testing


def cut(rows: pa.Table, name: str, wishes: Wishes) -> dict[str, pa.Table]:
    """The rows by batch: by month or day of the time, or all in one delivery.

    Raises KibanError if there are too few days for a split by time.
    """
    if wishes.time is None:
        return {f"001-{name}": rows}
    distinct: list[str] = []
    for form, least in (("%Y-%m", LEAST_MONTHS), ("%Y-%m-%d", LEAST_DAYS)):
        names = periods(rows, wishes.time, wishes.timezone, form)
        distinct = sorted(names.unique().to_pylist())
        if len(distinct) >= least:
            return {each: rows.filter(pc.equal(names, each)) for each in distinct}
    raise KibanError(
        f"--time {wishes.time}: the rows are of {len(distinct)} days; a split by time needs {LEAST_DAYS} days, or "
        f"{LEAST_MONTHS} months"
    )


def periods(rows: pa.Table, time: str, timezone: str, form: str) -> pa.ChunkedArray:
    """The name of the month (%Y-%m) or the day (%Y-%m-%d) of each row, by its time in the zone."""
    return pc.strftime(pc.local_timestamp(rows[time].cast(pa.timestamp("us", timezone))), form)


def split(batches: Mapping[str, pa.Table], wishes: Wishes) -> ByRow | ByNewest:
    """By time if there is one, else by the hash of a group or of a row."""
    if wishes.time is None:
        return ByRow(by=[wishes.group] if wishes.group else [], seed=0, validation=HELD_OUT, test=HELD_OUT)
    held_out = max(1, round(HELD_OUT * len(batches)))
    return ByNewest(newest=Newest(validation=held_out, test=held_out))


def in_words(split: Resolved) -> str:
    """Which rows train, validate and test."""
    if isinstance(split, ByRow):
        what = " and ".join(split.by) if split.by else "row"
        train = 1 - split.validation - split.test
        return f"by hash of the {what}: {train:.0%} train, {split.validation:.0%} validate, {split.test:.0%} test"
    periods = [getattr(split, each) for each in SPLITS]
    return ", ".join(
        f"{period.first} to {period.last} {verb}" if period.first < period.last else f"{period.first} {verb}s"
        for period, verb in zip(periods, VERBS, strict=True)
    )


def counts(split: ByTime | ByRow | ByNewest, rows: Mapping[str, pa.Table], table: Table) -> str:
    """Where new rows go: how many train, validate and test now; or that the windows of time move."""
    if not isinstance(split, ByRow):
        return "the split goes by time: `dvc repro` tells which batches train, validate and test now"
    numbers = dict.fromkeys(SPLITS, 0)
    for batch, of_batch in rows.items():
        for each, part in split.parts(batch, of_batch, table.key).items():
            numbers[each] += part.num_rows
    return ", ".join(f"{number:,} {verb}" for number, verb in zip(numbers.values(), VERBS, strict=True))
