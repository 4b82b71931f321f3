"""The weeks as the monitor tells them, and what of them is an alarm."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from kiban.data.batches import period
from kiban.evaluate.settings import Gate
from kiban.operate import drift
from kiban.operate.drift import Drift
from kiban.operate.quality import Interval
from kiban.operate.rules import Monitoring
from kiban.operate.truth import Truth
from kiban.servable import reference
from kiban.servable.reference import Reference
from kiban.serve.released import LastCycle
from kiban.tasks.metric import Metric
from kiban.validate.history import limit, quantiles_of

Kind = Literal["silence", "volume", "requests", "drift", "quality"]
BEFORE = slice(-6, -2)
"""The weeks that the newest one is compared with for its number of requests: those before the last two."""
LEAST_A_DAY = 20  # requests, before a day without one is a hole


class Alarm(BaseModel):
    """Something that a person should look at. `subject` says of what: of one kind and subject there is one alarm."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    subject: str
    sentence: str


class Window(BaseModel):
    """A local week, from Monday `first` on.

    `predictions` are corrected for the share of the requests that was logged. `refused` is the share of the requests
    that the contract refused. `with_truth` is the number of predictions whose truth is known.
    """

    model_config = ConfigDict(frozen=True)

    first: date
    predictions: int
    refused: float
    drift: list[Drift]
    expected: Interval | None
    real: Interval | None
    with_truth: int


def silence(
    now: datetime,
    windows: Sequence[Window],
    times: pa.ChunkedArray,
    truth: Truth,
    settings: Monitoring,
    timezone: str,
) -> Iterator[Alarm]:
    """What is missing. It needs no second week."""
    if windows and not windows[-1].predictions:
        yield Alarm(kind="silence", subject="requests", sentence=f"no prediction in the week from {windows[-1].first}")
    elif len(windows) > 1:
        yield from _holes(windows, times, timezone)
    if truth.newest and (covered := period(truth.newest, timezone)):
        start, end = covered
        due = end + (end - start) + timedelta(days=settings.late_days)
        if now > due:
            text = f"the newest accepted batch is {truth.newest}; the next one was due on {due:%Y-%m-%d}"
            yield Alarm(kind="silence", subject="batch", sentence=text)


def missed(now: datetime, last: LastCycle | None) -> Iterator[Alarm]:
    """No cycle was started when one was due. Who never runs one is not told."""
    if last and (text := last.missed(now)):
        yield Alarm(kind="silence", subject="cycle", sentence=text)


def _holes(windows: Sequence[Window], times: pa.ChunkedArray, timezone: str) -> Iterator[Alarm]:
    """Days of the last week without a prediction, if no day of the week before was without, and all had many."""
    counts = Counter(reference.local_days(times, timezone).to_pylist())
    before, last = (
        {first + timedelta(days=day): counts[first + timedelta(days=day)] for day in range(7)}
        for first in (windows[-2].first, windows[-1].first)
    )
    empty = [day for day, number in last.items() if not number]
    if empty and min(before.values()) >= LEAST_A_DAY:
        text = f"no prediction on {', '.join(f'{day:%a %Y-%m-%d}' for day in empty)}"
        yield Alarm(kind="silence", subject="days", sentence=text)


def volume(before: Reference | None, windows: Sequence[Window], settings: Monitoring) -> Iterator[Alarm]:
    """Far fewer predictions than usual."""
    numbers = [window.predictions for window in windows]
    if before is not None and are_too_few(numbers, before, settings):
        usual = float(np.median(numbers[BEFORE]))
        text = f"{numbers[-2]:,} and {numbers[-1]:,} predictions in the last two weeks, where {usual:,.0f} are usual"
        yield Alarm(kind="volume", subject="requests", sentence=text)


def are_too_few(numbers: Sequence[int], before: Reference, settings: Monitoring) -> bool:
    """Whether there were far fewer predictions than usual in each of the last two weeks.

    What is usual are the four weeks before them, and how much may be missing comes from the rows of the reference.
    """
    rows = [block.rows for block in before.blocks]
    past = [_missing(rows[place], rows[place - 6 : place - 2]) for place in range(6, len(rows))]
    if not before.is_by_week or len(past) < drift.LEAST_BLOCKS or len(numbers) < -(BEFORE.start or 0):
        return False
    probability = 1 / settings.weeks_per_false_alarm
    most = max(limit(past, quantiles_of(len(past), probability), settings.minimum_change), settings.minimum_change)
    return all(_missing(number, numbers[BEFORE]) > most for number in numbers[-2:])


def _missing(number: float, usual: Sequence[float]) -> float:
    """The share of the usual number that is missing."""
    median = float(np.median(usual))
    return max(0.0, 1 - number / median) if median else 0.0


def refusals(windows: Sequence[Window], settings: Monitoring) -> Iterator[Alarm]:
    """The contract refused too many requests of the last week."""
    if windows and windows[-1].refused > settings.refused:
        text = f"the contract refused {windows[-1].refused:.1%} of the requests, {settings.refused:.0%} are allowed"
        yield Alarm(kind="requests", subject="refused", sentence=text)


def unusual(windows: Sequence[Window]) -> Iterator[Alarm]:
    """Columns that are unlike what the model was made with."""
    for each in persistent([window.drift for window in windows]):
        yield Alarm(kind="drift", subject=f"{each.column}, {each.check}", sentence=each.sentence)


def persistent(drifts: Sequence[Sequence[Drift]]) -> list[Drift]:
    """The columns that are unusual in the last week and in one of the two before."""
    if not drifts:
        return []
    before = {(each.column, each.check) for week in drifts[-3:-1] for each in week if each.is_unusual}
    return [each for each in drifts[-1] if each.is_unusual and (each.column, each.check) in before]


def worse(windows: Sequence[Window], metric: Metric, promised: float | None, gate: Gate) -> Iterator[Alarm]:
    """The metric was clearly worse than that of the test rows, in the last two weeks whose truth is known."""
    known = [window for window in windows if window.real]
    if promised is None or len(known) < 2:
        return
    sign = 1 if metric.greater_is_better else -1
    best = [sign * (each.real.high if metric.greater_is_better else each.real.low) for each in known[-2:] if each.real]
    if all(value < sign * promised - gate.minimum_change for value in best):
        last = known[-1].real.in_words if known[-1].real else ""
        text = f"{metric.label} {last} in the week from {known[-1].first}, promised {promised:.4f}"
        yield Alarm(kind="quality", subject=metric.name, sentence=text)
