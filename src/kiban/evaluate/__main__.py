"""Stage evaluate: what the servable, and not some object in memory, answers on data that it has and has not seen."""

import json

import numpy as np
import pyarrow as pa
from rich.progress import track

from kiban.core.errors import KibanError, exit_on_error
from kiban.core.paths import METRICS, PLOTS, PREDICTIONS
from kiban.core.settings import Sections, read
from kiban.data import parquet, prepared
from kiban.data.missing import Missing
from kiban.data.split import SPLITS, Split, SplitName
from kiban.evaluate import metrics
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.evaluation import BatchFigures, Evaluation, Figures, GateResult
from kiban.servable.load import Servable, load
from kiban.tasks.metric import Scores, Target

COMPARED = ("roc_auc", "brier")
"""What metrics.json, and so `dvc exp show` and `dvc metrics diff`, have of evaluation.json: what a screen can hold."""


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
    batches = _batches(servable, params.split)
    for batch, split in track(batches.items(), description="evaluate", transient=True):
        rows = prepared.read(servable.manifest.dataset, [batch])
        scores = servable.score(columns.from_arrow(rows, features))
        parts[split].append((rows, scores))
        by_batch[batch] = BatchFigures.model_validate(
            {"split": split, **metrics.summary(_target(rows, target_name), scores)}
        )
    tables = {split: pa.concat_tables([rows for rows, _ in of]) for split, of in parts.items()}
    scores_of = {split: np.concatenate([scores for _, scores in of]) for split, of in parts.items()}
    targets = {split: _target(rows, target_name) for split, rows in tables.items()}
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
        gate=_gate(params.gate, results),
        by_batch=by_batch,
    )
    evaluation.write()
    METRICS.write_text(json.dumps(_compared(results), indent=1) + "\n")
    parquet.write(_predictions(servable, tables, scores_of), PREDICTIONS)
    _write_plots(servable, test, targets["test"], scores_of["test"], by_batch, params.evaluation)
    gate = evaluation.gate
    state = f"{'passed' if gate.passed else 'not passed'} ({gate.split} {gate.metric} >= {gate.minimum})"
    print(f"evaluate: model {servable.model_id[:12]}, test ROC AUC {results['test']['roc_auc']}, gate {state}")


def _batches(servable: Servable, split: Split) -> dict[str, SplitName]:
    """The split of each accepted batch; KibanError if the servable saw another version of one, or a split has none."""
    hashes = prepared.accepted(servable.manifest.dataset)
    for batch, digest in servable.manifest.prepared.items():
        if hashes.get(batch) != digest:
            raise KibanError(f"the servable was trained on another version of batch {batch}: run `dvc repro`")
    of = {batch: name for batch in hashes if (name := split.of(batch))}
    for name in SPLITS:
        if name not in of.values():
            raise KibanError(f"params.yaml: split.{name}: no prepared batch lies in it")
    return of


def _target(rows: pa.Table, name: str) -> Target:
    target: Target = rows[name].to_numpy()
    return target


def _compared(results: dict[SplitName, Figures]) -> dict[SplitName, Figures]:
    compared: tuple[SplitName, ...] = ("validation", "test")
    return {split: {name: results[split][name] for name in COMPARED} for split in compared}


def _gate(gate: Gate, results: dict[SplitName, Figures]) -> GateResult:
    value = results[gate.split][gate.metric]
    passed = value is not None and value >= gate.minimum
    return GateResult(metric=gate.metric, split=gate.split, minimum=gate.minimum, value=value, passed=passed)


def _predictions(servable: Servable, tables: dict[SplitName, pa.Table], scores: dict[SplitName, Scores]) -> pa.Table:
    """Key, time, split, target and score of every row that a split has; the schema's metadata name the model."""
    target = servable.contract.target()
    time = [servable.contract.time] if servable.contract.time else []
    key = list(dict.fromkeys([*servable.contract.key, *time]))
    parts = [
        tables[split]
        .select([*key, target])
        .rename_columns([*key, "target"])
        .append_column("split", pa.repeat(split, len(scores[split])))
        .append_column("score", pa.array(scores[split]))
        for split in SPLITS
    ]
    return pa.concat_tables(parts).replace_schema_metadata({"model_id": servable.model_id})


def _write_plots(
    servable: Servable,
    test: columns.Columns,
    target: Target,
    scores: Scores,
    by_batch: dict[str, BatchFigures],
    settings: EvaluationSettings,
) -> None:
    importance = metrics.permutation_importance(
        servable.score, test, target, settings.importance.rows, settings.importance.seed
    )
    names = ("roc_auc", "base_rate", "mean_prediction")
    plots = {
        "roc": metrics.roc(target, scores),
        "precision_recall": metrics.precision_recall(target, scores),
        "calibration": metrics.calibration(target, scores),
        "by_batch": [
            {"batch": batch, "split": of.split, **{name: of.figures[name] for name in names}}
            for batch, of in by_batch.items()
        ],
        "importance": importance,
    }
    for name, rows in plots.items():
        metrics.write_csv(rows, PLOTS / f"{name}.csv")


if __name__ == "__main__":
    exit_on_error(main)
