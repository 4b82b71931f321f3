"""Fitted pipelines as skops files, without pickle. Equal models give equal bytes; unknown types are refused."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from kiban.core.errors import KibanError

# The types that a file may hold besides those that skops trusts. The list comes from the estimators of conf/model and
# similar ones. It must never come from a file that is about to be loaded: an attacker writes that list.
TRUSTED = [
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
]
TRAINED = [
    *TRUSTED,
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
]
"""The types of the file that train writes. A servable never holds a booster: it is served as ONNX, or not at all."""


def dumps(model: Any) -> bytes:
    """The bytes of `model` as a skops file. Raises KibanError, which names them, if it holds types not in TRAINED."""
    content = skops.io.dumps(model)
    refused = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRAINED))
    if refused:
        raise KibanError(
            f"params.yaml: model._target_: {type(model[-1]).__name__} holds types that are not trusted "
            f"({', '.join(refused)}): choose another estimator, or extend TRUSTED in {__name__}"
        )
    return _canonical(content)


def load(path: Path, trusted: Sequence[str] = TRUSTED) -> Any:
    """The model in the file at `path`. Raises KibanError if it is no skops file or holds a type that is not trusted."""
    return loads(path.read_bytes(), str(path), trusted)


def loads(content: bytes, where: str, trusted: Sequence[str] = TRUSTED) -> Any:
    """The model in the content of a file. Errors call the file `where`. Raises KibanError as `load` does."""
    try:
        return skops.io.loads(content, trusted=list(trusted))
    except UntrustedTypesFoundException as error:
        raise KibanError(f"{where} holds types that are not trusted: {' '.join(str(error).split())}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise KibanError(f"{where} is not a skops file ({error}): restore it with `dvc checkout`") from None


def _canonical(content: bytes) -> bytes:
    """The same archive without the values that differ between runs: object ids, names made of them, and times."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    ids: dict[int, int] = {}
    names: dict[str, str] = {}
    _renumber(schema, ids, names)
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names, key=lambda name: names[name]):
            archive.writestr(zipfile.ZipInfo(names[name]), members[name])
        archive.writestr(zipfile.ZipInfo("schema.json"), json.dumps(schema, indent=1))
    return output.getvalue()


def _renumber(node: Any, ids: dict[int, int], names: dict[str, str]) -> None:
    """Number ids and member files in the order in which the schema mentions them, in place."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, ids, names)
    elif isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if isinstance(node.get("file"), str):
            extension = Path(node["file"]).suffix
            node["file"] = names.setdefault(node["file"], f"{len(names):06d}{extension}")
        for item in node.values():
            _renumber(item, ids, names)
