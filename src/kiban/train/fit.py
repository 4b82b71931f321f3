"""Fitting the pipeline, whose numbers are scaled, and the interval around the numbers that it expects."""

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from kiban.servable import skops_file
from kiban.servable.columns import Columns, frame
from kiban.tasks.metric import Target, Weights
from kiban.tasks.task import Task

POSITIVE = (PoissonRegressor, GammaRegressor, TweedieRegressor)
MOST_CELLS = 200_000  # rows times inputs, for which one thread is as fast as two
FEW = 200  # rows, on which a model is fitted to know whether it may be saved


def threads(columns: Columns) -> threadpool_limits:
    """One thread while it is open, if the columns are few and short, else as many as there are.

    Two threads are no faster then: they wait for each other at every node of a tree and, on a machine with other work,
    a hundred times as long as they compute.
    """
    cells = sum(len(values) for values in columns.values())
    return threadpool_limits(1 if cells <= MOST_CELLS else None, user_api="openmp")


def check_saved(model: Pipeline, task: Task, columns: Columns, target: Target) -> None:
    """Raise KibanError if the fitted model would hold types that may not be saved: a fit of a few rows tells, before
    the one of all rows begins.

    A model that cannot be fitted to so few rows is not tried.
    """
    first = np.concatenate([np.flatnonzero(target == each)[:2] for each in np.unique(target)[:FEW]])
    few = np.unique(np.concatenate([first, np.arange(min(FEW, len(target)))]))[: 2 * FEW]
    trial = clone(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit(trial, task, {name: values[few] for name, values in columns.items()}, target[few])
        except ValueError:
            return
    skops_file.dumps(trial)


def fit(
    model: Pipeline, task: Task, columns: Columns, target: Target, weights: Weights | None = None
) -> tuple[float, float]:
    """Fit the pipeline, and return the offset and the scale of its target: it gives (y - offset) / scale.

    Weights are scaled to a mean of 1, so that they do not change what a penalty means. Numbers are scaled because the
    exported model computes in single precision: near 1e12 a float32 is 65,536 apart.
    Raises ValueError if scikit-learn refuses an argument, whose values it checks only here, or the target; or if the
    estimator takes no weights.
    """
    arguments = {}
    if weights is not None:
        if not has_fit_parameter(model[-1], "sample_weight"):
            raise ValueError(f"{type(model[-1]).__name__} takes no weights, and the contract has a column of them")
        arguments[f"{model.steps[-1][0]}__sample_weight"] = weights / weights.mean()
    offset, scale = scale_of(model, task, target)
    model.fit(frame(columns), (target - offset) / scale if task.name == "regression" else target, **arguments)
    return offset, scale


def scale_of(model: Pipeline, task: Task, target: Target) -> tuple[float, float]:
    """The mean and the standard deviation of numbers, or 0 and the mean for a model of positive ones; 0 and 1 for
    classes.
    """
    if task.name != "regression":
        return 0.0, 1.0
    parts = [model[-1], *model[-1].get_params(deep=True).values()]
    losses = [part for part in parts if isinstance(part, str)]
    if {"poisson", "gamma"} & set(losses) or any(isinstance(part, POSITIVE) for part in parts):
        return 0.0, float(np.abs(target).mean())
    return float(target.mean()), float(target.std())


def interval(errors: npt.NDArray[np.float64], level: float, weights: Weights | None = None) -> float | None:
    """How far a number is from the expected one, at most, in a share `level` of new rows; None if there are too few.

    `errors` are the differences of rows that the model was not trained on, which count as `weights` say, both of shape
    (n,). Method: split conformal prediction, Lei et al., Distribution-Free Predictive Inference for Regression (2018),
    section 2.2; a new row has the mean weight.
    """
    order = np.argsort(np.abs(errors), kind="stable")
    counts = np.ones(len(errors)) if weights is None else weights[order] / weights.mean()
    enough = np.flatnonzero(np.cumsum(counts) >= (len(errors) + 1) * level - 1e-9)
    return float(np.abs(errors)[order[enough[0]]]) if len(enough) else None
