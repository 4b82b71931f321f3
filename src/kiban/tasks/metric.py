"""A metric: its name, its label, whether greater is better, and its function of weighted rows."""

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
    """The targets and the scores of n rows, both of shape (n,). They are sorted once for all weights."""

    target: Target
    scores: Scores

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the rows, the highest score first: shape (n,)."""
        return np.argsort(-self.scores, kind="stable")

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """The last position in `order` of each of the k distinct scores: shape (k,)."""
        return np.append(np.flatnonzero(np.diff(self.scores[self.order])), len(self.scores) - 1)

    def weighted(self, weights: Weights | None = None) -> "Weighted":
        """The rows with `weights` of shape (n,), or with the weight 1 each."""
        return Weighted(self, np.ones(len(self.target)) if weights is None else weights)


@dataclass(frozen=True)
class Weighted:
    """Scored rows with a weight for each, the argument of a metric."""

    rows: Scored
    weights: Weights

    @cached_property
    def true(self) -> Weights:
        """For each distinct score, the highest first, the weight of the positive rows with that score or more."""
        positive = self.weights[self.rows.order] * self.rows.target[self.rows.order]
        return np.cumsum(positive)[self.rows.ends]

    @cached_property
    def all(self) -> Weights:
        """For each distinct score, the highest first, the weight of all rows with that score or more."""
        return np.cumsum(self.weights[self.rows.order])[self.rows.ends]

    @cached_property
    def false(self) -> Weights:
        """For each distinct score, the highest first, the weight of the negative rows with that score or more."""
        return self.all - self.true

    def mean(self, values: npt.NDArray[np.float64]) -> float:
        """The weighted mean of `values`, one for each row."""
        return float(self.weights @ values / self.weights.sum())


@dataclass(frozen=True)
class Metric:
    """A metric. `value` computes it from weighted rows, or gives NaN if it is not defined. `label` is for readers."""

    name: str
    label: str
    greater_is_better: bool
    value: Callable[[Weighted], float]

    @property
    def title(self) -> str:
        """The label, with a note if less is better."""
        return self.label if self.greater_is_better else f"{self.label} (less is better)"
