"""Stage train: fits the model to the accepted prepared batches and writes its servable."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel
from sklearn.pipeline import Pipeline

from kiban.core import files, memo
from kiban.core.errors import KibanError, one_line
from kiban.core.paths import MODEL
from kiban.core.settings import Sections, read
from kiban.core.versions import BOOSTERS, run_stage
from kiban.data import contract, prepared
from kiban.data.contract import Column, Table
from kiban.data.missing import Missing
from kiban.data.settings import Identity
from kiban.data.split import Split, resolved
from kiban.servable import skops_file
from kiban.servable.load import answers_of, scores_of
from kiban.servable.manifest import Manifest
from kiban.servable.reference import Reference, reference
from kiban.tasks.metric import Scores
from kiban.tasks.task import Task, task_of
from kiban.train import calibrate, choose, decide, estimator, example, export, fit, in_pieces, missing, rows, size
from kiban.train.rows import Rows
from kiban.train.settings import FIT_ON, Decision, Model, Preprocessing, Sample

# The code on which a fitted model depends. It also depends on the rows, the contract and the parameters.
CODE = (
    *("kiban.data.split", "kiban.servable.columns", "kiban.servable.skops_file"),
    *("kiban.train.estimator", "kiban.train.fit", "kiban.train.in_pieces", "kiban.train.missing"),
)
MOST_ASKED = 20_000  # training rows, for whether the model gives more than one answer
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")


class Fitted(BaseModel):
    """The result of fitting: the SHA-256 of model.skops, and the offset and the scale of its target.

    Another decision asks for no other fit: a new threshold needs seconds.
    """

    sha256: str
    offset: float
    scale: float


class FittedModel(NamedTuple):
    """A fitted pipeline, its content as a skops file, and the offset and the scale of its target."""

    pipeline: Pipeline
    content: bytes
    offset: float
    scale: float


class Params(Sections):
    dataset: Identity
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    decision: Decision
    sample: Sample


def main() -> None:
    params = read(Params)
    whole = contract.prepared_of(params.dataset.name)
    table = choose.used(whole, params.model)
    hashes = prepared.accepted()
    split = resolved(params.split, hashes)
    params = params.model_copy(update={"split": split})
    used = rows.batches(split, hashes)
    needed = {batch: hashes[batch] for batch in dict.fromkeys([*used["train"], *used["validation"]])}
    count = rows.count(params.dataset.name, split, needed, params.sample)
    size.check(count, table, params.missing, params.sample)
    training, validation = rows.read(params.dataset.name, table, split, needed, params.sample)
    with fit.threads(training.columns):
        manifest = _train(params, whole, table, training, validation, used["train"], needed)
    learned = f"{training.table.num_rows:,} rows"
    if FIT_ON in params.model:
        learned = f"all training rows, of which a sample of {learned} was in memory"
    print(f"train: {learned}, served as {manifest.format}, {manifest.parity or 'no ONNX'}")


def _train(
    params: Params,
    whole: Table,
    table: Table,
    training: Rows,
    validation: Rows,
    batches: Sequence[str],
    hashes: Mapping[str, str],
) -> Manifest:
    """Write the model and its servable.

    `table` is `whole` without the features that the model leaves out, `batches` are those of training, and `hashes` has
    the SHA-256 of each batch that is used.
    """
    task = task_of(table.columns[table.target()])
    model = _fitted(params, table, task, training, {batch: hashes[batch] for batch in batches})
    if "Dummy" not in params.model["_target_"]:
        first = {name: values[:MOST_ASKED] for name, values in training.columns.items()}
        _check_answers(answers_of(model.pipeline, first, task.name))
    facts = {
        "dataset": params.dataset.name,
        "parameters": params.model_dump(include={*_sections(params), "decision"}),
        "example": example.typical(training.table, table.features()),
        "prepared": dict(hashes),
        **_answering(params.decision, table.columns[table.target()], task, model, validation),
    }
    described = contract.prepared_content(params.dataset.name) if table is whole else contract.as_yaml(table)

    def refer(folder: Path) -> None:
        _reference(params, table, model, task, [training, validation], facts).write(folder)

    with files.whole(MODEL) as beside:  # both models are replaced, or none
        beside.write_bytes(model.content)
        return export.save(
            model.pipeline, model.content, described, table.features(), task.name, validation.columns, facts, refer
        )


def _reference(
    params: Params, table: Table, model: FittedModel, task: Task, parts: Sequence[Rows], facts: Mapping[str, Any]
) -> Reference:
    """What the rows of training and validation are like, and what the model answers about them."""
    described, column = Manifest(format="skops", parity=None, files={}, **facts), table.columns[table.target()]
    score = scores_of(lambda columns: answers_of(model.pipeline, columns, task.name), described, column)
    rows = pa.concat_tables([part.table for part in parts])
    scores = np.concatenate([score(part.columns) for part in parts])
    return reference(rows, scores, table, params.dataset.timezone)


def _sections(params: Params) -> set[str]:
    """The sections on which the fitted model depends. A model of all rows is the same as before there were samples."""
    return {"split", "missing", "model", "preprocessing", *(["sample"] if params.sample else [])}


def _booster(model: Model) -> list[str]:
    """The package of the estimator, if it is not scikit-learn's."""
    module = str(model.get("_target_")).partition(".")[0]
    return [BOOSTERS[module]] if module in BOOSTERS else []


