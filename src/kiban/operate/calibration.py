"""How often the monitor is wrong, and how soon it sees a fault: counted on the accepted data, forward in time.

For an origin every four weeks a reference is made of the weeks before it, as if the model had been made then. The
alarms in the weeks after it are counted, which have set none of its limits. Faults are planted in the same weeks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binomtest

from kiban.operate import drift
from kiban.operate.drift import Drift
from kiban.operate.monitor import Champion
from kiban.operate.rules import Monitoring
from kiban.operate.truth import Truth
from kiban.operate.windows import are_too_few, persistent
from kiban.servable import columns, reference
from kiban.servable.reference import GAP, Reference

STEP = 4  # weeks from one origin to the next
FIRST = 2  # weeks after an origin whose alarms are not counted: an alarm needs earlier ones
FACTOR = 1.6


class Rate(NamedTuple):
    """How many of the weeks had an alarm, with the 95 % interval of the rate."""

    alarms: int
    weeks: int
    low: float
    high: float


class Found(NamedTuple):
    """A planted fault: at how many origins it was found within the weeks after it, and after how many in the median."""

    fault: str
    found: int
    origins: int
    weeks: float


class Origin(NamedTuple):
    """A reference of the weeks before an origin, and the rows of the weeks after it."""

    before: Reference
    usual: drift.Past
    after: list[pa.Table]


def origins(model: Champion, truth: Truth) -> list[Origin]:
    """The origins that the accepted rows have; none if the table has no time."""
    table = model.servable.contract
    if table.time is None or not truth.rows.num_rows:
        return []
    rows = truth.rows
    scores = model.servable.score(columns.from_arrow(rows, table.features()))
    weeks = reference.weeks(rows[table.time], truth.timezone)
    judged = reference.judged_columns(rows, scores, table)
    numbers = np.unique(weeks)
    made = []
    for place in range(GAP + drift.LEAST_BLOCKS, len(numbers) - FIRST, STEP):
        inside = weeks < numbers[place]
        before = reference.reference(rows.filter(pa.array(inside)), scores[inside], table, truth.timezone)
        after = [judged.filter(pa.array(weeks == number)) for number in numbers[place : place + FIRST + STEP]]
        if drift.can_judge(before):
            whole = [part for part in after if part.num_rows >= drift.LEAST_ROWS]
            made.append(Origin(before, drift.past(before), whole))
    return made


def rate(known: Sequence[Origin], settings: Monitoring) -> Rate:
    """How often an honest week has an alarm of drift."""
    weeks = alarms = 0
    for origin in known:
        judged = [_judged(origin, part, settings) for part in origin.after]
        for end in range(FIRST + 1, len(judged) + 1):
            weeks += 1
            alarms += bool(persistent(judged[:end]))
    interval = binomtest(alarms, weeks).proportion_ci(method="exact") if weeks else (0.0, 1.0)
    return Rate(alarms, weeks, float(interval[0]), float(interval[1]))


def planted(known: Sequence[Origin], settings: Monitoring) -> Iterator[Found]:
    """How soon faults of each column are found: numbers that grow by FACTOR, and values that vanish."""
    faults: Mapping[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
        f"times {FACTOR:g}": lambda values: pc.multiply(values.cast(pa.float64()), FACTOR),
        "all null": lambda values: pa.chunked_array([pa.nulls(len(values), values.type)]),
    }
    names = known[0].after[0].column_names if known and known[0].after else []
    for name in (each for each in names if not each.startswith(reference.ANSWER)):
        for fault, change in faults.items():
            kind = known[0].after[0][name].type
            if fault == "all null" or pa.types.is_integer(kind) or pa.types.is_floating(kind):
                yield _found(f"{name} {fault}", [_weeks_until(origin, name, change, settings) for origin in known])
    yield _found("half of the requests gone", [_weeks_until_few(origin, settings) for origin in known])


def _weeks_until_few(origin: Origin, settings: Monitoring) -> int | None:
    before = [block.rows for block in origin.before.blocks]
    half = [part.num_rows // 2 for part in origin.after]
    for number in range(1, len(half) + 1):
        if are_too_few([*before, *half[:number]], origin.before, settings):
            return number
    return None


def _found(fault: str, weeks: Sequence[int | None]) -> Found:
    seen = [each for each in weeks if each is not None]
    return Found(fault, len(seen), len(weeks), float(np.median(seen)) if seen else float("nan"))


def _weeks_until(
    origin: Origin, name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray], settings: Monitoring
) -> int | None:
    """The number of weeks with the fault until its alarm, or None."""
    judged = []
    for number, part in enumerate(origin.after, 1):
        altered = pa.table({name: change(part[name])})
        judged.append(_judged(origin, altered, settings))
        if persistent(judged):
            return number
    return None


def _judged(origin: Origin, rows: pa.Table, settings: Monitoring) -> list[Drift]:
    window = reference.block(rows, origin.before.known)
    chances, least = settings.weeks_per_false_alarm, settings.minimum_change
    return drift.judge(origin.before, origin.usual, window, {}, chances, least)
