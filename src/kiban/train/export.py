"""Exporting a fitted pipeline as a servable: as ONNX if that gives the same answers as scikit-learn, else as skops."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common import tree_ensemble
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from kiban.core import paths
from kiban.core.errors import KibanError, one_line
from kiban.core.files import sha256, whole
from kiban.data.contract import Column
from kiban.servable import columns, load, manifest
from kiban.servable.calibration import Calibration, calibrated
from kiban.servable.columns import Columns
from kiban.servable.load import INPUT
from kiban.servable.manifest import Manifest, Parity
from kiban.tasks.metric import Scores
from kiban.tasks.task import Name
from kiban.train import boosters

LARGEST_DIFFERENCE = 1e-5
"""Between the answers of scikit-learn and of ONNX, which computes in single precision. Numbers are in units of the
scale of the target, which is its standard deviation, or its mean for a model of positive numbers."""

UNKNOWN = "\x00no level has this name"


def save(
    model: Pipeline,
    content: bytes,
    contract: bytes,
    features: Mapping[str, Column],
    task: Name,
    validation: Columns,
    facts: dict[str, Any],
    refer: Callable[[Path], None] = lambda _: None,
    folder: Path = paths.SERVABLE,
) -> Manifest:
    """Write the servable, whole or not at all, and return its manifest.

    `refer` adds further files, such as the reference, to its folder.

    `content` is the model as a skops file, which is served if ONNX does not agree with it on the rows `validation`.
    `contract` is the content of the prepared contract.
    `facts` has the manifest's other keys.
    """
    with whole(folder) as beside:
        beside.mkdir()
        (beside / manifest.CONTRACT).write_bytes(contract)
        exported = as_onnx(model, features, task, validation, facts["threshold"], facts.get("calibration"))
        if exported is None:
            (beside / manifest.MODEL_FILES["skops"]).write_bytes(content)
        else:
            (beside / manifest.MODEL_FILES["onnx"]).write_bytes(exported.content)
        refer(beside)
        files = {path.name: sha256(path) for path in sorted(beside.iterdir())}
        result = Manifest(
            format_version=manifest.FORMAT,
            format="onnx" if exported else "skops",
            parity=exported.parity if exported else None,
            files=files,
            **facts,
        )
        (beside / manifest.FILE).write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return result


class Exported(NamedTuple):
    """A model as ONNX, and how far it agrees with scikit-learn."""

    content: bytes
    parity: Parity


def as_onnx(
    model: Pipeline,
    features: Mapping[str, Column],
    task: Name,
    validation: Columns,
    threshold: float | None,
    calibrations: Sequence[Calibration | None] | None = None,
) -> Exported | None:
    """The model as ONNX, or None, with the reason on the terminal, if it cannot be converted or does not agree.

    Raises KibanError if such a model is a booster, which the service has not the package of.
    """
    is_booster = boosters.is_one(model[-1])
    try:
        content = to_onnx(model, features, task)
    except Exception as error:  # skl2onnx raises RuntimeError, NameError, its own kinds and more
        if is_booster:
            raise KibanError(
                f"the model cannot be exported to ONNX, and is served by nothing else: {one_line(error)}"
            ) from None
        print(f"train: not exported to ONNX, served by scikit-learn: {one_line(error)[:160]}")
        return None
    rows = with_nulls(validation, features)
    inputs = {INPUT.format(number): name for number, name in enumerate(columns.inputs(features))}
    expected = calibrated(load.answers_of(model, rows, task), calibrations)
    actual = calibrated(load.onnx_answers(content, "the model", inputs, task)(rows), calibrations)
    parity = agreement(expected, actual, task, threshold)
    if parity.largest_difference <= LARGEST_DIFFERENCE and parity.labels_flipped == 0:
        return Exported(content, parity)
    if is_booster:
        raise KibanError(f"ONNX does not agree with the model, which is served by nothing else: {parity}")
    print(f"train: ONNX does not agree with scikit-learn, served by scikit-learn: {parity}")
    return None


def agreement(expected: Scores, actual: Scores, task: Name, threshold: float | None) -> Parity:
    """How far two sets of answers agree. A label is flipped if it is not a matter of the difference at a tie."""
    difference = float(np.abs(actual - expected).max())
    flipped = 0
    if task == "multiclass":
        low, high = (np.sort(expected, axis=1)[:, place] for place in (-2, -1))
        is_clear = high - low > 2 * difference
        flipped = int(((actual.argmax(axis=1) != expected.argmax(axis=1)) & is_clear).sum())
    elif threshold is not None:
        is_clear = np.abs(expected - threshold) > difference
        flipped = int((((actual >= threshold) != (expected >= threshold)) & is_clear).sum())
    return Parity(rows=len(expected), largest_difference=float(f"{difference:.1e}"), labels_flipped=flipped)


def with_nulls(rows: Columns, features: Mapping[str, Column]) -> Columns:
    """The rows, and more like the first: for each nullable input one in which it is null, for each string one with a
    level that the contract lacks, and one with all of these.

    Validation may have neither, and some converters are wrong about them alone.
    """
    odd: dict[str, list[Any]] = {}
    for name, column in columns.inputs(features).items():
        if column.type == "string":
            odd[name] = [UNKNOWN, *([""] if column.nullable else [])]
        elif column.nullable:
            odd[name] = [np.nan]
    changes = [{name: value} for name, values in odd.items() for value in values]
    changes.append({name: values[-1] for name, values in odd.items()})
    first = {name: values[0] for name, values in rows.items()}
    return {
        name: np.concatenate([values, np.array([change.get(name, first[name]) for change in changes], values.dtype)])
        for name, values in rows.items()
    }


def to_onnx(model: Pipeline, features: Mapping[str, Column], task: Name) -> bytes:
    """The pipeline as ONNX, with numbered inputs and the outputs label and probabilities, or the number."""
    inputs = [
        (INPUT.format(number), StringTensorType([None, 1]) if column.type == "string" else FloatTensorType([None, 1]))
        for number, column in enumerate(columns.inputs(features).values())
    ]
    add_node = tree_ensemble.add_node

    def add_exact_node(*args: Any, **kwargs: Any) -> Any:
        if "nodes_missing_value_tracks_true" in kwargs:  # a tree of HistGradientBoosting
            # skl2onnx 1.20 passes a bool; ONNX accepts only an integer.
            kwargs["nodes_missing_value_tracks_true"] = int(kwargs["nodes_missing_value_tracks_true"])
            # It rounds thresholds to the nearest float32, so that a value between goes the other way.
            kwargs["adjust_threshold_for_sklearn"], kwargs["dtype"] = True, np.float32
        return add_node(*args, **kwargs)

    tree_ensemble.add_node = add_exact_node
    try:
        boosters.register(model[-1])
        converted = convert_sklearn(
            model,
            name="kiban",  # a fixed name: the default is random
            initial_types=inputs,
            options=None if task == "regression" else {id(model): {"zipmap": False}},
            target_opset={"": 18, "ai.onnx.ml": 3},
        )
    finally:
        tree_ensemble.add_node = add_node
    if isinstance(model[-1], HistGradientBoostingRegressor) and model[-1].loss in ("poisson", "gamma"):
        _append_exp(converted)
    content: bytes = converted.SerializeToString(deterministic=True)
    return content


def _append_exp(converted: ModelProto) -> None:
    """Let the model give the exponential of its number: skl2onnx forgets the link of a Poisson or gamma loss."""
    (output,) = converted.graph.output
    name = f"{output.name}_exp"
    converted.graph.node.append(helper.make_node("Exp", [output.name], [name]))
    output.name = name
