"""Exporting a fitted pipeline as a servable: as ONNX if that gives the same answers as scikit-learn, else as skops."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common import tree_ensemble
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from kiban.core import paths
from kiban.core.files import sha256, whole
from kiban.data.contract import Column
from kiban.servable import load, manifest, skops_file
from kiban.servable.columns import Columns, frame
from kiban.servable.manifest import Manifest, Parity

LARGEST_DIFFERENCE = 1e-5  # between probabilities of scikit-learn and of ONNX, which computes in single precision


def save(
    model: Pipeline,
    features: Mapping[str, Column],
    contract_file: Path,
    validation: Columns,
    facts: dict[str, Any],
    folder: Path = paths.SERVABLE,
) -> Manifest:
    """Write the servable, whole or not at all, and return its manifest.

    `validation` are the rows on which ONNX must agree with scikit-learn. `facts` has the manifest's keys dataset,
    threshold, parameters, example and prepared.
    """
    with whole(folder) as beside:
        beside.mkdir()
        shutil.copyfile(contract_file, beside / manifest.CONTRACT)
        parity = _export_onnx(model, features, validation, facts["threshold"], beside)
        if parity is None:
            (beside / manifest.MODEL_FILES["skops"]).write_bytes(skops_file.dumps(model))
        files = {path.name: sha256(path) for path in sorted(beside.iterdir())}
        result = Manifest(
            format_version=manifest.FORMAT, format="onnx" if parity else "skops", parity=parity, files=files, **facts
        )
        (beside / manifest.FILE).write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return result


def _export_onnx(
    model: Pipeline, features: Mapping[str, Column], rows: Columns, threshold: float, folder: Path
) -> Parity | None:
    """Write model.onnx and return how far it agrees with `model` on `rows`.

    Returns None, without a file, if the model cannot be converted or does not agree.
    """
    path = folder / manifest.MODEL_FILES["onnx"]
    try:
        content = to_onnx(model, features)
    except Exception as error:  # skl2onnx raises RuntimeError, NameError, its own kinds and more
        print(f"train: not exported to ONNX, served by scikit-learn: {' '.join(str(error).split())[:160]}")
        return None
    expected = model.predict_proba(frame(rows))[:, 1]
    actual = load.onnx_scorer(content, "the model")(rows)
    parity = Parity(
        rows=len(expected),
        largest_difference=float(f"{np.abs(actual - expected).max():.1e}"),
        labels_flipped=int(((actual >= threshold) != (expected >= threshold)).sum()),
    )
    if parity.largest_difference <= LARGEST_DIFFERENCE and parity.labels_flipped == 0:
        path.write_bytes(content)
        return parity
    print(f"train: ONNX does not agree with scikit-learn, served by scikit-learn: {parity}")
    return None


def to_onnx(model: Pipeline, features: Mapping[str, Column]) -> bytes:
    """The pipeline as ONNX, with an input for each feature and the outputs label and probabilities."""
    inputs = [
        (name, StringTensorType([None, 1]) if column.type == "string" else FloatTensorType([None, 1]))
        for name, column in features.items()
    ]
    add_node = tree_ensemble.add_node

    def add_node_with_integer(*args: Any, **kwargs: Any) -> Any:
        # skl2onnx 1.20 passes a bool for the trees of HistGradientBoosting; ONNX accepts only an integer.
        if "nodes_missing_value_tracks_true" in kwargs:
            kwargs["nodes_missing_value_tracks_true"] = int(kwargs["nodes_missing_value_tracks_true"])
        return add_node(*args, **kwargs)

    tree_ensemble.add_node = add_node_with_integer
    try:
        converted = convert_sklearn(
            model,
            name="kiban",  # a fixed name: the default is random
            initial_types=inputs,
            options={id(model): {"zipmap": False}},
            target_opset={"": 18, "ai.onnx.ml": 3},
        )
    finally:
        tree_ensemble.add_node = add_node
    content: bytes = converted.SerializeToString(deterministic=True)
    return content
