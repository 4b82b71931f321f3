"""How much weeks and batches differ from those before them, in numbers and in words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

import numpy as np

from kiban.core.text import plain
from kiban.data.distance import Values, between
from kiban.data.sketch import Sketch, Week
from kiban.validate.settings import Check

SHOWN = 3  # levels


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
Compare = Callable[[Piece, Sequence[Piece], Mapping[str, float]], Iterator[tuple[Subject, Piece, Difference]]]
"""From a week or batch and the ones to compare it with, the latest first, to the differences, each with its `then`."""


def of_weeks(weeks: Sequence[Week], first: int, spreads: Mapping[str, float]) -> Iterator[tuple[Subject, Change]]:
    """The changes of each week from number `first` on. `spreads` are those of the columns."""
    return _changes(weeks, first, _compare_weeks, spreads)


def of_levels(batches: Sequence[Sketch], first: int, spreads: Mapping[str, float]) -> Iterator[tuple[Subject, Change]]:
    """The changes of each batch from number `first` on, by the levels of the columns with `compare_by`."""
    return _changes(batches, first, _compare_levels, spreads)


def _changes(
    pieces: Sequence[Piece], first: int, compare: Compare[Piece], spreads: Mapping[str, float]
) -> Iterator[tuple[Subject, Change]]:
    for number in range(first, len(pieces)):
        now = pieces[number]
        for subject, then, difference in compare(now, _candidates(now, pieces[:number]), spreads):
            gap = max(1.0, (now.first - then.first).days / max(7, len(then.rows)))
            where = f"where {subject.where}, " if subject.where else ""
            text = f"{where}{_span(now)}: {difference.now}; {_span(then)}: {difference.then}"
            yield subject, Change(text, difference.size, gap)


def _candidates(piece: Piece, earlier: Sequence[Piece]) -> list[Piece]:
    """What to compare with, the latest first: of batches of a day only those on the same day of the week."""
    latest_first = list(reversed(earlier))
    if len(piece.rows) >= 7:
        return latest_first
    return [each for each in latest_first if each.first.weekday() == piece.first.weekday()]


def _compare_weeks(
    now: Week, candidates: Sequence[Week], spreads: Mapping[str, float]
) -> Iterator[tuple[Subject, Week, Difference]]:
    if not candidates:
        return
    then, before, after = candidates[0], candidates[0].rows_a_day, now.rows_a_day
    size = 1 - min(before, after) / max(before, after)
    yield Subject("rows"), then, Difference(size, f"{before:,.0f} rows a day", f"{after:,.0f} rows a day")
    for name, values in now.columns.items():
        yield Subject("nulls", name), then, _of_nulls(then.columns[name].nulls, values.nulls)
        # A week without values must not hide a change behind it.
        last = next((each for each in candidates if between(each.columns[name], values) is not None), None)
        if last is None:
            continue
        old = last.columns[name]
        if old.repeated is not None and values.repeated is not None:
            texts = (f"one value in {share:.0%} of the rows" for share in (old.repeated, values.repeated))
            yield Subject("repeats", name), last, Difference(abs(old.repeated - values.repeated), *texts)
        distance = between(old, values)
        if distance is not None and not (_is_constant(old) and _is_constant(values)):
            sides = in_words(old, values), in_words(values, old)
            yield Subject("distribution", name), last, Difference(distance / spreads[name], *sides)


def _compare_levels(
    now: Sketch, candidates: Sequence[Sketch], spreads: Mapping[str, float]
) -> Iterator[tuple[Subject, Sketch, Difference]]:
    for column, levels in now.levels.items():
        for level, new in levels.items():
            having = [(each, each.levels[column][level]) for each in candidates if level in each.levels[column]]
            if not having:
                continue
            where = f"{column}={plain(level)}"
            then, old = having[0]
            for name, nulls in new.nulls.items():
                yield Subject("nulls", name, where), then, _of_nulls(old.nulls[name], nulls)
            for name, distance in new.distances.items():
                last = next(((each, of_level) for each, of_level in having if name in of_level.distances), None)
                if last is None:
                    continue
                distances = last[1].distances[name], distance
                texts = (f"{distance:.3g} from the values of all rows" for distance in distances)
                size = abs(distances[0] - distances[1]) / spreads[name]
                yield Subject("distribution", name, where), last[0], Difference(size, *texts)


def _of_nulls(then: float, now: float) -> Difference:
    return Difference(abs(then - now), f"{then:.1%} null", f"{now:.1%} null")


def _is_constant(values: Values) -> bool:
    """Whether a column has one number only. If it had another one before, it names the batch, as the year does."""
    return values.quantiles is not None and len(set(values.quantiles)) == 1


def _span(piece: Week | Sketch) -> str:
    last = piece.first + timedelta(days=len(piece.rows) - 1)
    return f"{piece.first}" if len(piece.rows) == 1 else f"{piece.first} to {last:%m-%d}"


def in_words(values: Values, other: Values) -> str:
    """What the values are like: the median and the middle of numbers, or the levels whose share differs most."""
    if values.quantiles is not None:
        low, middle, high = np.quantile(values.quantiles, (0.05, 0.5, 0.95))
        return f"median {middle:.4g}, 90 % between {low:.4g} and {high:.4g}"
    mine, theirs = values.shares or {}, other.shares or {}
    names = sorted(mine.keys() | theirs.keys(), key=lambda name: (-abs(mine.get(name, 0) - theirs.get(name, 0)), name))
    return ", ".join(f"{plain(name) or 'others'} {mine.get(name, 0):.0%}" for name in names[:SHOWN])