def _fitted(params: Params, table: Table, task: Task, training: Rows, hashes: Mapping[str, str]) -> FittedModel:
    """The model fitted to the training rows, of the batches in `hashes`; the one that lies there if it is that."""
    features, groups = table.features(), params.missing.among(table)
    read_columns = [name for name in (*features, table.target(), table.weight()) if name]
    key = memo.key(
        what="train",
        rows=dict(hashes),
        key=table.key,
        columns={name: table.columns[name].model_dump(mode="json") for name in read_columns},
        parameters=params.model_dump(mode="json", include=_sections(params)),
        code=memo.code(CODE, (*PACKAGES, *_booster(params.model))),
    )
    remembered = memo.recall(key, Fitted)
    if remembered and files.is_file(MODEL, remembered.sha256):
        content = MODEL.read_bytes()
        return FittedModel(
            skops_file.loads(content, str(MODEL), skops_file.TRAINED), content, remembered.offset, remembered.scale
        )
    pipeline = estimator.pipeline(features, params.preprocessing, params.model, task)
    if fit_on := params.model.get(FIT_ON):
        try:
            offset, scale = in_pieces.fit_in_pieces(
                *(pipeline, task, params.dataset.name, table, resolved(params.split, hashes), hashes),
                *(groups, training, fit_on),
            )
        except ValueError as error:  # XGBoost's own is one
            raise KibanError(f"params.yaml: model: {one_line(error)}") from None
        return _kept(pipeline, key, offset, scale)
    repeated, origin = missing.repeat_without(training.columns, features, groups)
    target = training.target[origin]
    weights = None if training.weights is None else training.weights[origin]
    fit.check_saved(pipeline, task, repeated, target)
    try:
        offset, scale = fit.fit(pipeline, task, repeated, target, weights)
    except ValueError as error:
        raise KibanError(f"params.yaml: model: {one_line(error)}") from None
    return _kept(pipeline, key, offset, scale)


def _kept(pipeline: Pipeline, key: str, offset: float, scale: float) -> FittedModel:
    """A fitted model, which is remembered."""
    content = skops_file.dumps(pipeline)
    memo.remember(key, Fitted(sha256=hashlib.sha256(content).hexdigest(), offset=offset, scale=scale))
    return FittedModel(pipeline, content, offset, scale)


def _answering(decision: Decision, column: Column, task: Task, model: FittedModel, validation: Rows) -> dict[str, Any]:
    """The keys of the manifest that say how scores are answered: they do not change the fitted model."""
    scores, target, weights = answers_of(model.pipeline, validation.columns, task.name), *validation[2:4]
    if task.name == "regression":
        if decision.calibration:
            raise KibanError("params.yaml: decision.calibration: only probabilities are calibrated: give null")
        errors = target - (model.offset + model.scale * scores)
        width = fit.interval(errors, decision.interval, weights)
        return {"threshold": None, "offset": model.offset, "scale": model.scale, "interval": width}
    classes, kind = model.pipeline.classes_.tolist(), decision.calibration
    calibrations = calibrate.fitted(kind, target, scores, weights, classes) if kind else None
    if task.name == "multiclass":
        names = [(column.levels or [])[number] for number in classes]
        return {"threshold": None, "classes": names, "calibration": calibrations}
    if kind and decision.threshold is None:
        folds = calibrate.folds_of(list(validation.by_batch.values()))
        scores = calibrate.cross_fitted(kind, target, scores, weights, folds)
    return {"threshold": decide.threshold(decision, target, scores, weights), "calibration": calibrations}


def _check_answers(answers: Scores) -> None:
    """Raise KibanError if the model gives the same answer for all of the first training rows, as a Dummy does."""
    if (answers == answers[:1]).all():
        raise KibanError(
            "params.yaml: model: it gives one answer for all training rows, so it has learned nothing: a leaf needs "
            "more rows than there are (min_samples_leaf), or there is too much shrinkage; `model=dummy` is the baseline"
        )


if __name__ == "__main__":
    run_stage(main)
