"""LightGBM and XGBoost: their conversion to ONNX. Neither is imported unless a model is one of theirs."""

from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.base import is_regressor

OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}


def is_one(estimator: Any) -> bool:
    """Whether an estimator is of LightGBM or XGBoost."""
    return _package(estimator) in ("lightgbm", "xgboost")


def register(estimator: Any) -> None:
    """Let skl2onnx convert such an estimator, as onnxmltools does; others it knows itself."""
    if not is_one(estimator):
        return
    kind, shapes = type(estimator), calculate_linear_classifier_output_shapes
    options: dict[str, Any] | None = OPTIONS
    if is_regressor(estimator):
        shapes, options = calculate_linear_regressor_output_shapes, None
    converter = _lightgbm if _package(estimator) == "lightgbm" else _xgboost
    update_registered_converter(kind, f"Kiban{kind.__name__}", shapes, converter, options=options)


def _package(estimator: Any) -> str:
    return type(estimator).__module__.partition(".")[0]


def _xgboost(scope: Any, operator: Any, container: Any) -> None:
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    convert_xgboost(scope, operator, container)


def _lightgbm(scope: Any, operator: Any, container: Any) -> None:
    """Convert a model whose thresholds are rounded down to single precision, as ONNX computes.

    A threshold of LightGBM is a double. A value x in single precision is at most t where it is at most the largest
    number of single precision that is at most t; the nearest one may be above t, so that x goes the other way.
    """
    from onnxmltools.convert.lightgbm.operator_converters import LightGbm

    dump = LightGbm.dump_booster_model

    def rounded(booster: Any, **options: Any) -> Any:
        text, info = dump(booster, **options)
        for tree in text["tree_info"]:
            _round_down(tree["tree_structure"])
        return text, info

    LightGbm.dump_booster_model = rounded
    try:
        LightGbm.convert_lightgbm(scope, operator, container)
    finally:
        LightGbm.dump_booster_model = dump


def _round_down(node: dict[str, Any]) -> None:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if "threshold" in node:
            node["threshold"] = down(float(node["threshold"]))
            nodes += [node["left_child"], node["right_child"]]


def down(value: float) -> float:
    """The largest number in single precision that is not above `value`."""
    with np.errstate(over="ignore"):  # above all of them: the largest
        nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf)))
