"""The metrics of binary classification: of a boolean target, and of scores that are the probability that it is true.

They equal those of scikit-learn with `sample_weight` (a test compares them). Rows are sorted once for all weights, so
that a bootstrap of 500 draws takes a twentieth of the time.
"""

import numpy as np

from kiban.tasks.metric import Metric, Weighted


def _roc_auc(rows: Weighted) -> float:
    """The area under the ROC curve by trapezoids, or NaN if all targets are equal."""
    true, false = rows.true, rows.false
    total = float(true[-1] * false[-1])
    if not total:
        return np.nan
    return float(np.trapezoid(true, false) + true[0] * false[0] / 2) / total


def _average_precision(rows: Weighted) -> float:
    """The mean precision of all thresholds, weighted by the recall that each adds, or NaN if all targets are equal."""
    if not rows.true[-1] or not rows.false[-1]:
        return np.nan
    precision = np.divide(rows.true, rows.all, out=np.zeros_like(rows.true), where=rows.all > 0)
    return float(np.diff(rows.true, prepend=0) @ precision / rows.true[-1])


def _brier(rows: Weighted) -> float:
    return rows.mean((rows.rows.scores - rows.rows.target) ** 2)


def _log_loss(rows: Weighted) -> float:
    """The log loss. Scores are clipped to [eps, 1 - eps] of their type, because the logarithm of 0 is infinite."""
    scores = rows.rows.scores
    step = np.finfo(scores.dtype).eps
    bounded = np.clip(scores, step, 1 - step)
    return rows.mean(-np.log(np.where(rows.rows.target, bounded, 1 - bounded)))


ROC_AUC = Metric("roc_auc", "ROC AUC", True, _roc_auc)
AVERAGE_PRECISION = Metric("average_precision", "average precision", True, _average_precision)
BRIER = Metric("brier", "Brier score", False, _brier)
LOG_LOSS = Metric("log_loss", "log loss", False, _log_loss)

METRICS = {metric.name: metric for metric in (ROC_AUC, AVERAGE_PRECISION, BRIER, LOG_LOSS)}
