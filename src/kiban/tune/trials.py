"""The trials of a search: parameters and scores, as a table and as runs to track."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kiban.tasks.own import every_metric
from kiban.track.run import Child, Metric, parameters


@dataclass(frozen=True)
class Trial:
    """A trial. `score` is the mean of `by_fold`; a trial with an `error` has neither. `parameters` have dotted keys."""

    number: int
    parameters: dict[str, Any]
    by_fold: list[float]
    score: float | None
    error: str | None


def ordered(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """The trials sorted by their score of the metric, the best first, those without a score last."""
    sign = -1 if every_metric()[metric].greater_is_better else 1
    return sorted(trials, key=lambda trial: (trial.score is None, sign * (trial.score or 0), trial.number))


def table(trials: Sequence[Trial], metric: str, folds: Sequence[str]) -> str:
    """The trials as CSV, the best first: number, mean of the metric, metric by fold, parameters, error."""
    text = io.StringIO()
    keys = sorted({key for trial in trials for key in trial.parameters})
    names = ["trial", metric, *folds, *keys, "error"]
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for trial in ordered(trials, metric):
        scores = {fold: f"{score:.6f}" for fold, score in zip(folds, trial.by_fold, strict=False)}
        mean = {} if trial.score is None else {metric: f"{trial.score:.6f}"}
        writer.writerow({"trial": trial.number, **mean, **scores, **trial.parameters, "error": trial.error or ""})
    return text.getvalue()


def children(trials: Sequence[Trial], metric: str) -> list[Child]:
    """The trials as child runs of the search's run."""
    return [
        Child(
            name=f"trial {trial.number}",
            parameters=parameters(trial.parameters),
            metrics=[
                *([] if trial.score is None else [Metric(name=metric, value=trial.score)]),
                *(Metric(name=f"{metric}.by_fold", value=score, step=step) for step, score in enumerate(trial.by_fold)),
            ],
            tags={"error": trial.error} if trial.error else {},
        )
        for trial in trials
    ]
