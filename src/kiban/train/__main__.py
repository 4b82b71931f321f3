"""Stage train: fits the model to the accepted prepared batches and writes its servable."""

from kiban.core import files, paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.paths import MODEL
from kiban.core.settings import Sections, read
from kiban.data import contract, prepared
from kiban.data.missing import Missing
from kiban.data.settings import Identity
from kiban.data.split import Split
from kiban.servable import columns, skops_file
from kiban.train import estimator, example, export, missing
from kiban.train.settings import Decision, Model, Preprocessing


class Params(Sections):
    dataset: Identity
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    decision: Decision


def main() -> None:
    params = read(Params)
    contract_file = paths.prepared_contract(params.dataset.name)
    table = contract.read_prepared(contract_file)
    features = table.features()
    hashes = prepared.accepted()
    training = {batch: digest for batch, digest in hashes.items() if params.split.of(batch) == "train"}
    validation = {batch: digest for batch, digest in hashes.items() if params.split.of(batch) == "validation"}
    if not training or not validation:
        raise KibanError("params.yaml: split: train or validation contains no prepared batch")
    rows = prepared.read(params.dataset.name, training)
    target = rows[table.target()].to_numpy()
    if len(set(target)) < 2:
        raise KibanError(f"prepared data: {table.target()} has only one value in the training batches")
    model = estimator.pipeline(features, params.preprocessing, params.model)
    training_columns, origin = missing.repeat_without(columns.from_arrow(rows, features), features, params.missing)
    try:
        model.fit(columns.frame(training_columns), target[origin])
    except ValueError as error:  # scikit-learn checks the values of arguments only in fit
        raise KibanError(f"params.yaml: model: {' '.join(str(error).split())}") from None
    content = skops_file.dumps(model)
    validation_columns = columns.from_arrow(prepared.read(params.dataset.name, validation), features)
    facts = {
        "dataset": params.dataset.name,
        "threshold": params.decision.threshold,
        "parameters": params.model_dump(include={"split", "missing", "model", "preprocessing", "decision"}),
        "example": example.typical(rows, features),
        "prepared": {**training, **validation},
    }
    with files.whole(MODEL) as beside:  # both models are replaced, or none
        beside.write_bytes(content)
        manifest = export.save(model, features, contract_file, validation_columns, facts)
    print(f"train: {rows.num_rows:,} rows, served as {manifest.format}, {manifest.parity or 'no ONNX'}")


if __name__ == "__main__":
    exit_on_error(main)
