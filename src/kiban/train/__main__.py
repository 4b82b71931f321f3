"""Stage train: fits the model to the accepted prepared batches and writes its servable."""

import hashlib
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from kiban.core import files, memo
from kiban.core.errors import KibanError, exit_on_error, one_line
from kiban.core.paths import MODEL
from kiban.core.settings import Sections, read
from kiban.data import contract, prepared
from kiban.data.missing import Missing
from kiban.data.settings import Identity
from kiban.data.split import SPLITS, Split, SplitName, batches_of, resolved
from kiban.servable import columns, skops_file
from kiban.servable.load import answers_of
from kiban.tasks.metric import Scores
from kiban.tasks.task import task_of
from kiban.train import choose, decide, estimator, example, export, fit, missing
from kiban.train.settings import Decision, Model, Preprocessing

# The code on which a fitted model depends. It also depends on the rows, the contract and the parameters.
CODE = (
    *("kiban.data.split", "kiban.servable.columns", "kiban.servable.skops_file"),
    *("kiban.train.estimator", "kiban.train.fit", "kiban.train.missing"),
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


class Params(Sections):
    dataset: Identity
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    decision: Decision


def main() -> None:
    params = read(Params)
    whole = contract.prepared_of(params.dataset.name)
    table = choose.used(whole, params.model)
    features, groups = table.features(), params.missing.among(table)
    hashes = prepared.accepted()
    split_of_batches = resolved(params.split, hashes)
    params = params.model_copy(update={"split": split_of_batches})
    used = batches_of(split_of_batches, hashes)
    if not used["train"] or not used["validation"]:
        raise KibanError("params.yaml: split: train or validation contains no prepared batch")

    needed = {batch: hashes[batch] for batch in dict.fromkeys([*used["train"], *used["validation"]])}
    parts: dict[SplitName, list[pa.Table]] = {split: [] for split in SPLITS}
    for batch, digest in needed.items():
        of_batch = prepared.read(params.dataset.name, {batch: digest})
        for split, part in split_of_batches.parts(batch, of_batch, table.key).items():
            parts[split].append(part)
    rows, validation_rows = pa.concat_tables(parts["train"]), pa.concat_tables(parts["validation"])
    if not rows.num_rows or not validation_rows.num_rows:
        raise KibanError("params.yaml: split: train or validation contains no row")
    column = table.columns[table.target()]
    task = task_of(column)
    target = columns.target_from_arrow(rows[table.target()], column)
    if len(set(target.tolist())) < 2:
        raise KibanError(f"prepared data: {table.target()} has only one value in the training batches")
    key = memo.key(
        what="train",
        rows={batch: hashes[batch] for batch in used["train"]},
        key=table.key,
        columns={name: table.columns[name].model_dump(mode="json") for name in [*features, table.target()]},
        parameters=params.model_dump(mode="json", include={"split", "missing", "model", "preprocessing"}),
        code=memo.code(CODE, PACKAGES),
    )
    remembered = memo.recall(key, Fitted)
    if remembered and files.is_file(MODEL, remembered.sha256):
        content, offset, scale = MODEL.read_bytes(), remembered.offset, remembered.scale
        model = skops_file.loads(content, str(MODEL))
    else:
        model = estimator.pipeline(features, params.preprocessing, params.model, task)
        training_columns, origin = missing.repeat_without(columns.from_arrow(rows, features), features, groups)
        fit.check_saved(model, task, training_columns, target[origin])
        try:
            offset, scale = fit.fit(model, task, training_columns, target[origin])
        except ValueError as error:
            raise KibanError(f"params.yaml: model: {one_line(error)}") from None
        content = skops_file.dumps(model)
        memo.remember(key, Fitted(sha256=hashlib.sha256(content).hexdigest(), offset=offset, scale=scale))
    validation_columns = columns.from_arrow(validation_rows, features)
    described = contract.prepared_content(params.dataset.name) if table is whole else contract.as_yaml(table)
    facts: dict[str, Any] = {
        "dataset": params.dataset.name,
        "parameters": params.model_dump(include={"split", "missing", "model", "preprocessing", "decision"}),
        "example": example.typical(rows, features),
        "prepared": needed,
        "threshold": None,
    }
    if "Dummy" not in params.model["_target_"]:
        _check_answers(answers_of(model, columns.from_arrow(rows.slice(0, MOST_ASKED), features), task.name))
    validation_target = columns.target_from_arrow(validation_rows[table.target()], column)
    answers = answers_of(model, validation_columns, task.name)
    if task.name == "binary":
        facts["threshold"] = decide.threshold(params.decision, validation_target, answers)
    if task.name == "multiclass":
        facts["classes"] = [(column.levels or [])[number] for number in model.classes_]
    if task.name == "regression":
        errors = validation_target - (offset + scale * answers)
        facts |= {"offset": offset, "scale": scale, "interval": fit.interval(errors, params.decision.interval)}
    with files.whole(MODEL) as beside:  # both models are replaced, or none
        beside.write_bytes(content)
        manifest = export.save(model, content, described, features, task.name, validation_columns, facts)
    print(f"train: {rows.num_rows:,} rows, served as {manifest.format}, {manifest.parity or 'no ONNX'}")


def _check_answers(answers: Scores) -> None:
    """Raise KibanError if the model gives the same answer for all of the first training rows, as a Dummy does."""
    if (answers == answers[:1]).all():
        raise KibanError(
            "params.yaml: model: it gives one answer for all training rows, so it has learned nothing: a leaf needs "
            "more rows than there are (min_samples_leaf), or there is too much shrinkage; `model=dummy` is the baseline"
        )


if __name__ == "__main__":
    exit_on_error(main)
