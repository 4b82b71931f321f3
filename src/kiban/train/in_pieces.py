"""Fitting XGBoost to more rows than memory holds: all training rows, a piece at a time, from disk or on Spark.

All else, such as the medians of the preprocessing, the threshold and the reference, comes of the sample that train
reads (`sample`). XGBoost's own account: https://xgboost.readthedocs.io/en/stable/tutorials/external_memory.html and
spark_estimator.html beside it.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import is_regressor
from sklearn.pipeline import Pipeline

from kiban.core import extras, files
from kiban.core.errors import KibanError
from kiban.core.paths import MODEL
from kiban.data import prepared
from kiban.data.contract import Table
from kiban.data.missing import Missing
from kiban.data.split import Resolved
from kiban.servable import columns
from kiban.tasks.metric import Target, Weights
from kiban.tasks.task import Task
from kiban.train import fit, missing
from kiban.train.rows import Rows
from kiban.train.settings import FIT_ON

ROWS = 1 << 18
"""The rows that are converted at once: about 100 MB for each hundred inputs."""


def fit_in_pieces(
    model: Pipeline,
    task: Task,
    dataset: str,
    table: Table,
    split: Resolved,
    hashes: Mapping[str, str],
    gaps: Missing,
    some: Rows,
    where: Any,
) -> tuple[float, float]:
    """Fit the pipeline to all training rows of the batches in `hashes`, and return offset and scale as fit.fit does.

    `some` are the rows of the sample, to which the preprocessing is fitted, `where` is `disk` or `spark`. Raises
    KibanError if it is neither, or if the estimator is not of XGBoost, which alone of those that are known does this.
    """
    preprocessing, booster = model[0], model[-1]
    if where not in ("disk", "spark"):
        raise KibanError(f"params.yaml: model.{FIT_ON}: {where!r} is neither disk nor spark")
    if not type(booster).__module__.startswith("xgboost."):
        raise KibanError(
            f"params.yaml: model.{FIT_ON}: only XGBoost learns from rows that are not in memory: leave it out"
        )
    if where == "spark":
        extras.check("pyspark", "spark", f"params.yaml: model.{FIT_ON}")
    offset, scale = fit.scale_of(model, task, some.target)
    preprocessing.fit(columns.frame(some.columns), some.target)
    mean_weight = 1.0 if some.weights is None else some.weights.mean()

    def piece_of(number: int, rows: pa.Table) -> dict[str, Any]:
        """What XGBoost learns of some rows, of which a share is repeated without what may be missing."""
        inputs = columns.from_arrow(rows, table.features())
        repeated, origin = missing.repeat_without(
            inputs, table.features(), gaps.model_copy(update={"seed": gaps.seed + number})
        )
        target: Target = columns.target_from_arrow(rows[table.target()], table.columns[table.target()])
        weights: Weights | None = columns.weights_from_arrow(rows, table)
        return {
            "data": preprocessing.transform(columns.frame(repeated)).astype(np.float32),
            "label": (target[origin] - offset) / scale if task.name == "regression" else target[origin],
            "weight": None if weights is None else weights[origin] / mean_weight,
        }

    def training(batch: str, digest: str) -> Iterator[pa.Table]:
        for rows in prepared.in_pieces(dataset, batch, digest):
            part = split.parts(batch, rows, table.key).get("train", rows.slice(0, 0))
            yield from (part.slice(start, ROWS) for start in range(0, part.num_rows, ROWS))

    def pieces_of() -> Iterator[dict[str, Any]]:
        rows = (part for batch, digest in sorted(hashes.items()) for part in training(batch, digest))
        return (piece_of(number, part) for number, part in enumerate(rows))

    if where == "spark":
        _fit_on_spark(booster, pieces_of())
    else:
        with files.scratch(MODEL) as scratch:
            _fit_on_disk(booster, task, pieces_of, scratch)
    return offset, scale


def _fit_on_disk(estimator: Any, task: Task, pieces_of: Callable[[], Iterator[dict[str, Any]]], scratch: Path) -> None:
    """Train the booster of the estimator on pieces, which are kept in the folder `scratch`."""
    import xgboost

    class Pieces(xgboost.DataIter):
        def __init__(self) -> None:
            self.rest = pieces_of()
            super().__init__(cache_prefix=str(scratch / "pieces"), release_data=True)

        def next(self, input_data: Callable[..., None]) -> bool:
            piece = next(self.rest, None)
            if piece is not None:
                input_data(**piece)
            return piece is not None

        def reset(self) -> None:
            self.rest = pieces_of()

    parameters = estimator.get_xgb_params()
    bins = parameters.get("max_bin") or 256
    rows = xgboost.ExtMemQuantileDMatrix(Pieces(), max_bin=bins, nthread=parameters.get("n_jobs"))
    if task.name == "multiclass":
        classes = int(rows.get_label().max()) + 1
        parameters |= {"objective": "multi:softprob", "num_class": classes}
    booster = xgboost.train({**parameters, "max_bin": bins}, rows, estimator.get_num_boosting_rounds())
    estimator.load_model(booster.save_raw("ubj"))


def _fit_on_spark(estimator: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Train the booster of the estimator on as many of Spark's workers as it has jobs (`n_jobs`)."""
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    from kiban.data import spark

    spark.connected()
    kind, own = (SparkXGBRegressor, ()) if is_regressor(estimator) else (SparkXGBClassifier, ("objective",))
    given = {name: value for name, value in estimator.get_xgb_params().items() if value is not None}
    parameters = {name: value for name, value in given.items() if name not in ("n_jobs", *own)}
    parameters["n_estimators"] = estimator.get_num_boosting_rounds()
    with spark.explained("train on Spark, whose workers need Python with xgboost, pyarrow, pandas and scikit-learn"):
        tables = (_as_table(**piece) for piece in rows)
        frame = spark.sent(tables)
        names = [name for name in frame.columns if name not in ("label", "weight")]
        weight = {"weight_col": "weight"} if "weight" in frame.columns else {}
        columns_of = {"features_col": names, "label_col": "label", **weight}
        fitted = kind(**columns_of, num_workers=estimator.n_jobs or 1, **parameters).fit(frame)
    booster = fitted.get_booster()
    booster.feature_names = booster.feature_types = None
    estimator.load_model(booster.save_raw("ubj"))


def _as_table(data: npt.NDArray[np.float32], label: Target, weight: Weights | None) -> pa.Table:
    """A piece as an Arrow table, with a column for each input."""
    inputs = {f"f{number}": pa.array(values) for number, values in enumerate(data.T)}
    weights = {} if weight is None else {"weight": pa.array(weight)}
    return pa.table({**inputs, "label": pa.array(label.astype(np.float64)), **weights})
