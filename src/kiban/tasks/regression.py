"""The metrics of regression: of numbers, and of scores that are the expected numbers.

They equal those of scikit-learn with `sample_weight` (a test compares them).
"""

import numpy as np

from kiban.tasks.metric import Metric, Scores, Target, Weighted, mean_drawn, mean_of, skill_by


def _squared(target: Target, scores: Scores) -> Scores:
    return (scores - target) ** 2


def _absolute(target: Target, scores: Scores) -> Scores:
    return np.abs(scores - target)


def _rmse(rows: Weighted) -> float:
    """The root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(rows.mean(_squared(rows.target, rows.scores))))


def _r2(rows: Weighted) -> float:
    """The share of the variance that is explained, or NaN if all targets are equal."""
    target = rows.target
    if not np.ptp(target[rows.weights > 0]):  # the mean of equal numbers is not always that number
        return np.nan
    variance = rows.mean((target - rows.mean(target)) ** 2)
    return 1 - rows.mean(_squared(target, rows.scores)) / variance


R2 = Metric("r2", "R²", True, _r2)
RMSE = Metric("rmse", "root mean squared error", False, _rmse)
MAE = Metric("mae", "mean absolute error", False, mean_of(_absolute), mean_drawn(_absolute))
SKILL = skill_by(_squared)

METRICS = {metric.name: metric for metric in (R2, RMSE, MAE, SKILL)}
