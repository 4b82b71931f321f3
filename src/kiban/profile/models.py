"""The default model of a table: small boosted trees or a linear model, whichever is better on the training rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from kiban.core.errors import KibanError, one_line
from kiban.data.contract import Column
from kiban.servable.columns import Columns
from kiban.servable.load import answers_of, of_all_levels
from kiban.tasks.metric import Scored, Target
from kiban.tasks.task import Task
from kiban.train import estimator, fit
from kiban.train.settings import Model, Preprocessing

FOLDS = 4
MOST_ROWS = 20_000  # that are compared on
MOST_ROUNDS = 20_000  # of boosting in all folds, for all classes together
ROUNDS, RATE = 1000, 0.05
FIXED_ROUNDS = 300  # where early stopping has too few rows to hold out
LEAST_OF_CLASS = 8  # rows of the rarest class, from which on early stopping can hold some out
PATIENCE = 30  # rounds without a gain

Tried = tuple[Model, Preprocessing]


class Choice(NamedTuple):
    """The better model, its name, and what each is worth: its skill on rows that it was not trained on."""

    name: str
    model: Model
    preprocessing: Preprocessing
    skill: Mapping[str, float]
    notes: list[str]


def trees(task: Task, rows: int, rarest: int, classes: int, by_time: bool) -> Tried:
    """Boosted trees for a table of this many training rows, of which `rarest` are of the rarest class.

    The setting suits tables of any size: on 9 of 11 real tables it is better than scikit-learn's defaults, and worse on
    none (docs/your-data.md).
    """
    sums = classes if task.name == "multiclass" else 1
    most = max(50, min(ROUNDS, MOST_ROUNDS // (FOLDS * sums)))
    stops = not by_time and rarest >= LEAST_OF_CLASS
    model = {
        "_target_": f"sklearn.ensemble.HistGradientBoosting{'Regressor' if task.name == 'regression' else 'Classifier'}",
        "learning_rate": round(RATE * ROUNDS / most, 3),
        "max_iter": most if stops else min(most, FIXED_ROUNDS),
        "max_leaf_nodes": 8,
        "min_samples_leaf": max(5, min(100, round(rows**0.5 / 3))),
        "max_features": 0.5,
        "l2_regularization": 1.0,
        "early_stopping": stops,
        **({"validation_fraction": 0.15, "n_iter_no_change": PATIENCE} if stops else {}),
        "random_state": 0,
    }
    return model, Preprocessing(categories="ordinal", numbers="as_is")


def linear(task: Task) -> Tried:
    """A linear model with a little shrinkage."""
    if task.name == "regression":
        model: Model = {"_target_": "sklearn.linear_model.RidgeCV", "alphas": [0.1, 1.0, 10.0, 100.0, 1000.0]}
    else:
        model = {"_target_": "sklearn.linear_model.LogisticRegression", "C": 1.0, "max_iter": 1000}
    return model, Preprocessing(categories="one_hot", numbers="standardize")


def better(
    columns: Columns, features: Mapping[str, Column], target: Target, task: Task, classes: int, by_time: bool
) -> Choice:
    """The better of the two, by their skill on shuffled folds of the training rows.

    `target` has the shape (n,), and each array of `columns` too.
    """
    random = np.random.default_rng(0)
    drawn = np.sort(random.permutation(len(target))[:MOST_ROWS])
    counts = np.bincount(target, minlength=1) if task.name != "regression" else np.array([len(target)])
    rarest = int(counts[counts > 0].min())
    notes = []
    if task.name != "regression" and rarest < LEAST_OF_CLASS:
        notes.append(f"a class has only {rarest} training rows: early stopping is off, and the number of rounds fixed")
    tried = {"boosted trees": trees(task, len(target), rarest, classes, by_time), "linear": linear(task)}
    rows = {name: values[drawn] for name, values in columns.items()}
    skill: dict[str, float] = {}
    for name, (model, preprocessing) in tried.items():
        try:
            skill[name] = _skill(rows, features, target[drawn], task, classes, model, preprocessing)
        except (ValueError, KibanError) as error:
            notes.append(f"{name}: not tried, {one_line(error)}")
    if not skill:
        raise KibanError(f"no model could be trained on these columns: {'; '.join(notes)}")
    name = max(skill, key=lambda each: (skill[each], each == "linear"))
    model, preprocessing = tried[name]
    return Choice(name, model, preprocessing, skill, notes)


def _skill(
    rows: Columns,
    features: Mapping[str, Column],
    target: Target,
    task: Task,
    classes: int,
    model: Model,
    preprocessing: Preprocessing,
) -> float:
    """The skill of a model: 1 less its loss as a share of the loss of answering the mean, or the shares of the classes.

    Every row is answered by a model that was not trained on it.
    """
    if len(target) < 2 * FOLDS:
        raise ValueError(f"{len(target)} training rows are too few")
    answers = np.zeros((len(target), classes)) if task.name == "multiclass" else np.zeros(len(target))
    baselines = np.zeros_like(answers)
    for train, test in _folds(target, task):
        pipeline = estimator.pipeline(features, preprocessing, model, task)
        offset, scale = fit.fit(pipeline, task, {name: values[train] for name, values in rows.items()}, target[train])
        given = answers_of(pipeline, {name: values[test] for name, values in rows.items()}, task.name)
        if task.name == "multiclass":
            given = of_all_levels(given, pipeline.classes_.tolist(), classes)
        answers[test] = offset + scale * given if task.name == "regression" else given
        baselines[test] = task.baseline(target[train], classes)
    loss = task.metrics["log_loss" if task.name != "regression" else "rmse"]
    ours, plain = (loss.value(Scored(target, scores).weighted()) for scores in (answers, baselines))
    return 1 - (ours**2 / plain**2 if task.name == "regression" else ours / plain)


def _folds(target: Target, task: Task) -> Any:
    """Shuffled folds, never blocks of the file, which may be sorted by the target."""
    if task.name == "regression" or np.bincount(target)[np.unique(target)].min() < FOLDS:
        return KFold(FOLDS, shuffle=True, random_state=0).split(target)
    return StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(target, target)
