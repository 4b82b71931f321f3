"""The metrics of binary classification: of a boolean target, and of scores that are the probability that it is true.

They equal those of scikit-learn with `sample_weight` (a test compares them). Rows are sorted once for all weights, so
that a bootstrap of 500 draws takes a twentieth of the time.
"""

import numpy as np
import numpy.typing as npt

from kiban.tasks.metric import (
    Clusters,
    Drawn,
    Metric,
    Scored,
    Scores,
    Target,
    Times,
    Weighted,
    log_of,
    mean_drawn,
    mean_of,
    skill_by,
)


def roc_auc(rows: Weighted) -> float:
    """The area under the ROC curve by trapezoids, or NaN if all targets are equal."""
    true, false = rows.true, rows.false
    total = float(true[-1] * false[-1])
    if not total:
        return np.nan
    return float(np.trapezoid(true, false) + true[0] * false[0] / 2) / total


def roc_auc_drawn(rows: Scored, clusters: Clusters) -> Drawn:
    """The area under the ROC curve of many draws of clusters.

    The area is the share of the pairs of a positive and a negative row in which the positive one has the higher score;
    equal scores count half (Hanley and McNeil, 1982). The pairs are counted once for each two clusters.
    """
    number = int(clusters.max()) + 1
    order, ends = rows.order, rows.ends
    target, weights, cluster = rows.target[order], rows.weighted().weights[order], clusters[order]
    group = np.searchsorted(ends, np.flatnonzero(~target))  # the place of the score of each negative row among all
    pairs = np.empty((number, number))
    for each in range(number):
        through = np.cumsum(weights * (target & (cluster == each)))[ends]
        higher = (through + np.concatenate([[0.0], through[:-1]])) / 2
        pairs[each] = np.bincount(cluster[~target], weights[~target] * higher[group], number)
    true = np.bincount(cluster, weights * target, number)
    false = np.bincount(cluster, weights * ~target, number)

    def drawn(times: Times) -> npt.NDArray[np.float64]:
        total = (times @ true) * (times @ false)
        right = ((times @ pairs) * times).sum(axis=1)
        return np.divide(right, total, out=np.full(len(times), np.nan), where=total > 0)

    return drawn


def _average_precision(rows: Weighted) -> float:
    """The mean precision of all thresholds, weighted by the recall that each adds, or NaN if all targets are equal."""
    if not rows.true[-1] or not rows.false[-1]:
        return np.nan
    precision = np.divide(rows.true, rows.all, out=np.zeros_like(rows.true), where=rows.all > 0)
    return float(np.diff(rows.true, prepend=0) @ precision / rows.true[-1])


def _squared(target: Target, scores: Scores) -> Scores:
    return (scores - target) ** 2


def _logarithmic(target: Target, scores: Scores) -> Scores:
    return -log_of(np.where(target, scores, 1 - scores))


def _precision(rows: Weighted) -> float:
    """The share of the rows labelled true that are true, or NaN if there are none."""
    at = rows.labelled
    return _share(at.true_positives, at.false_positives) if at else np.nan


def _recall(rows: Weighted) -> float:
    """The share of the true rows that are labelled so, or NaN if there are none."""
    at = rows.labelled
    return _share(at.true_positives, at.false_negatives) if at else np.nan


def _cost(rows: Weighted) -> float:
    """The mean cost of a row at the decision threshold, or NaN if errors have no cost."""
    at, cost = rows.labelled, rows.terms.cost
    return at.cost(cost) if at and cost else np.nan


def _share(part: float, others: float) -> float:
    return part / (part + others) if part + others else np.nan


ROC_AUC = Metric("roc_auc", "ROC AUC", True, roc_auc, roc_auc_drawn)
AVERAGE_PRECISION = Metric("average_precision", "average precision", True, _average_precision)
BRIER = Metric("brier", "Brier score", False, mean_of(_squared), mean_drawn(_squared))
LOG_LOSS = Metric("log_loss", "log loss", False, mean_of(_logarithmic), mean_drawn(_logarithmic))
SKILL = skill_by(_logarithmic)
PRECISION = Metric("precision", "precision", True, _precision)
RECALL = Metric("recall", "recall", True, _recall)
COST = Metric("cost", "cost of a row", False, _cost)

METRICS = {
    metric.name: metric for metric in (ROC_AUC, AVERAGE_PRECISION, BRIER, LOG_LOSS, SKILL, PRECISION, RECALL, COST)
}
