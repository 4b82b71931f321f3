"""How far two sets of values of a column are apart, by a summary of each."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from kiban.data import rules

QUANTILES = 50
PROBABILITIES = (np.arange(QUANTILES) + 0.5) / QUANTILES
MOST_SHARES = 200  # levels that have a share of their own: the most frequent
OTHERS = ""  # the level of all others; no level is empty, since empty text is null


class Values(BaseModel):
    """Values of one column: the share of nulls and, of what is not null, quantiles of numbers or shares of levels.

    `quantiles` are those of PROBABILITIES, `repeated` is the share of the most frequent number among all rows.
    What there is nothing of is None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    nulls: float
    quantiles: list[float] | None = None
    repeated: float | None = None
    shares: dict[str, float] | None = None


def values_of(values: pa.ChunkedArray) -> Values:
    """The summary of a column of numbers, booleans or text."""
    nulls = values.null_count / len(values) if len(values) else 0.0
    present = values.drop_null()
    if not len(present):
        return Values(nulls=nulls)
    if rules.is_text(present.type) or pa.types.is_boolean(present.type):
        return Values(nulls=nulls, shares=_shares(present.cast(pa.string())))
    numbers = np.sort(present.to_numpy().astype(np.float64))
    ends = np.flatnonzero(np.append(np.diff(numbers) != 0, True))
    return Values(
        nulls=nulls,
        quantiles=[float(value) for value in np.quantile(numbers, PROBABILITIES)],
        repeated=float(np.max(np.diff(ends, prepend=-1)) / len(values)),
    )


def _shares(texts: pa.ChunkedArray) -> dict[str, float]:
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(texts).to_pylist()}
    names = sorted(counts, key=lambda name: (-counts[name], name))
    shares = {name: counts[name] / len(texts) for name in names[:MOST_SHARES]}
    others = sum(counts[name] for name in names[MOST_SHARES:])
    return shares | ({OTHERS: others / len(texts)} if others else {})


def between(one: Values, other: Values) -> float | None:
    """The distance of two sets of values; None if there are no values in one of them.

    For levels it is the total variation distance, the share of rows that would have to change, from 0 to 1. For numbers
    it is the Wasserstein distance by quantiles, the mean change of a row, in the unit of the column: `spread` makes it
    comparable with the first.
    """
    if one.quantiles is not None and other.quantiles is not None:
        return float(np.mean(np.abs(np.subtract(one.quantiles, other.quantiles))))
    if one.shares is not None and other.shares is not None:
        names = sorted(one.shares.keys() | other.shares.keys())
        return 0.5 * sum(abs(one.shares.get(name, 0.0) - other.shares.get(name, 0.0)) for name in names)
    return None


def spread(many: Iterable[Values]) -> float:
    """What a distance is divided by to be a share of rows: 1 for levels, twice the mean deviation from the median for
    numbers.

    With it, a column of zeros and ones, half of each, has the distance that two levels would have.
    """
    quantiles = [values.quantiles for values in many if values.quantiles is not None]
    if not quantiles:
        return 1.0
    pooled = np.concatenate(quantiles)
    return 2 * float(np.mean(np.abs(pooled - np.median(pooled)))) or 1.0
