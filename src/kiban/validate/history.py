"""A batch beside the accepted ones before it: what the contract allows, and yet differs from all that came so far.

Each week is compared with the week before it, in which a season moves little, so that no year of history is needed.
How much may change comes from the earlier changes: t(m) times their root mean square, where m is their number, and t
the quantile of Student's distribution beyond which one honest batch in `batches_per_false_alarm` would be, over all
that is compared. Levels of a column with `compare_by` are compared batch by batch, each beside all rows of its batch,
where a season does not count either.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtrit

from kiban.core.text import plain
from kiban.data.distance import OTHERS, Values, between, spread
from kiban.data.sketch import Sketch, Week
from kiban.data.verdict import Finding
from kiban.validate.settings import Check, History

LEAST_CHANGES = 2  # before a change can be judged
LEAST_ROWS = 20  # of a level, expected in a batch: it is not absent by chance
SHOWN = 3  # levels, days


class Subject(NamedTuple):
    """What is compared. `where` is `column=level` of a column with `compare_by`, or empty: all rows."""

    check: Check
    column: str = ""
    where: str = ""


class Difference(NamedTuple):
    """How much two weeks or batches differ, as a share of rows, and what each of them is like, in words."""

    size: float
    then: str
    now: str


class Change(NamedTuple):
    """A difference in words, its size, and the distance in time in weeks or batches: 1 from one to the next."""

    text: str
    size: float
    gap: float


Piece = TypeVar("Piece", Week, Sketch)
Compare = Callable[[Piece, Piece, Mapping[str, float]], Iterator[tuple[Subject, Difference]]]


def judge(new: Sketch, earlier: Sequence[Sketch], settings: History, table: str, batch: str) -> list[Finding]:
    """The findings about a batch beside the `earlier` ones, of which there is at least one, in order."""
    weeks = [week for sketch in earlier for week in sketch.weeks]
    spreads = {name: spread(week.columns[name] for week in weeks) for name in weeks[0].columns}
    past = [*_changes(weeks, 1, _weeks, spreads), *_changes(earlier, 1, _levels, spreads)]
    present = [
        *_changes([*weeks, *new.weeks], len(weeks), _weeks, spreads),
        *_changes([*earlier, new], len(earlier), _levels, spreads),
    ]
    texts = [
        *_days_without_rows(new, earlier),
        *_levels_that_vanished(new.weeks, weeks),
        *_unusual(past, present, settings),
    ]
    return [
        Finding(
            table=table,
            batch=batch,
            column=subject.column or None,
            expectation=f"like_earlier_batches({subject.check})",
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
    probability = 1 / (settings.batches_per_false_alarm * max(1, len(judged)))
    unusual: dict[tuple[Check, str], list[tuple[bool, float, Subject, str]]] = defaultdict(list)
    for subject, change in judged:
        beyond = float(stdtrit(len(sizes[subject]), 1 - probability / 2))
        allowed = beyond * float(np.sqrt(np.mean(np.square(sizes[subject])))) * change.gap
        allowed = max(allowed, settings.minimum_change)
        if change.size > allowed:
            text = f"{change.text}; a change of {change.size:.2g}, where {allowed:.2g} is usual at most"
            # A level is named only where all rows together do not show it.
            rank = (not subject.where, change.size / allowed)
            unusual[subject.check, subject.column].append((*rank, subject, text))
    for changes in unusual.values():
        *_, subject, text = max(changes)
        yield subject, text


def _changes(
    pieces: Sequence[Piece], first: int, compare: Compare[Piece], spreads: Mapping[str, float]
) -> Iterator[tuple[Subject, Change]]:
    """The changes of each of the weeks or batches from number `first` on, from the one before it."""
    for number in range(first, len(pieces)):
        now = pieces[number]
        then = _before(now, pieces[:number])
        if then is None:
            continue
        gap = max(1.0, (now.first - then.first).days / max(7, then.days))
        for subject, difference in compare(then, now, spreads):
            where = f"where {subject.where}, " if subject.where else ""
            text = f"{where}{_span(now)}: {difference.now}; {_span(then)}: {difference.then}"
            yield subject, Change(text, difference.size, gap)


def _before(piece: Piece, earlier: Sequence[Piece]) -> Piece | None:
    """What to compare with: the last one, but of batches of a day the last one on the same day of the week."""
    if piece.days >= 7:
        return earlier[-1]
    return next((each for each in reversed(earlier) if each.first.weekday() == piece.first.weekday()), None)


def _weeks(then: Week, now: Week, spreads: Mapping[str, float]) -> Iterator[tuple[Subject, Difference]]:
    before, after = (week.rows / len(week.days_with_rows) for week in (then, now))
    size = 1 - min(before, after) / max(before, after)
    yield Subject("rows"), Difference(size, f"{before:,.0f} rows a day", f"{after:,.0f} rows a day")
    for name, values in now.columns.items():
        old = then.columns[name]
        yield Subject("nulls", name), _of_nulls(old.nulls, values.nulls)
        if old.repeated is not None and values.repeated is not None:
            texts = (f"one value in {share:.0%} of the rows" for share in (old.repeated, values.repeated))
            yield Subject("repeats", name), Difference(abs(old.repeated - values.repeated), *texts)
        distance = between(old, values)
        if distance is not None and not (_is_constant(old) and _is_constant(values)):
            sides = _in_words(old, values), _in_words(values, old)
            yield Subject("distribution", name), Difference(distance / spreads[name], *sides)


def _levels(then: Sketch, now: Sketch, spreads: Mapping[str, float]) -> Iterator[tuple[Subject, Difference]]:
    for column, levels in now.levels.items():
        for level in sorted(levels.keys() & then.levels[column].keys()):
            old, new = then.levels[column][level], levels[level]
            where = f"{column}={plain(level)}"
            for name in new.nulls:
                yield Subject("nulls", name, where), _of_nulls(old.nulls[name], new.nulls[name])
            for name in sorted(new.distances.keys() & old.distances.keys()):
                distances = old.distances[name], new.distances[name]
                texts = (f"{distance:.3g} from the values of all rows" for distance in distances)
                size = abs(distances[0] - distances[1]) / spreads[name]
                yield Subject("distribution", name, where), Difference(size, *texts)


def _of_nulls(then: float, now: float) -> Difference:
    return Difference(abs(then - now), f"{then:.1%} null", f"{now:.1%} null")


def _is_constant(values: Values) -> bool:
    """Whether a column has one number only. If it had another one before, it names the batch, as the year does."""
    return values.quantiles is not None and len(set(values.quantiles)) == 1


def _days_without_rows(new: Sketch, earlier: Sequence[Sketch]) -> Iterator[tuple[Subject, str]]:
    absent = _absent_days(new, new.days_with_rows, [(sketch, sketch.days_with_rows) for sketch in earlier])
    if absent:
        yield Subject("periods"), _no_row(absent)
    for column, levels in new.levels.items():
        for level, here in levels.items():
            past = [
                (each, each.levels[column][level].days_with_rows) for each in earlier if level in each.levels[column]
            ]
            of_level = _absent_days(new, here.days_with_rows, past) - absent
            if of_level and len(past) == len(earlier):
                yield Subject("periods", column), f"where {column}={plain(level)}, {_no_row(of_level)}"


def _absent_days(new: Sketch, here: Iterable[int], past: Iterable[tuple[Sketch, Iterable[int]]]) -> set[date]:
    """The days of a batch without a row, if every earlier such day of the week had one: shops are closed on Sundays."""
    absent_before = {day for sketch, days in past for day in _days(sketch, range(sketch.days)) - _days(sketch, days)}
    weekdays = set(range(7)) - {day.weekday() for day in absent_before}
    return {day for day in _days(new, range(new.days)) - _days(new, here) if day.weekday() in weekdays}


def _days(sketch: Sketch, numbers: Iterable[int]) -> set[date]:
    return {sketch.first + timedelta(days=number) for number in numbers}


def _no_row(days: Iterable[date]) -> str:
    return (
        f"no row on {_listed([f'{day:%a %Y-%m-%d}' for day in sorted(days)])}; on such days every earlier week has some"
    )


def _levels_that_vanished(new: Sequence[Week], earlier: Sequence[Week]) -> Iterator[tuple[Subject, str]]:
    """Levels that every earlier week has, and no week of this batch."""
    rows = sum(week.rows for week in new)
    for name in earlier[0].columns:
        shares = [week.columns[name].shares or {} for week in earlier]
        now = [week.columns[name].shares or {} for week in new]
        if any(OTHERS in each for each in now):  # which may be any level
            continue
        vanished = set.intersection(*map(set, shares)) - set().union(*now, {OTHERS})
        usual: dict[str, Any] = {level: rows * np.mean([each[level] for each in shares]) for level in vanished}
        levels = sorted(
            (level for level in vanished if usual[level] >= LEAST_ROWS), key=lambda level: (-usual[level], level)
        )
        if levels:
            texts = [f"{plain(level)} ({usual[level]:,.0f} expected)" for level in levels]
            yield Subject("levels", name), f"no row with {_listed(texts)}; every earlier week has some"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def _span(piece: Week | Sketch) -> str:
    last = piece.first + timedelta(days=piece.days - 1)
    return f"{piece.first}" if piece.days == 1 else f"{piece.first} to {last:%m-%d}"


def _in_words(values: Values, other: Values) -> str:
    """What the values are like: the median and the middle of numbers, or the levels whose share differs most."""
    if values.quantiles is not None:
        low, middle, high = np.quantile(values.quantiles, (0.05, 0.5, 0.95))
        return f"median {middle:.4g}, 90 % between {low:.4g} and {high:.4g}"
    mine, theirs = values.shares or {}, other.shares or {}
    names = sorted(mine.keys() | theirs.keys(), key=lambda name: (-abs(mine.get(name, 0) - theirs.get(name, 0)), name))
    return ", ".join(f"{plain(name) or 'others'} {mine.get(name, 0):.0%}" for name in names[:SHOWN])
