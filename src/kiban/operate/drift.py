"""Whether the rows of a window are unlike all that a model was made with.

A window is compared with every block of the reference, and the nearest one counts: a warm week in April is like one in
May. How far the nearest may be comes from the blocks themselves, each beside those that came GAP blocks before it or
earlier: t(m) times the root mean square of their m distances, as batches are compared with earlier ones
(kiban.validate.history). A column that moves with the season has far neighbours there, and is allowed the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from kiban.core.text import plain
from kiban.data.distance import OTHERS, Values, spread
from kiban.servable.reference import ANSWER, GAP, PROBABILITIES, Block, Reference
from kiban.servable.reference import LEAST_ROWS as LEAST_NAMED
from kiban.validate.changes import in_words
from kiban.validate.history import limit, quantiles_of

Check = Literal["distribution", "nulls", "unknown values"]
LEAST_BLOCKS = 6  # beyond GAP, or no column can be judged
LEAST_ROWS = 100  # of a window


class Drift(BaseModel):
    """How far a column of a window is from the reference, in shares of rows, and how far it may be.

    `then` and `now` are the nearest block and the window in words. `importance` is what the column matters to the
    model, in the units of its metric.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    check: Check
    size: float
    limit: float
    then: str
    now: str
    importance: float

    @property
    def is_unusual(self) -> bool:
        return self.size > self.limit

    @property
    def sentence(self) -> str:
        return f"{plain(self.column)}: {self.now}; most like it when the model was made: {self.then}"


def can_judge(reference: Reference) -> bool:
    """Whether there are enough blocks to say how far a window may be."""
    return len(reference.blocks) >= GAP + LEAST_BLOCKS


Past = Mapping[tuple[str, Check], Sequence[float]]
"""How far blocks were from the nearest one before them, by column and check."""


def past(reference: Reference) -> Past:
    """The distances of the blocks, from which what is usual follows."""
    blocks = reference.blocks
    sizes: dict[tuple[str, Check], list[float]] = {}
    for column in blocks[0].columns:
        if any(column not in block.columns for block in blocks):
            continue
        scale, judged = _scale(blocks, column), range(GAP, len(blocks))
        apart = [_nearest(blocks[place], blocks[: place - GAP + 1], column, scale) for place in judged]
        sizes[column, "distribution"] = [each[0] for each in apart if each]
        if not column.startswith(ANSWER):
            shares = [block.columns[column].nulls for block in blocks]
            sizes[column, "nulls"] = [_nearest_number(shares[place], shares[: place - GAP + 1])[1] for place in judged]
        if column in reference.known:
            sizes[column, "unknown values"] = [blocks[place].unknown.get(column, 0.0) for place in judged]
    return {subject: each for subject, each in sizes.items() if len(each) >= LEAST_BLOCKS}


def judge(
    reference: Reference,
    usual: Past,
    window: Block,
    importance: Mapping[str, float],
    windows_per_false_alarm: float,
    minimum_change: float,
) -> list[Drift]:
    """Every column of a window by each check, what matters most to the model first. `usual` is that of `past`.

    The limits are such that one honest window in `windows_per_false_alarm` is beyond one of them, over all columns and
    checks. None is below `minimum_change`. A window with fewer rows than a block may be further away, as the root of
    their ratio says.
    """
    probability = 1 / (windows_per_false_alarm * max(1, len(usual)))
    quantiles = quantiles_of(len(reference.blocks), probability)
    typical = float(np.median([block.rows for block in reference.blocks]))
    wider = max(1.0, typical / window.rows) ** 0.5
    judged = [
        Drift(
            column=column,
            check=check,
            size=size,
            limit=max(limit(usual[column, check], quantiles, minimum_change) * wider, minimum_change),
            then=then,
            now=now,
            importance=importance.get(column, 0.0),
        )
        for column, check, size, then, now in _measured(reference, window)
        if (column, check) in usual
    ]
    return sorted(judged, key=lambda drift: (-drift.importance, drift.column, drift.check))


Measured = tuple[str, Check, float, str, str]
"""Column, check, size of the window, and the nearest block and the window in words."""


def _measured(reference: Reference, window: Block) -> Iterator[Measured]:
    for column, now in window.columns.items():
        blocks = [block for block in reference.blocks if column in block.columns]
        if not blocks:
            continue
        if nearest := _nearest(window, blocks, column, _scale(blocks, column)):
            size, then = nearest
            yield column, "distribution", size, in_words(then, now), in_words(now, then)
        like, apart = _nearest_number(now.nulls, [block.columns[column].nulls for block in blocks])
        yield column, "nulls", apart, f"{like:.1%} null", f"{now.nulls:.1%} null"
        if column in window.unknown:
            most = max(block.unknown.get(column, 0.0) for block in reference.blocks[GAP:])
            text = f"{window.unknown[column]:.1%} of the values are not known"
            yield column, "unknown values", window.unknown[column], f"at most {most:.1%} in a week", text


def _scale(blocks: Sequence[Block], column: str) -> float:
    return spread(block.columns[column] for block in blocks)


def _nearest(window: Block, blocks: Sequence[Block], column: str, scale: float) -> tuple[float, Values] | None:
    """The distance to the nearest block, and what that is like; None if none of them has values."""
    distances = [(_between(window, block, column), place) for place, block in enumerate(blocks)]
    known = [(distance / scale, place) for distance, place in distances if distance is not None]
    if not known:
        return None
    distance, place = min(known)
    return distance, blocks[place].columns[column]


def _between(window: Block, block: Block, column: str) -> float | None:
    """The distance of a column by what both say: a block of few rows names fewer levels, and has shorter tails."""
    one, other = window.columns[column], block.columns[column]
    if one.quantiles is not None and other.quantiles is not None:
        inside = LEAST_NAMED / min(window.rows, block.rows) <= PROBABILITIES
        inside &= inside[::-1]
        apart = np.abs(np.subtract(one.quantiles, other.quantiles))
        return float(apart[inside].mean() if inside.any() else np.median(apart))
    if one.shares is not None and other.shares is not None:
        return _between_levels(one.shares, other.shares)
    return None


def _between_levels(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The least total variation distance of two sets of shares: what one of them does not name may be among the others
    of the other."""
    names = (one.keys() & other.keys()) - {OTHERS}
    named = sum(abs(one[name] - other[name]) for name in sorted(names))  # the same sum in every run
    only_one, only_other = (
        sum(share for name, share in side.items() if name not in names and name != OTHERS) for side in (one, other)
    )
    left = one.get(OTHERS, 0.0) - only_other, other.get(OTHERS, 0.0) - only_one
    rest = abs(max(0.0, left[0]) - max(0.0, left[1]))
    return 0.5 * (named + max(0.0, -left[0]) + max(0.0, -left[1]) + rest)


def _nearest_number(now: float, then: Sequence[float]) -> tuple[float, float]:
    nearest = min(then, key=lambda each: abs(each - now))
    return nearest, abs(nearest - now)
