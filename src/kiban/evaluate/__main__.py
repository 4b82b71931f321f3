"""Stage evaluate: measures the servable, loaded from its files, on the batches of training, validation and test."""

import json

import numpy as np
import pyarrow as pa
from rich.progress import track

from kiban.core.errors import exit_on_error
from kiban.core.paths import METRICS, PREDICTIONS
from kiban.core.settings import Sections, read
from kiban.data import parquet, prepared
from kiban.data.missing import Missing
from kiban.data.split import SPLITS, Split, SplitName
from kiban.evaluate import metrics
from kiban.evaluate.measure import (
    batches_by_split,
    compared_between_versions,
    judged,
    predictions_of,
    target_of,
    write_plots,
)
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.evaluation import BatchFigures, Evaluation
from kiban.servable.load import load
from kiban.tasks.metric import Scores


class Params(Sections):
    split: Split
    missing: Missing
    evaluation: EvaluationSettings
    gate: Gate


def main() -> None:
    params = read(Params)
    servable = load()
    features, target_name = servable.contract.features(), servable.contract.target()
    by_batch: dict[str, BatchFigures] = {}
    parts: dict[SplitName, list[tuple[pa.Table, Scores]]] = {split: [] for split in SPLITS}
    hashes = prepared.accepted()
    batches = batches_by_split(servable, params.split, hashes)
    for batch, split in track(batches.items(), description="evaluate", transient=True):
        rows = prepared.read(servable.manifest.dataset, {batch: hashes[batch]})
        scores = servable.score(columns.from_arrow(rows, features))
        parts[split].append((rows, scores))
        by_batch[batch] = BatchFigures.model_validate(
            {"split": split, **metrics.summary(target_of(rows, target_name), scores)}
        )
    tables = {split: pa.concat_tables([rows for rows, _ in pairs]) for split, pairs in parts.items()}
    scores_of = {split: np.concatenate([scores for _, scores in pairs]) for split, pairs in parts.items()}
    targets = {split: target_of(rows, target_name) for split, rows in tables.items()}
    test = columns.from_arrow(tables["test"], features)

    share = targets["train"].mean()
    results = {split: metrics.summary(targets[split], scores_of[split]) for split in SPLITS}
    evaluation = Evaluation(
        model_id=servable.model_id,
        train=results["train"],
        validation=results["validation"],
        test=results["test"],
        prior={split: metrics.summary(target, np.full(len(target), share)) for split, target in targets.items()},
        without={
            name: metrics.summary(targets["test"], servable.score(columns.without(test, features, patterns)))
            for name, patterns in params.missing.groups.items()
        },
        gate=judged(params.gate, results),
        by_batch=by_batch,
    )
    evaluation.write()
    METRICS.write_text(json.dumps(compared_between_versions(results), indent=1) + "\n")
    parquet.write(predictions_of(servable, tables, scores_of), PREDICTIONS)
    write_plots(servable, test, targets["test"], scores_of["test"], by_batch, params.evaluation)
    gate = evaluation.gate
    state = f"{'passed' if gate.passed else 'not passed'} ({gate.split} {gate.metric} >= {gate.minimum})"
    print(f"evaluate: model {servable.model_id[:12]}, test ROC AUC {results['test']['roc_auc']}, gate {state}")


if __name__ == "__main__":
    exit_on_error(main)
