"""A batch beside the accepted ones before it: what the contract allows, and yet differs from all that came so far.

Each week is compared with the week before it, in which a season moves little, so that no year of history is needed.
How much may change comes from the earlier changes: t(m) times their root mean square, where m is their number, and t
the quantile of Student's distribution beyond which one honest batch in `batches_per_false_alarm` would be, over all
that is compared. An earlier change that was beyond its own limit counts as the limit, so that a batch which was only
warned of hides nothing in later ones. Levels of a column with `compare_by` are compared batch by batch, each beside
all rows of its batch, where a season does not count either.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
from scipy.special import stdtrit

from kiban.core.text import plain
from kiban.data.distance import OTHERS, spread
from kiban.data.sketch import HOURS, Sketch, Week
from kiban.data.verdict import LIKE_EARLIER, Finding
from kiban.validate.changes import SHOWN, Change, Subject, of_levels, of_weeks
from kiban.validate.settings import Check, History

LEAST_CHANGES = 2  # before a change can be judged
LEAST_ROWS = 20  # expected on a day or of a level: none is no chance
USUAL = 0.95  # the share of earlier days or weeks that have rows, if rows are expected


def judge(new: Sketch, earlier: Sequence[Sketch], settings: History, table: str, batch: str) -> list[Finding]:
    """The findings about a batch beside the `earlier` ones, of which there is at least one, in order."""
    weeks = [week for sketch in earlier for week in sketch.weeks]
    spreads = {name: spread(week.columns[name] for week in weeks) for name in weeks[0].columns}
    past = [*of_weeks(weeks, 1, spreads), *of_levels(earlier, 1, spreads)]
    present = [
        *of_weeks([*weeks, *new.weeks], len(weeks), spreads),
        *of_levels([*earlier, new], len(earlier), spreads),
    ]
    texts = [
        *_days_without_rows(new, earlier),
        *_levels_that_vanished(new, weeks, earlier[-1].weeks),
        *_unusual(past, present, settings),
    ]
    return [
        Finding(
            table=table,
            batch=batch,
            column=subject.column or None,
            expectation=f"{LIKE_EARLIER}({subject.check})",
            severity=reaction,
            rows=None,
            observed=text,
            examples=[],
        )
        for subject, text in texts
        if (reaction := settings.checks.of(subject.check)) != "ignore"
    ]


def _unusual(
    past: Iterable[tuple[Subject, Change]], present: Iterable[tuple[Subject, Change]], settings: History
) -> Iterator[tuple[Subject, str]]:
    """The changes that are larger than the past ones allow, in words: of each check and column the most unusual one."""
    sizes: dict[Subject, list[float]] = defaultdict(list)
    for subject, change in past:
        sizes[subject].append(change.size / change.gap)
    judged = [(subject, change) for subject, change in present if len(sizes[subject]) >= LEAST_CHANGES]
    if not judged:
        return
    probability = 1 / (settings.batches_per_false_alarm * len(judged))
    quantiles = quantiles_of(max(map(len, sizes.values())), probability)
    unusual: dict[tuple[Check, str], list[tuple[bool, float, Subject, str]]] = defaultdict(list)
    for subject, change in judged:
        allowed = max(limit(sizes[subject], quantiles, settings.minimum_change) * change.gap, settings.minimum_change)
        if change.size > allowed:
            text = f"{change.text}; a change of {change.size:.2g}, where {allowed:.2g} is usual at most"
            # A level is named only where all rows together do not show it.
            rank = (not subject.where, change.size / allowed)
            unusual[subject.check, subject.column].append((*rank, subject, text))
    for changes in unusual.values():
        *_, subject, text = max(changes)
        yield subject, text


def quantiles_of(most: int, probability: float) -> list[float]:
    """t(1) to t(most): beyond t(m) lies what is as rare as `probability`, after m earlier changes."""
    return [float(quantile) for quantile in stdtrit(np.arange(1, most + 1), 1 - probability / 2)]


def limit(sizes: Sequence[float], quantiles: Sequence[float], minimum: float) -> float:
    """The change that is usual at most after changes of these sizes. `quantiles` are t(1), t(2) and so on.

    A size beyond the limit of those before it counts as that limit.
    """
    squares = 0.0
    for number, size in enumerate(sizes):
        if number >= LEAST_CHANGES:
            size = min(size, max(quantiles[number - 1] * (squares / number) ** 0.5, minimum))
        squares += size**2
    return quantiles[len(sizes) - 1] * float((squares / len(sizes)) ** 0.5)


def _days_without_rows(new: Sketch, earlier: Sequence[Sketch]) -> Iterator[tuple[Subject, str]]:
    """The days of a batch without a row, where such days of the week have some: shops are closed on Sundays."""
    start = next(day for sketch in earlier for day, rows in _days(sketch, sketch.rows) if rows)
    absent = _empty_days(new, new.rows, [(sketch, sketch.rows) for sketch in earlier], start)
    if absent:
        yield Subject("periods"), _no_row(absent)
    for column, levels in new.levels.items():
        for level, here in levels.items():
            where = f"{column}={plain(level)}"
            past = [
                (each, each.levels[column][level].rows if level in each.levels[column] else [0] * len(each.rows))
                for each in earlier
            ]
            of_level = _empty_days(new, here.rows, past, start)
            if only_here := {day: rows for day, rows in of_level.items() if day not in absent}:
                yield Subject("periods", column), f"where {where}, {_no_row(only_here)}"


def _empty_days(
    new: Sketch, here: Sequence[int], past: Iterable[tuple[Sketch, Sequence[int]]], start: date
) -> dict[date, float]:
    """The days of a batch without a row, and how many are usual on such a day of the week. Days count from `start`."""
    by_weekday: dict[int, list[int]] = defaultdict(list)
    for sketch, counts in past:
        for day, rows in _days(sketch, counts):
            if day >= start:
                by_weekday[day.weekday()].append(rows)
    usual = {weekday: float(np.mean(counts)) for weekday, counts in by_weekday.items() if _are_expected(counts)}
    return {day: usual[day.weekday()] for day, rows in _days(new, here) if not rows and day.weekday() in usual}


def _are_expected(counts: Sequence[int]) -> bool:
    """Whether a day like these has rows but for a fault: nearly all have some, and many, or always the same number."""
    some = [rows for rows in counts if rows]
    are_many = sum(counts) >= LEAST_ROWS * len(counts)
    return len(some) >= USUAL * len(counts) and (are_many or len(set(some)) == 1)


def _days(sketch: Sketch, counts: Sequence[int]) -> Iterator[tuple[date, int]]:
    return ((sketch.first + timedelta(days=number), rows) for number, rows in enumerate(counts))


def _no_row(days: Mapping[date, float]) -> str:
    texts = [f"{day:%a %Y-%m-%d} ({usual:,.0f} expected)" for day, usual in sorted(days.items())]
    return f"no row on {_listed(texts)}"


def _levels_that_vanished(new: Sketch, earlier: Sequence[Week], last: Sequence[Week]) -> Iterator[tuple[Subject, str]]:
    """Levels that nearly every `earlier` week has, and also the `last` batch, but no week of this batch."""
    total = sum(new.rows)
    for name in earlier[0].columns:
        shares = [week.columns[name].shares or {} for week in earlier]
        before, now = (_levels_of(name, weeks) for weeks in (last, new.weeks))
        if OTHERS in now:  # which may be any level
            continue
        absent = sorted(before - now - {OTHERS})
        if name == HOURS:
            absent = [hour for hour in absent if hour in new.hours]
        usual = {level: [each[level] for each in shares if level in each] for level in absent}
        rows = {
            level: total * sum(present) / len(shares)
            for level, present in usual.items()
            if len(present) >= USUAL * len(shares)
        }
        expected = {level: number for level, number in rows.items() if number >= LEAST_ROWS}
        if expected:
            levels = sorted(expected, key=lambda level: (-expected[level], level))
            texts = [f"{plain(level)} ({expected[level]:,.0f} expected)" for level in levels]
            yield Subject("levels", name), f"no row with {_listed(texts)}"


def _levels_of(name: str, weeks: Iterable[Week]) -> set[str]:
    return {level for week in weeks for level in week.columns[name].shares or {}}


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
