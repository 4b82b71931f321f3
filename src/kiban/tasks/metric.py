"""A metric: its name, its label, whether greater is better, and its function of weighted rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Target = npt.NDArray[Any]
"""The targets of n rows, of shape (n,): booleans (binary), the index of the class (multiclass), or numbers."""

Scores = npt.NDArray[np.float64]
"""What a model gives for n rows: the probability of true (n,), of each of k classes (n, k), or the value (n,)."""

Weights = npt.NDArray[np.float64]

Loss = Callable[[Target, Scores], npt.NDArray[np.float64]]
"""The loss of each row, of shape (n,)."""

Clusters = npt.NDArray[np.int64]
"""The number of the cluster of each row, from 0: shape (n,)."""

Times = npt.NDArray[np.float64]
"""How often each of k clusters is drawn in each of d draws: shape (d, k)."""

Drawn = Callable[[Times], npt.NDArray[np.float64]]
"""The metric of each draw, of shape (d,)."""


class Cost(NamedTuple):
    """What a row costs that is labelled true and is not, and one that is true and is not labelled so."""

    false_positive: float
    false_negative: float


class Labelled(NamedTuple):
    """The weight of the rows by their target and their label."""

    true_positives: float
    false_positives: float
    false_negatives: float
    true_negatives: float

    def cost(self, cost: Cost) -> float:
        """The mean cost of a row."""
        errors = cost.false_positive * self.false_positives + cost.false_negative * self.false_negatives
        return errors / sum(self)


class Terms(NamedTuple):
    """By what scores are measured, besides the targets; None where it does not apply, or is not known.

    `baseline` is what the baseline gives for every row: a number, or shape (k,) for k classes. A binary model labels
    true from `threshold` on. A number should lie within `interval` of its prediction.
    """

    baseline: Scores | None = None
    threshold: float | None = None
    cost: Cost | None = None
    interval: float | None = None


NOTHING = Terms()


@dataclass(frozen=True)
class Scored:
    """The targets and the scores of n rows. They are sorted once for all draws.

    `weights` are those of the rows, of shape (n,); None if each row counts the same.
    """

    target: Target
    scores: Scores
    weights: Weights | None = None
    terms: Terms = NOTHING

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the rows, the highest score first: shape (n,). The scores have the shape (n,)."""
        return np.argsort(-self.scores, kind="stable")

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """The last position in `order` of each of the k distinct scores: shape (k,)."""
        return np.append(np.flatnonzero(np.diff(self.scores[self.order])), len(self.scores) - 1)

    @cached_property
    def by_class(self) -> list["Scored"]:
        """For each class, whether a row is of the class, and its probability."""
        return [Scored(self.target == index, self.scores[:, index]) for index in range(self.scores.shape[1])]

    def masked(self, mask: npt.NDArray[np.bool_]) -> "Scored":
        """The rows at which `mask`, of shape (n,), is true."""
        weights = None if self.weights is None else self.weights[mask]
        return Scored(self.target[mask], self.scores[mask], weights, self.terms)

    def weighted(self, times: Weights | None = None) -> "Weighted":
        """The rows with their weights, each of them drawn as often as `times` says, of shape (n,), or once."""
        each = np.ones(len(self.target)) if times is None else times
        return Weighted(self, each if self.weights is None else each * self.weights)


@dataclass(frozen=True)
class Weighted:
    """Scored rows with a weight for each, the argument of a metric."""

    rows: Scored
    weights: Weights

    @property
    def target(self) -> Target:
        return self.rows.target

    @property
    def scores(self) -> Scores:
        return self.rows.scores

    @property
    def terms(self) -> Terms:
        return self.rows.terms

    @cached_property
    def labelled(self) -> Labelled | None:
        """The rows of a boolean target by target and label, or None if the decision threshold is not known."""
        if self.terms.threshold is None:
            return None
        target, label = self.target, self.scores >= self.terms.threshold
        sides = target & label, ~target & label, target & ~label, ~target & ~label
        return Labelled(*(float(self.weights @ side) for side in sides))

    @cached_property
    def true(self) -> Weights:
        """For each distinct score, the highest first, the weight of the positive rows with that score or more."""
        positive = self.weights[self.rows.order] * self.target[self.rows.order]
        return np.cumsum(positive)[self.rows.ends]

    @cached_property
    def all(self) -> Weights:
        """For each distinct score, the highest first, the weight of all rows with that score or more."""
        return np.cumsum(self.weights[self.rows.order])[self.rows.ends]

    @cached_property
    def false(self) -> Weights:
        """For each distinct score, the highest first, the weight of the negative rows with that score or more."""
        return self.all - self.true

    def mean(self, values: npt.NDArray[Any]) -> float:
        """The weighted mean of `values`, one for each row."""
        return float(self.weights @ values / self.weights.sum())


@dataclass(frozen=True)
class Metric:
    """A metric. `value` computes it from weighted rows, or gives NaN if it is not defined. `label` is for readers.

    `drawn` gives the same values for many draws of whole clusters of rows at once, from sums by cluster. Without it
    each draw is computed by itself.
    """

    name: str
    label: str
    greater_is_better: bool
    value: Callable[[Weighted], float]
    drawn: Callable[[Scored, Clusters], Drawn] | None = None

    @property
    def title(self) -> str:
        """The label, with a note if less is better."""
        return self.label if self.greater_is_better else f"{self.label} (less is better)"


def mean_of(loss: Loss) -> Callable[[Weighted], float]:
    """The weighted mean of a loss."""
    return lambda rows: rows.mean(loss(rows.target, rows.scores))


def mean_drawn(loss: Loss) -> Callable[[Scored, Clusters], Drawn]:
    """The weighted mean of a loss, of many draws."""

    def sums(rows: Scored, clusters: Clusters) -> Drawn:
        weights = rows.weighted().weights
        lost, all_rows = np.bincount(clusters, weights * loss(rows.target, rows.scores)), np.bincount(clusters, weights)
        return lambda times: (times @ lost) / (times @ all_rows)

    return sums


def skill_by(loss: Loss) -> Metric:
    """How much of the baseline's mean loss a model avoids: 1 is perfect, 0 is the baseline.

    NaN if the baseline is not known, or makes no error.
    """

    def value(rows: Weighted) -> float:
        if rows.terms.baseline is None:
            return np.nan
        answers = np.broadcast_to(rows.terms.baseline, rows.scores.shape)
        of_baseline = rows.mean(loss(rows.target, answers))
        if of_baseline <= (4 * np.finfo(np.float64).eps) ** 2 * np.mean(answers**2):  # none but for rounding
            return np.nan
        return 1 - rows.mean(loss(rows.target, rows.scores)) / of_baseline

    return Metric("skill", "skill", True, value)


def log_of(scores: Scores) -> Scores:
    """The logarithm of probabilities, which are clipped to [eps, 1] of their type: that of 0 is infinite."""
    return np.log(np.clip(scores, np.finfo(scores.dtype).eps, 1))
