"""A task: what a model answers about a column. The contract's target says which one it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kiban.data.contract import Column
from kiban.tasks import binary, multiclass, regression
from kiban.tasks.metric import Metric, Scores, Target, Weights

Name = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """A task, and its metrics by name.

    `compared` are the metrics in metrics.json, few enough for the tables of `dvc exp show` and `dvc metrics diff`.
    `importance` is the one by which features are ranked.
    """

    name: Name
    title: str
    metrics: Mapping[str, Metric]
    compared: tuple[str, str]
    importance: Metric

    def baseline(self, target: Target, classes: int, weights: Weights | None = None) -> Scores:
        """What to answer without features after rows with these targets: their mean, or the share of each class.

        `target` and `weights` have the shape (n,); without weights each row counts the same.
        """
        if self.name == "multiclass":
            return np.bincount(target, weights, classes) / (len(target) if weights is None else weights.sum())
        return np.asarray(np.average(target, weights=weights), dtype=np.float64)


BINARY = Task("binary", "binary classification", binary.METRICS, ("roc_auc", "brier"), binary.ROC_AUC)
MULTICLASS = Task(
    "multiclass",
    "multiclass classification",
    multiclass.METRICS,
    ("roc_auc_ovr", "log_loss"),
    multiclass.LOG_LOSS,
)
REGRESSION = Task("regression", "regression", regression.METRICS, ("r2", "rmse"), regression.R2)

TASKS: Mapping[Name, Task] = {task.name: task for task in (BINARY, MULTICLASS, REGRESSION)}

METRICS: Mapping[str, Metric] = {name: metric for task in TASKS.values() for name, metric in task.metrics.items()}
"""The metrics of all tasks by name. Those with the same name differ in what they are computed from alone."""


def task_of(target: Column) -> Task:
    """The task of a target column: yes or no, one of its levels, or a number."""
    if target.type == "boolean" or target.positive is not None:
        return BINARY
    return MULTICLASS if target.type == "string" else REGRESSION
