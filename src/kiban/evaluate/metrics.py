"""The figures of scored rows, and the curves of probabilities of a boolean target.

The curves are computed from the same sums as the metrics. Tests compare them with scikit-learn, which is not used here:
its import takes longer than the rest of the stage.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kiban.servable.columns import Columns
from kiban.servable.evaluation import Figures
from kiban.tasks.binary import COST
from kiban.tasks.metric import Cost, Scored, Scores
from kiban.tasks.own import metrics_of
from kiban.tasks.task import Name, Task

DECIMALS = 6
CURVE_POINTS = 200
CALIBRATION_BINS = 15

Row = dict[str, Any]


def summary(task: Task, rows: Scored) -> Figures:
    """The figures of scored rows, rounded; one that is not defined is None.

    These are the task's metrics and the team's own, and `coverage`, the share of rows whose number lies within the
    interval. At the threshold there are the rows by target and label: their number, or the sum of their weights.
    """
    weighted, target = rows.weighted(), rows.target
    metrics = metrics_of(task)
    values = {name: metric.value(weighted) for name, metric in metrics.items() if metric is not COST or rows.terms.cost}
    if task.name != "multiclass":
        values["base_rate" if task.name == "binary" else "mean_target"] = weighted.mean(target)
        values["mean_prediction"] = weighted.mean(rows.scores)
    if rows.terms.interval is not None:
        values["coverage"] = weighted.mean(np.abs(target - rows.scores) <= rows.terms.interval)
    figures = {name: None if np.isnan(value) else rounded(float(value)) for name, value in values.items()}
    counts = weighted.labelled if task.name == "binary" else None
    sides = counts._asdict() if counts else {}
    by_label = {name: int(value) if rows.weights is None else rounded(value) for name, value in sides.items()}
    return {"rows": len(target), **figures, **by_label}


def rounded(value: float) -> float:
    """A number with 6 decimals, or with 7 digits if it is above 1: errors of a regression have the target's unit."""
    return round(value, DECIMALS) if abs(value) < 1 else float(f"{value:.7g}")


def curves(task: Task, rows: Scored, levels: Sequence[str]) -> dict[str, list[Row]]:
    """The tables of the task's own plots, by name of the file. `levels` are those of a multiclass target."""
    if task.name == "multiclass":
        is_right = rows.scores.argmax(axis=1) == rows.target
        return {
            "confusion": confusion(rows, levels),
            "levels": recall_by_level(rows, levels),
            "calibration": calibration(Scored(is_right, rows.scores.max(axis=1), rows.weights)),
        }
    if task.name == "regression":
        return {
            "predictions": beside_truth(rows),
            "errors": errors(rows),
            "calibration": calibration(rows),
        }
    return {
        "roc": roc(rows),
        "precision_recall": precision_recall(rows),
        "calibration": calibration(rows),
        "thresholds": thresholds(rows),
    }


BY_BATCH: dict[Name, tuple[str, ...]] = {
    "binary": ("roc_auc", "base_rate", "mean_prediction"),
    "multiclass": ("roc_auc_ovr", "macro_f1", "accuracy", "skill"),
    "regression": ("rmse", "mean_target", "mean_prediction", "coverage"),
}
"""The figures that are drawn by batch."""


def confusion(rows: Scored, levels: Sequence[str]) -> list[Row]:
    """The rows of each level that are given each label: their number, or the sum of their weights."""
    number = rows.scores.shape[1]
    counts = np.bincount(rows.target * number + rows.scores.argmax(axis=1), rows.weights, number**2)
    shown = counts.tolist() if rows.weights is None else [rounded(count) for count in counts.tolist()]
    return [
        {"actual": levels[actual], "predicted": levels[predicted], "rows": shown[place]}
        for place, (actual, predicted) in enumerate(product(range(number), repeat=2))
    ]


def recall_by_level(rows: Scored, levels: Sequence[str]) -> list[Row]:
    """The share of the rows of each level that have it as label; levels without a row are left out."""
    is_right = rows.scores.argmax(axis=1) == rows.target
    weights = rows.weighted().weights
    counts = np.bincount(rows.target, weights, len(levels))
    right = np.bincount(rows.target, weights * is_right, len(levels))
    return [
        {"level": level, "recall": rounded(float(hits / count))}
        for level, count, hits in zip(levels, counts, right, strict=True)
        if count
    ]


