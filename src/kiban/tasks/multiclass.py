"""The metrics of classification into k classes: of the index of the class, and of scores of shape (n, k).

They equal those of scikit-learn with `sample_weight` (a test compares them).
"""

from dataclasses import replace

import numpy as np

from kiban.tasks.binary import roc_auc, roc_auc_drawn
from kiban.tasks.metric import (
    Clusters,
    Drawn,
    Metric,
    Scored,
    Scores,
    Target,
    Weighted,
    log_of,
    mean_drawn,
    mean_of,
    skill_by,
)


def _logarithmic(target: Target, scores: Scores) -> Scores:
    return -log_of(scores[np.arange(len(target)), target])


def _is_right(target: Target, scores: Scores) -> Scores:
    return (scores.argmax(axis=1) == target).astype(np.float64)


def _macro_f1(rows: Weighted) -> float:
    """The mean of F1 over the classes that occur, among the targets or the labels."""
    target, labels = rows.target, rows.scores.argmax(axis=1)
    number = rows.scores.shape[1]
    right = np.bincount(target, rows.weights * (labels == target), number)
    both = np.bincount(target, rows.weights, number) + np.bincount(labels, rows.weights, number)
    occurs = both > 0
    return float(np.mean(2 * right[occurs] / both[occurs]))


def _roc_auc_ovr(rows: Weighted) -> float:
    """The mean area under the ROC curve of each class against all others, or NaN if a class has no row."""
    return float(np.mean([roc_auc(side.weighted(rows.weights)) for side in rows.rows.by_class]))


def _roc_auc_ovr_drawn(rows: Scored, clusters: Clusters) -> Drawn:
    sides = [roc_auc_drawn(replace(side, weights=rows.weights), clusters) for side in rows.by_class]
    return lambda times: np.mean([side(times) for side in sides], axis=0)


ROC_AUC_OVR = Metric("roc_auc_ovr", "ROC AUC, one class against the others", True, _roc_auc_ovr, _roc_auc_ovr_drawn)
LOG_LOSS = Metric("log_loss", "log loss", False, mean_of(_logarithmic), mean_drawn(_logarithmic))
MACRO_F1 = Metric("macro_f1", "macro F1", True, _macro_f1)
ACCURACY = Metric("accuracy", "accuracy", True, mean_of(_is_right), mean_drawn(_is_right))
SKILL = skill_by(_logarithmic)

METRICS = {metric.name: metric for metric in (ROC_AUC_OVR, LOG_LOSS, MACRO_F1, ACCURACY, SKILL)}
