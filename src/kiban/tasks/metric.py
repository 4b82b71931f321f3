"""A metric as one object: its name, its label, which way it is better, and one weighted function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Target = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The targets of some rows and a model's scores of them, which are sorted once for all weights."""

    target: Target
    scores: Scores

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The places of the rows, the highest score first."""
        return np.argsort(-self.scores, kind="stable")

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """In that order the last place of each run of equal scores."""
        return np.append(np.flatnonzero(np.diff(self.scores[self.order])), len(self.scores) - 1)

    def weighted(self, weights: Weights | None = None) -> "Weighted":
        """The rows with a weight each, 1 if none is given."""
        return Weighted(self, np.ones(len(self.target)) if weights is None else weights)


@dataclass(frozen=True)
class Weighted:
    """Scored rows with a weight each; a metric is a function of these."""

    rows: Scored
    weights: Weights

    @cached_property
    def true(self) -> Weights:
        """The weight of the positive rows whose score is at least each distinct score, the highest first."""
        positive = self.weights[self.rows.order] * self.rows.target[self.rows.order]
        return np.cumsum(positive)[self.rows.ends]

    @cached_property
    def all(self) -> Weights:
        """The weight of all rows whose score is at least each distinct score, the highest first."""
        return np.cumsum(self.weights[self.rows.order])[self.rows.ends]

    @cached_property
    def false(self) -> Weights:
        """The weight of the negative rows whose score is at least each distinct score, the highest first."""
        return self.all - self.true

    def mean(self, values: npt.NDArray[np.float64]) -> float:
        """The weighted mean of a value a row."""
        return float(self.weights @ values / self.weights.sum())


@dataclass(frozen=True)
class Metric:
    """`value` is the metric of weighted rows, NaN where it is not defined. `label` is its name for people."""

    name: str
    label: str
    greater_is_better: bool
    value: Callable[[Weighted], float]

    @property
    def title(self) -> str:
        """The label, and which way is better where that is not the usual one."""
        return self.label if self.greater_is_better else f"{self.label} (less is better)"
