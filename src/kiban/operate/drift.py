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
from scipy.special import stdtrit

from kiban.core.text import plain
from kiban.data.distance import Values, between, spread
from kiban.servable.reference import ANSWER, GAP, Block, Reference
from kiban.validate.changes import in_words
from kiban.validate.history import limit

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
        return f"{plain(self.column)} ({self.check}): {self.now}; like it most: {self.then}"


def can_judge(reference: Reference) -> bool:
    """Whether there are enough blocks to say how far a window may be."""
    return len(reference.blocks) >= GAP + LEAST_BLOCKS


def judge(
    reference: Reference,
    window: Block,
    importance: Mapping[str, float],
    windows_per_false_alarm: float,
    minimum_change: float,
) -> list[Drift]:
    """Every column of a window by each check, what matters most to the model first.

    The limits are such that one honest window in `windows_per_false_alarm` is beyond one of them, over all columns and
    checks. None is below `minimum_change`. A window with fewer rows than a block may be further away, as the root of
    their ratio says.
    """
    measured = list(_measured(reference, window))
    probability = 1 / (windows_per_false_alarm * max(1, len(measured)))
    numbers = np.arange(1, len(reference.blocks) + 1)
    quantiles = [float(quantile) for quantile in stdtrit(numbers, 1 - probability / 2)]
    typical = float(np.median([block.rows for block in reference.blocks]))
    wider = max(1.0, typical / window.rows) ** 0.5
    judged = [
        Drift(
            column=column,
            check=check,
            size=size,
            limit=max(limit(past, quantiles, minimum_change) * wider, minimum_change),
            then=then,
            now=now,
            importance=importance.get(column, 0.0),
        )
        for column, check, size, past, then, now in measured
    ]
    return sorted(judged, key=lambda drift: (-drift.importance, drift.column, drift.check))


Measured = tuple[str, Check, float, Sequence[float], str, str]
"""Column, check, size of the window, sizes of the past, and the nearest block and the window in words."""


def _measured(reference: Reference, window: Block) -> Iterator[Measured]:
    blocks = reference.blocks
    for column, now in window.columns.items():
        then = [block.columns[column] for block in blocks if column in block.columns]
        if len(then) < len(blocks):
            continue
        scale = spread(then)
        nearest, size = _nearest(now, then, scale)
        past = [_nearest(then[place], then[: place - GAP + 1], scale)[1] for place in _judged_places(blocks)]
        known = [each for each in past if each is not None]
        if nearest is not None and size is not None and len(known) >= LEAST_BLOCKS:
            yield column, "distribution", size, known, in_words(nearest, now), in_words(now, nearest)
        if column.startswith(ANSWER):
            continue
        shares = [each.nulls for each in then]
        nulls = [_nearest_number(shares[place], shares[: place - GAP + 1])[1] for place in _judged_places(blocks)]
        like, apart = _nearest_number(now.nulls, shares)
        yield column, "nulls", apart, nulls, f"{like:.1%} null", f"{now.nulls:.1%} null"
        if column in window.unknown and column in reference.known:
            earlier = [blocks[place].unknown.get(column, 0.0) for place in _judged_places(blocks)]
            share = window.unknown[column]
            text = f"{share:.1%} of the values are none of the {len(reference.known[column])} that are known"
            yield column, "unknown values", share, earlier, f"{max(earlier):.1%} at most", text


def _judged_places(blocks: Sequence[Block]) -> range:
    return range(GAP, len(blocks))


def _nearest(now: Values, then: Sequence[Values], scale: float) -> tuple[Values | None, float | None]:
    distances = [
        (distance / scale, place) for place, each in enumerate(then) if (distance := between(each, now)) is not None
    ]
    if not distances:
        return None, None
    distance, place = min(distances)
    return then[place], distance


def _nearest_number(now: float, then: Sequence[float]) -> tuple[float, float]:
    nearest = min(then, key=lambda each: abs(each - now))
    return nearest, abs(nearest - now)
