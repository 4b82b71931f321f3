"""The default model of a table: small boosted trees, a linear model or a forest, the best on the training rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from kiban.core.errors import KibanError, one_line
from kiban.data.contract import Column
from kiban.servable.columns import Columns, frame
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
MOST_FOREST = 1_000_000  # training rows times inputs, up to which a forest is tried
MOST_LEAVES = 1_000  # of a tree of a forest; fewer with many classes, for all of which a leaf has a number
LEAD = 0.005  # in skill, from which on a forest is preferred: it is ten times as large and as slow

Tried = tuple[Model, Preprocessing]


class Choice(NamedTuple):
    """The better model by name, all that were tried, and the skill of each on rows that it was not trained on."""

    name: str
    tried: Mapping[str, Tried]
    skill: Mapping[str, float]
    rows: int
    notes: list[str]


def trees(task: Task, rows: int, rarest: int, classes: int, by_time: bool) -> Tried:
    """Boosted trees for a table of this many training rows, of which `rarest` are of the rarest class.

    The setting suits tables of any size: on 9 of 11 real tables it was better than scikit-learn's defaults, and on none
    worse.
    """
    sums = classes if task.name == "multiclass" else 1
    most = max(50, min(ROUNDS, MOST_ROUNDS // (FOLDS * sums)))
    stops = not by_time and rarest >= LEAST_OF_CLASS
    kind = "Regressor" if task.name == "regression" else "Classifier"
    model = {
        "_target_": f"sklearn.ensemble.HistGradientBoosting{kind}",
        "learning_rate": round(RATE * ROUNDS / most, 3),
        "max_iter": most if stops else min(most, FIXED_ROUNDS),
        "max_leaf_nodes": 8,
        "min_samples_leaf": _leaf(rows),
        "max_features": 0.5,
        "l2_regularization": 1.0,
        "early_stopping": stops,
        **({"validation_fraction": 0.15, "n_iter_no_change": PATIENCE} if stops else {}),
        "random_state": 0,
    }
    return model, Preprocessing(categories="ordinal", numbers="as_is")


def _leaf(rows: int) -> int:
    """The least rows of a leaf of trees for so many training rows."""
    return max(5, min(100, round(rows**0.5 / 3)))


def linear(task: Task) -> Tried:
    """A linear model with a little shrinkage."""
    if task.name == "regression":
        model: Model = {"_target_": "sklearn.linear_model.RidgeCV", "alphas": [0.1, 1.0, 10.0, 100.0, 1000.0]}
    else:
        model = {"_target_": "sklearn.linear_model.LogisticRegression", "C": 1.0, "max_iter": 1000}
    return model, Preprocessing(categories="one_hot", numbers="standardize")


def forest(task: Task, classes: int) -> Tried:
    """A forest of large trees. It needs numbers in the place of nulls: ONNX reads nulls in a forest wrongly."""
    is_regression = task.name == "regression"
    model = {
        "_target_": f"sklearn.ensemble.RandomForest{'Regressor' if is_regression else 'Classifier'}",
        "n_estimators": 100,
        "min_samples_leaf": 2,
        "max_leaf_nodes": min(MOST_LEAVES, 5 * MOST_LEAVES // max(1, classes)),
        "max_features": 0.5 if is_regression else "sqrt",
        "random_state": 0,
    }
    return model, Preprocessing(categories="one_hot", numbers="impute")


def better(
    columns: Columns, features: Mapping[str, Column], target: Target, task: Task, classes: int, by_time: bool
) -> Choice:
    """The best of them, by their skill on shuffled folds of the training rows.

    `target` has the shape (n,), and each array of `columns` too. Raises KibanError if none can be trained.
    """
    random = np.random.default_rng(0)
    drawn = np.sort(random.permutation(len(target))[:MOST_ROWS])
    rarest = len(target) if task.name == "regression" else int(np.unique(target, return_counts=True)[1].min())
    notes = []
    if rarest < LEAST_OF_CLASS:
        notes.append(f"a class has only {rarest} training rows: early stopping is off, the number of rounds fixed")
    absent = classes - len(np.unique(target)) if task.name == "multiclass" else 0
    if absent:
        notes.append(f"{absent} of the {classes} classes have no training row: the model gives them no probability")
    tried = {"trees": trees(task, len(target), rarest, classes, by_time), "linear": linear(task)}
    if len(target) * len(columns) <= MOST_FOREST:
        tried["forest"] = forest(task, classes)
    rows = {name: values[drawn] for name, values in columns.items()}
    skill: dict[str, float] = {}
    for name, (model, preprocessing) in tried.items():
        try:
            skill[name] = _skill(rows, features, target[drawn], task, classes, model, preprocessing)
        except (ValueError, KibanError) as error:
            notes.append(f"{name}: not tried, {one_line(error)}")
    if not skill:
        raise KibanError(f"no model could be trained on these columns: {'; '.join(notes)}")
    name = max(skill, key=lambda each: (skill[each] - (LEAD if each == "forest" else 0), each == "linear"))
    return Choice(name, tried, skill, len(drawn), notes)


def space(rows: int) -> dict[str, Any]:
    """The ranges of a search for better trees, for a table of this many training rows."""
    leaf = _leaf(rows)
    return {
        "model.learning_rate": {"low": 0.02, "high": 0.2, "log": True},
        "model.max_leaf_nodes": {"low": 4, "high": 32, "log": True},
        "model.min_samples_leaf": {"low": max(2, leaf // 4), "high": 4 * leaf, "log": True},
        "model.max_features": {"low": 0.2, "high": 1.0},
        "model.l2_regularization": {"low": 0.1, "high": 100.0, "log": True},
    }


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


def rounds(
    model: Model,
    preprocessing: Preprocessing,
    features: Mapping[str, Column],
    task: Task,
    training: tuple[Columns, Target],
    validation: tuple[Columns, Target],
) -> int:
    """The number of boosting rounds that is best on the validation rows, of at most twice that of `model`.

    Early stopping holds rows out at random, of days that it trains on: with a split by time it would stop too late.
    """
    pipeline = estimator.pipeline(features, preprocessing, {**model, "max_iter": 2 * model["max_iter"]}, task)
    columns, target = validation
    offset, scale = fit.fit(pipeline, task, *training)
    rows = pipeline[:-1].transform(frame(columns))
    loss = task.metrics["rmse" if task.name == "regression" else "log_loss"]
    losses = []
    if task.name == "regression":
        staged = (offset + scale * answers for answers in pipeline[-1].staged_predict(rows))
    elif task.name == "binary":
        staged = (answers[:, 1] for answers in pipeline[-1].staged_predict_proba(rows))
    else:
        staged = pipeline[-1].staged_predict_proba(rows)
    losses = [loss.value(Scored(target, answers).weighted()) for answers in staged]
    return int(np.argmin(losses)) + 1


def _folds(target: Target, task: Task) -> Any:
    """Shuffled folds, never blocks of the file, which may be sorted by the target."""
    if task.name == "regression" or np.bincount(target)[np.unique(target)].min() < FOLDS:
        return KFold(FOLDS, shuffle=True, random_state=0).split(target)
    return StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(target, target)
