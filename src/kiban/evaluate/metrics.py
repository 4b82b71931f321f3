"""The metrics and curves of probabilities of a boolean target.

The curves are computed from the same sums as the metrics. Tests compare them with scikit-learn, which is not used here:
its import takes longer than the rest of the stage.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kiban.servable.columns import Columns
from kiban.servable.evaluation import Figures
from kiban.tasks.binary import METRICS, ROC_AUC
from kiban.tasks.metric import Scored, Scores, Target

DECIMALS = 6
CURVE_POINTS = 200
CALIBRATION_BINS = 15

Row = dict[str, Any]


def summary(target: Target, scores: Scores) -> Figures:
    """The metrics of `scores`, rounded. Metrics of ranks are None if all targets are equal."""
    rows = Scored(target, scores).weighted()
    values = {name: metric.value(rows) for name, metric in METRICS.items()}
    values |= {"base_rate": target.mean(), "mean_prediction": scores.mean()}
    rounded = {name: None if np.isnan(value) else round(float(value), DECIMALS) for name, value in values.items()}
    return {"rows": len(target), **rounded}


def roc(target: Target, scores: Scores) -> list[Row]:
    """The ROC curve, thinned to at most 200 points."""
    rows = Scored(target, scores).weighted()
    true, false = (np.append(0, counts) for counts in (rows.true, rows.false))
    return _curve(false_positive_rate=false / false[-1], true_positive_rate=true / true[-1])


def precision_recall(target: Target, scores: Scores) -> list[Row]:
    """The precision-recall curve, thinned to at most 200 points.

    The start of the curve, with a recall below 1/200, is left out: it rests on few rows and is noise.
    """
    rows = Scored(target, scores).weighted()
    recall, precision = rows.true / rows.true[-1], rows.true / rows.all
    stable = recall >= 1 / CURVE_POINTS
    return _curve(recall=recall[stable], precision=precision[stable])


def calibration(target: Target, scores: Scores) -> list[Row]:
    """The mean score and the share of positives in each of up to 15 bins of about equally many rows.

    Equal scores are in the same bin.
    """
    edges = np.quantile(scores, np.linspace(0, 1, CALIBRATION_BINS + 1))
    bins = np.searchsorted(edges[1:-1], scores)
    rows = np.bincount(bins)
    filled = rows > 0
    predicted, observed = (np.bincount(bins, values)[filled] / rows[filled] for values in (scores, target))
    return _curve(mean_prediction=predicted, observed_rate=observed)


def _curve(**axes: npt.NDArray[np.float64]) -> list[Row]:
    length = len(next(iter(axes.values())))
    picked = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
    return [{name: round(float(values[index]), DECIMALS) for name, values in axes.items()} for index in picked]


def permutation_importance(
    score: Callable[[Columns], Scores], columns: Columns, target: Target, rows: int, seed: int
) -> list[Row]:
    """The drop of ROC AUC when the values of a feature are shuffled, for each feature, the largest drop first.

    It is measured on a random sample of `rows` rows. Method: Breiman, Random Forests (2001), section 10.
    scikit-learn's function needs an estimator, and a servable is not one.
    """
    random = np.random.default_rng(seed)
    sample = random.choice(len(target), size=min(rows, len(target)), replace=False)
    drawn, labels = {name: values[sample] for name, values in columns.items()}, target[sample]
    full = _auc(labels, score(drawn))
    drops = {
        name: full - _auc(labels, score({**drawn, name: random.permutation(values)})) for name, values in drawn.items()
    }
    ordered = sorted(drops, key=lambda name: (-drops[name], name))
    return [{"feature": name, "auc_drop": round(float(drops[name]), DECIMALS)} for name in ordered]


def _auc(target: Target, scores: Scores) -> float:
    return ROC_AUC.value(Scored(target, scores).weighted())


def write_csv(rows: list[Row], path: Path) -> None:
    """Write rows as a CSV file, which DVC plots."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
