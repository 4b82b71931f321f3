"""Fitting a calibration to the validation rows: a model's probabilities to the shares that were observed."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from kiban.servable.calibration import Calibration, Isotonic, Sigmoid, calibrated, log_odds
from kiban.tasks.metric import Scores, Target, Weights

Kind = Literal["sigmoid", "isotonic"]
PARTS = 5  # of the rows, if they are of one batch

Folds = npt.NDArray[np.int64]


def fitted(
    kind: Kind, target: Target, scores: Scores, weights: Weights | None, classes: Sequence[int] = ()
) -> list[Calibration | None]:
    """The calibration of probabilities (n,) of a boolean target, or of each of (n, k) for its class in `classes`.

    `target` and `weights` have the shape (n,). A class that no row has, or all rows have, gets none.
    """
    each = np.ones(len(target)) if weights is None else weights
    if scores.ndim == 1:
        return [_one(kind, target, scores, each)]
    return [_one(kind, target == number, scores[:, place], each) for place, number in enumerate(classes)]


def cross_fitted(kind: Kind, target: Target, scores: Scores, weights: Weights | None, folds: Folds) -> Scores:
    """The probabilities (n,), each calibrated by the rows of the other folds: what is chosen by them, such as a
    threshold, is not chosen by rows that also calibrated it.

    `folds` has the number of the fold of each row: shape (n,).
    """
    result = np.empty_like(scores)
    for fold in np.unique(folds):
        rows, others = folds == fold, folds != fold
        some = None if weights is None else weights[others]
        result[rows] = calibrated(scores[rows], fitted(kind, target[others], scores[others], some))
    return result


def folds_of(rows_by_batch: list[int]) -> Folds:
    """Folds of rows that lie one batch after the other: the batches or, if there is only one, its fifths in order."""
    if len(rows_by_batch) > 1:
        return np.repeat(np.arange(len(rows_by_batch)), rows_by_batch)
    return np.arange(rows_by_batch[0]) * PARTS // max(1, rows_by_batch[0])


def _one(kind: Kind, target: Target, scores: Scores, weights: Weights) -> Calibration | None:
    if not 0 < (weights * target).sum() < weights.sum():
        return None
    single = scores.astype(np.float32).astype(np.float64)  # in which a model is served
    return (_sigmoid if kind == "sigmoid" else _isotonic)(target, single, weights)


def _sigmoid(target: Target, scores: Scores, weights: Weights) -> Sigmoid:
    """Logistic regression on the log-odds.

    Its targets are not 0 and 1 but a little between, so that it ends where scores tell the classes apart without error:
    Platt, Probabilistic Outputs for Support Vector Machines (1999), section 2.2.
    """
    weights = weights / weights.mean()
    true, false = (weights * target).sum(), (weights * ~target).sum()
    share = np.where(target, (true + 1) / (true + 2), 1 / (false + 2))
    model = LogisticRegression(C=np.inf)
    odds = log_odds(scores).reshape(-1, 1)
    model.fit(
        np.concatenate([odds, odds]),
        np.repeat([True, False], len(target)),
        sample_weight=np.concatenate([weights * share, weights * (1 - share)]),
    )
    return Sigmoid(slope=float(model.coef_[0, 0]), intercept=float(model.intercept_[0]))


def _isotonic(target: Target, scores: Scores, weights: Weights) -> Isotonic:
    """Isotonic regression, as a line through the middle of each of its steps: a step would treat scores that hardly
    differ as if they were far apart (Oron and Flournoy, Centered Isotonic Regression, 2017)."""
    steps = IsotonicRegression(y_min=0, y_max=1).fit(scores, target, weights).predict(scores).round(12)
    levels, place = np.unique(steps, return_inverse=True)
    of_level = np.bincount(place, weights)
    kept = of_level > 0
    middles = np.bincount(place, weights * scores)[kept] / of_level[kept]
    return Isotonic(scores=middles.tolist(), probabilities=levels[kept].tolist())
