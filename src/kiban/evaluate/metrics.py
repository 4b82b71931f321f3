"""The figures of scored rows, and the curves of probabilities of a boolean target.

The curves are computed from the same sums as the metrics. Tests compare them with scikit-learn, which is not used here:
its import takes longer than the rest of the stage.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kiban.servable.columns import Columns
from kiban.servable.evaluation import Figures
from kiban.tasks.metric import Scored, Scores, Target
from kiban.tasks.task import Name, Task

DECIMALS = 6
CURVE_POINTS = 200
CALIBRATION_BINS = 15

Row = dict[str, Any]


class Decided(NamedTuple):
    """How scores are answered: from which probability on the label is true, what errors cost, and how far a number may
    be from the expected one; None where it does not apply."""

    threshold: float | None = None
    cost: Mapping[str, float] | None = None
    interval: float | None = None


def summary(task: Task, rows: Scored, decided: Decided = Decided()) -> Figures:  # noqa: B008
    """The metrics of scored rows, rounded; a metric that is not defined is None.

    `coverage` is the share of rows whose number lies within the interval. At the threshold there are the numbers of
    rows by target and label, `precision`, `recall`, and the mean `cost` of a row.
    """
    weighted, target, scores = rows.weighted(), rows.target, rows.scores
    values: dict[str, Any] = {name: metric.value(weighted) for name, metric in task.metrics.items()}
    if task.name != "multiclass":
        values |= {"base_rate" if task.name == "binary" else "mean_target": target.mean()}
        values |= {"mean_prediction": scores.mean()}
    counts: Figures = {}
    if decided.interval is not None:
        values["coverage"] = np.mean(np.abs(target - scores) <= decided.interval)
    if task.name == "binary" and decided.threshold is not None:
        counts = _by_label(target, scores >= decided.threshold)
        values |= _at_threshold(counts, decided.cost)
    rounded = {name: None if np.isnan(value) else _rounded(float(value)) for name, value in values.items()}
    return {"rows": len(target), **rounded, **counts}


def _by_label(target: Target, label: Target) -> Figures:
    pairs = {"true_positives": target & label, "false_positives": ~target & label}
    pairs |= {"false_negatives": target & ~label, "true_negatives": ~target & ~label}
    return {name: int(rows.sum()) for name, rows in pairs.items()}


def _at_threshold(counts: Figures, cost: Mapping[str, float] | None) -> dict[str, float]:
    right, wrong, missed = (counts[name] or 0 for name in ("true_positives", "false_positives", "false_negatives"))
    figures = {
        "precision": right / (right + wrong) if right + wrong else np.nan,
        "recall": right / (right + missed) if right + missed else np.nan,
    }
    if cost is None:
        return figures
    total = cost["false_positive"] * wrong + cost["false_negative"] * missed
    return {**figures, "cost": total / sum(value or 0 for value in counts.values())}


def _rounded(value: float) -> float:
    """A number with 6 decimals, or with 7 digits if it is above 1: errors of a regression have the target's unit."""
    return round(value, DECIMALS) if abs(value) < 1 else float(f"{value:.7g}")


def curves(task: Task, rows: Scored, levels: Sequence[str]) -> dict[str, list[Row]]:
    """The tables of the task's own plots, by name of the file. `levels` are those of a multiclass target."""
    if task.name == "multiclass":
        is_right = rows.scores.argmax(axis=1) == rows.target
        return {
            "confusion": confusion(rows, levels),
            "levels": recall_by_level(rows, levels),
            "calibration": calibration(is_right, rows.scores.max(axis=1)),
        }
    if task.name == "regression":
        return {
            "predictions": beside_truth(rows),
            "errors": errors(rows),
            "calibration": calibration(rows.target, rows.scores),
        }
    return {
        "roc": roc(rows.target, rows.scores),
        "precision_recall": precision_recall(rows.target, rows.scores),
        "calibration": calibration(rows.target, rows.scores),
    }


BY_BATCH: dict[Name, tuple[str, ...]] = {
    "binary": ("roc_auc", "base_rate", "mean_prediction"),
    "multiclass": ("roc_auc_ovr", "macro_f1", "accuracy"),
    "regression": ("rmse", "mean_target", "mean_prediction"),
}
"""The figures that are drawn by batch."""


def confusion(rows: Scored, levels: Sequence[str]) -> list[Row]:
    """The number of rows of each level that are given each label."""
    number = rows.scores.shape[1]
    counts = np.bincount(rows.target * number + rows.scores.argmax(axis=1), minlength=number**2)
    return [
        {"actual": levels[actual], "predicted": levels[predicted], "rows": int(counts[actual * number + predicted])}
        for actual in range(number)
        for predicted in range(number)
    ]


def recall_by_level(rows: Scored, levels: Sequence[str]) -> list[Row]:
    """The share of the rows of each level that have it as label; levels without a row are left out."""
    is_right = rows.scores.argmax(axis=1) == rows.target
    counts = np.bincount(rows.target, minlength=len(levels))
    right = np.bincount(rows.target, is_right, len(levels))
    return [
        {"level": level, "recall": _rounded(float(hits / count))}
        for level, count, hits in zip(levels, counts, right, strict=True)
        if count
    ]


def errors(rows: Scored) -> list[Row]:
    """The share of rows by their error, the actual number less the expected one, in 40 bins of equal width.

    The bins reach from the 0.5 % to the 99.5 % quantile.
    """
    values = rows.target - rows.scores
    low, high = np.quantile(values, (0.005, 0.995))
    counts, edges = np.histogram(values, 40, (low, high) if low < high else (low - 0.5, low + 0.5))
    return _curve(error=(edges[:-1] + edges[1:]) / 2, share=counts / len(values))


def beside_truth(rows: Scored) -> list[Row]:
    """The expected and the actual number of up to 200 rows, evenly from the least expected number to the greatest."""
    order = np.argsort(rows.scores, kind="stable")
    return _curve(prediction=rows.scores[order], actual=rows.target[order])


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
    """The mean score and the mean target, such as the share of positives, in each of up to 15 bins of about equally
    many rows.

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
    return [{name: _rounded(float(values[index])) for name, values in axes.items()} for index in picked]


def permutation_importance(
    task: Task,
    score: Callable[[Columns], Scores],
    columns: Columns,
    features: Mapping[str, Sequence[str]],
    target: Target,
    rows: int,
    seed: int,
) -> list[Row]:
    """How much worse the task's metric is when the values of a feature are shuffled, for each, the most first.

    `features` have the names of their inputs, whose values are shuffled together. It is measured on a random sample of
    `rows` rows. Method: Breiman, Random Forests (2001), section 10.
    scikit-learn's function needs an estimator, and a servable is not one.
    """
    random = np.random.default_rng(seed)
    sample = random.choice(len(target), size=min(rows, len(target)), replace=False)
    drawn, labels = {name: values[sample] for name, values in columns.items()}, target[sample]
    sign = 1 if task.importance.greater_is_better else -1

    def measured(columns: Columns) -> float:
        return sign * task.importance.value(Scored(labels, score(columns)).weighted())

    full = measured(drawn)
    losses = {}
    for name, inputs in features.items():
        order = random.permutation(len(labels))
        losses[name] = full - measured({**drawn, **{each: drawn[each][order] for each in inputs}})
    ordered = sorted(losses, key=lambda name: (-losses[name], name))
    return [{"feature": name, "loss": _rounded(float(losses[name]))} for name in ordered]


def write_csv(rows: list[Row], path: Path) -> None:
    """Write rows as a CSV file, which DVC plots."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
