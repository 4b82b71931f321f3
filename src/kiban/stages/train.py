"""Stage train: accepted prepared batches to a fitted model and its servable."""

from pathlib import Path

from kiban import columns, contract, estimator, files, missing, prepared
from kiban.errors import KibanError, exit_on_error
from kiban.servable import example, export, skops_file
from kiban.settings.base import Sections, read
from kiban.settings.dataset import Identity
from kiban.settings.missing import Missing
from kiban.settings.model import Decision, Model, Preprocessing
from kiban.settings.split import Split

MODEL = Path("models/model.skops")


class Params(Sections):
    dataset: Identity
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    decision: Decision


def main() -> None:
    params = read(Params)
    contract_file = contract.prepared_path(params.dataset.name)
    table = contract.read_prepared(contract_file)
    features = table.features()
    hashes = prepared.accepted(params.dataset.name)
    training = {batch: digest for batch, digest in hashes.items() if params.split.of(batch) == "train"}
    validation = {batch: digest for batch, digest in hashes.items() if params.split.of(batch) == "validation"}
    if not training or not validation:
        raise KibanError("params.yaml: split: no prepared batch lies in train, or none in validation")
    rows = prepared.read(params.dataset.name, training)
    target = rows[table.target()].to_numpy()
    if len(set(target)) < 2:
        raise KibanError(f"prepared data: {table.target()} has only one value in the training batches")
    model = estimator.pipeline(features, params.preprocessing, params.model)
    training_columns, origin = missing.repeat_without(columns.from_arrow(rows, features), features, params.missing)
    try:
        model.fit(estimator.frame(training_columns), target[origin])
    except ValueError as error:  # scikit-learn checks the values of its arguments only now
        raise KibanError(f"params.yaml: model: {' '.join(str(error).split())}") from None
    content = skops_file.dumps(model)
    manifest = export.save(
        model,
        features,
        contract_file,
        columns.from_arrow(prepared.read(params.dataset.name, validation), features),
        about={
            "dataset": params.dataset.name,
            "threshold": params.decision.threshold,
            "parameters": params.model_dump(include={"split", "missing", "model", "preprocessing", "decision"}),
            "example": example.typical(rows, features),
            "prepared": {**training, **validation},
        },
    )
    files.write(MODEL, content)
    print(f"train: {rows.num_rows:,} rows, served as {manifest.format}, {manifest.parity or 'no ONNX'}")


if __name__ == "__main__":
    exit_on_error(main)
