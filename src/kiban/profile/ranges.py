"""Limits of a number for the contract: its range with a margin, in round numbers."""

import math

import pyarrow as pa
import pyarrow.compute as pc

MOST = 1e18  # a margin of greater numbers may be none that a file can have
MARGIN = 0.1  # of the range, on each side
DIGITS = 2  # of the margin that count


def limits(values: pa.ChunkedArray, type: str) -> tuple[int | float | None, int | float | None]:
    """The least and the greatest value to expect, or None twice if there is no value.

    A range that does not go below 0 does not begin to.
    """
    low, high = pc.min_max(values).as_py().values()
    if low is None:
        return None, None
    if max(abs(low), abs(high)) > MOST:
        return None, None
    margin = MARGIN * (high - low) or abs(high) or 1
    step = 10.0 ** (math.floor(math.log10(margin)) - DIGITS + 2)
    if type == "integer":
        step = max(1, round(step))
    least, most = math.floor((low - margin) / step) * step, math.ceil((high + margin) / step) * step
    if low >= 0:
        least = max(0, least)
    if high <= 0:
        most = min(0, most)
    if type == "integer":
        return int(least), int(most)
    return float(f"{least:.12g}"), float(f"{most:.12g}")