def errors(rows: Scored) -> list[Row]:
    """The share of rows by their error, the actual number less the expected one, in 40 bins of equal width.

    The bins reach from the 0.5 % to the 99.5 % quantile.
    """
    values = rows.target - rows.scores
    low, high = np.quantile(values, (0.005, 0.995))
    weights = rows.weighted().weights
    counts, edges = np.histogram(values, 40, (low, high) if low < high else (low - 0.5, low + 0.5), weights=weights)
    return _curve(error=(edges[:-1] + edges[1:]) / 2, share=counts / weights.sum())


def beside_truth(rows: Scored) -> list[Row]:
    """The expected and the actual number of up to 200 rows, evenly from the least expected number to the greatest."""
    order = np.argsort(rows.scores, kind="stable")
    return _curve(prediction=rows.scores[order], actual=rows.target[order])


def roc(rows: Scored) -> list[Row]:
    """The ROC curve, thinned to at most 200 points."""
    weighted = rows.weighted()
    true, false = (np.append(0, counts) for counts in (weighted.true, weighted.false))
    return _curve(false_positive_rate=false / false[-1], true_positive_rate=true / true[-1])


def precision_recall(rows: Scored) -> list[Row]:
    """The precision-recall curve, thinned to at most 200 points.

    The start of the curve, with a recall below 1/200, is left out: it rests on few rows and is noise.
    """
    weighted = rows.weighted()
    recall = weighted.true / weighted.true[-1]
    stable = recall >= 1 / CURVE_POINTS
    return _curve(recall=recall[stable], precision=weighted.true[stable] / weighted.all[stable])


def thresholds(rows: Scored) -> list[Row]:
    """The mean cost of a row by the threshold from which on it is labelled true, with the share of such rows.

    Every error costs 1 if the decision has no cost. Thresholds are distinct scores, thinned to at most 200.
    """
    weighted = rows.weighted()
    cost, total = rows.terms.cost or Cost(1, 1), weighted.all[-1]
    errors = cost.false_positive * weighted.false + cost.false_negative * (weighted.true[-1] - weighted.true)
    return _curve(threshold=rows.scores[rows.order][rows.ends], cost=errors / total, labelled=weighted.all / total)


def calibration(rows: Scored) -> list[Row]:
    """The mean score and the mean target, such as the share of positives, in each of up to 15 bins of about equally
    many rows.

    Equal scores are in the same bin.
    """
    edges = np.quantile(rows.scores, np.linspace(0, 1, CALIBRATION_BINS + 1))
    bins = np.searchsorted(edges[1:-1], rows.scores)
    weights = rows.weighted().weights
    counts = np.bincount(bins, weights)
    filled = counts > 0
    predicted, observed = (
        np.bincount(bins, weights * values)[filled] / counts[filled] for values in (rows.scores, rows.target)
    )
    return _curve(mean_prediction=predicted, observed_rate=observed)


def _curve(**axes: npt.NDArray[np.float64]) -> list[Row]:
    length = len(next(iter(axes.values())))
    picked = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
    return [{name: rounded(float(values[index])) for name, values in axes.items()} for index in picked]


def permutation_importance(
    task: Task,
    score: Callable[[Columns], Scores],
    columns: Columns,
    features: Mapping[str, Sequence[str]],
    rows: Scored,
    random: np.random.Generator,
) -> list[Row]:
    """How much worse the task's metric is when the values of a feature are shuffled, for each, the most first.

    `features` have the names of their inputs, whose values are shuffled together. Method: Breiman, Random Forests
    (2001), section 10. scikit-learn's function needs an estimator, and a servable is not one.
    """
    labels, weights = rows.target, rows.weights
    sign = 1 if task.importance.greater_is_better else -1

    def measured(columns: Columns) -> float:
        return sign * task.importance.value(Scored(labels, score(columns), weights).weighted())

    full = measured(columns)
    losses = {}
    for name, inputs in features.items():
        order = random.permutation(len(labels))
        losses[name] = full - measured({**columns, **{each: columns[each][order] for each in inputs}})
    ordered = sorted(losses, key=lambda name: (-losses[name], name))
    return [{"feature": name, "loss": rounded(float(losses[name]))} for name in ordered]


def write_csv(rows: list[Row], path: Path) -> None:
    """Write rows as a CSV file, which DVC plots."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
