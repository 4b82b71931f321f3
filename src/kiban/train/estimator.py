"""Building an unfitted scikit-learn pipeline from the contract and the configuration."""

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from kiban.core import extras
from kiban.core.errors import KibanError, one_line
from kiban.data.contract import Column
from kiban.servable import columns
from kiban.tasks.task import Task
from kiban.train.settings import OURS, Model, Preprocessing

BOOSTERS = ("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", "xgboost.XGBClassifier", "xgboost.XGBRegressor")
"""Estimators of other packages, which are not in requirements.lock: `make extra EXTRA=lightgbm` installs one."""


def pipeline(features: Mapping[str, Column], preprocessing: Preprocessing, model: Model, task: Task) -> Pipeline:
    """Preprocessing of the contract's `features`, then the estimator.

    Raises KibanError if it cannot be built, or does not suit the task.
    """
    estimator = _estimator(model)
    if is_regressor(estimator) != (task.name == "regression"):
        kind = "a regressor" if is_regressor(estimator) else "a classifier"
        raise KibanError(f"params.yaml: model._target_: {model['_target_']} is {kind}, but the task is {task.title}")
    return make_pipeline(_preprocessor(features, preprocessing, task), estimator)


def _preprocessor(features: Mapping[str, Column], preprocessing: Preprocessing, task: Task) -> ColumnTransformer:
    """The encoders of the inputs. Null and a level not in the contract become -1 (ordinal) or all zeros (one_hot).

    A string without levels, which has many values, becomes the mean target of its value. With three or more classes
    there is no such mean, and it becomes the number of the value. Inputs are known by their number: ONNX allows fewer
    names.
    """
    inputs = list(columns.inputs(features).values())
    texts = [number for number, column in enumerate(inputs) if column.type == "string"]
    categories = {number: names for number in texts if (names := inputs[number].levels) is not None}
    open_texts = [number for number in texts if number not in categories]
    numbers = [number for number in range(len(inputs)) if number not in texts]
    levels = [np.array(names, dtype=object) for names in categories.values()]
    if preprocessing.categories == "one_hot":
        encoder: Any = OneHotEncoder(categories=levels, handle_unknown="ignore", sparse_output=False)
    else:
        encoder = OrdinalEncoder(categories=levels, handle_unknown="use_encoded_value", unknown_value=-1)
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    ways: dict[str, Any] = {"standardize": make_pipeline(imputer, StandardScaler()), "impute": imputer}
    scaler = ways.get(preprocessing.numbers, "passthrough")
    steps = [("categories", encoder, list(categories)), ("numbers", scaler, numbers)]
    if open_texts:
        steps.append(("texts", _of_texts(preprocessing, task), open_texts))
    return ColumnTransformer(steps)


def _of_texts(preprocessing: Preprocessing, task: Task) -> Any:
    """The encoder of strings without levels."""
    if task.name == "multiclass":
        encoder: Any = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    else:
        kind = "binary" if task.name == "binary" else "continuous"
        encoder = TargetEncoder(target_type=kind, random_state=0)  # the seed draws the folds
    return make_pipeline(encoder, StandardScaler()) if preprocessing.numbers == "standardize" else encoder


def check(model: Model) -> None:
    """Raise KibanError if the estimator cannot be built, or if it would refuse an argument when it is trained."""
    try:
        estimator = _estimator(model)
        if hasattr(estimator, "_parameter_constraints"):  # a booster says what is wrong when it is trained
            estimator._validate_params()
    except ValueError as error:
        raise KibanError(f"params.yaml: model: {one_line(error)}") from None


def _estimator(model: Model) -> BaseEstimator:
    if "_target_" not in model:
        raise KibanError("params.yaml: model._target_: missing; choose one with `kiban compose model=NAME`")
    try:
        estimator = _built({name: value for name, value in model.items() if name not in OURS}, "model")
        # One of a stack tells only after the fit that it gives probabilities, if it has the final estimator by default.
        gives_probabilities = hasattr(estimator, "predict_proba") or isinstance(estimator, StackingClassifier)
        is_suited = is_regressor(estimator) or (is_classifier(estimator) and gives_probabilities)
    except KibanError:
        raise
    except Exception as error:  # each estimator has errors of its own
        raise KibanError(f"params.yaml: model: {one_line(error)}") from None
    if not is_suited:
        raise KibanError(
            f"params.yaml: model._target_: {model['_target_']} is neither a classifier that gives probabilities nor a "
            "regressor"
        )
    return estimator


def _built(node: Any, key: str) -> Any:
    """The value at `key` of params.yaml, in which each mapping with `_target_`, at any depth, becomes an estimator.

    Only scikit-learn's estimators and those of BOOSTERS are imported and called, and no text is resolved.
    """
    if isinstance(node, list):
        return [_built(item, f"{key}.{index}") for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    values = {name: _built(item, f"{key}.{name}") for name, item in node.items() if name != "_target_"}
    return _class(node["_target_"], set(values), key)(**values) if "_target_" in node else values


def _class(target: Any, arguments: set[str], key: str) -> type[BaseEstimator]:
    """The class of the estimator that `target` names.

    Raises KibanError if scikit-learn has no such estimator, if it lacks one of the arguments, or if the package of a
    booster is not installed.
    """
    if target in BOOSTERS:
        return _booster(target, arguments, key)
    if not isinstance(target, str) or not target.startswith("sklearn."):
        raise KibanError(
            f"params.yaml: {key}._target_: {target!r} does not start with sklearn., nor is it {', '.join(BOOSTERS)}"
        )
    try:
        kind = pkgutil.resolve_name(target)
    except (ImportError, ValueError, AttributeError):
        kind = None
    if not isinstance(kind, type):
        raise KibanError(f"params.yaml: {key}._target_: there is no class {target!r} in scikit-learn")
    if not issubclass(kind, BaseEstimator) or not kind.__module__.startswith("sklearn."):
        raise KibanError(f"params.yaml: {key}._target_: {target!r} is not an estimator of scikit-learn")
    unknown = sorted(arguments - set(inspect.signature(kind).parameters))
    if unknown:
        raise KibanError(f"params.yaml: {key}.{unknown[0]}: {kind.__name__} has no such argument")
    return kind


def _booster(target: str, arguments: set[str], key: str) -> type[BaseEstimator]:
    package = target.partition(".")[0]
    extras.check(package, package, f"params.yaml: {key}._target_")
    kind: type[BaseEstimator] = pkgutil.resolve_name(target)
    known = set(kind().get_params())  # its signature takes any name
    if package == "lightgbm":  # whose engine has parameters that the class does not name
        from lightgbm.basic import _ConfigAliases

        known |= {name for names in _ConfigAliases._get_all_param_aliases().values() for name in names}
    if unknown := sorted(arguments - known):
        raise KibanError(f"params.yaml: {key}.{unknown[0]}: {kind.__name__} has no such argument")
    return kind
