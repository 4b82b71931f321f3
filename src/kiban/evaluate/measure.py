"""The results of evaluating a servable besides its metrics: batches by split, gate, predictions and plots."""

from collections.abc import Mapping

import pyarrow as pa

from kiban.core.errors import KibanError
from kiban.core.paths import PLOTS
from kiban.data.split import SPLITS, Split, SplitName
from kiban.evaluate import metrics
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.evaluation import BatchFigures, Figures, GateResult
from kiban.servable.load import Servable
from kiban.tasks.metric import Scores, Target

COMPARED = ("roc_auc", "brier")
"""The metrics in metrics.json, few enough for the tables of `dvc exp show` and `dvc metrics diff` to fit a screen."""


def batches_by_split(servable: Servable, split: Split, hashes: Mapping[str, str]) -> dict[str, SplitName]:
    """The split of each accepted batch, of which `hashes` has the SHA-256 by name.

    Raises KibanError if the servable was trained on another version of one, or if a split has no batch.
    """
    for batch, digest in servable.manifest.prepared.items():
        if hashes.get(batch) != digest:
            raise KibanError(f"the servable was trained on another version of batch {batch}: run `dvc repro`")
    splits = {batch: name for batch in hashes if (name := split.of(batch))}
    for name in SPLITS:
        if name not in splits.values():
            raise KibanError(f"params.yaml: split.{name}: it contains no prepared batch")
    return splits


def target_of(rows: pa.Table, name: str) -> Target:
    target: Target = rows[name].to_numpy()
    return target


def compared_between_versions(results: dict[SplitName, Figures]) -> dict[SplitName, Figures]:
    compared: tuple[SplitName, ...] = ("validation", "test")
    return {split: {name: results[split][name] for name in COMPARED} for split in compared}


def judged(gate: Gate, results: dict[SplitName, Figures]) -> GateResult:
    value = results[gate.split][gate.metric]
    passed = value is not None and value >= gate.minimum
    return GateResult(metric=gate.metric, split=gate.split, minimum=gate.minimum, value=value, passed=passed)


def predictions_of(servable: Servable, tables: dict[SplitName, pa.Table], scores: dict[SplitName, Scores]) -> pa.Table:
    """The key, time, split, target and score of each row of every split. The schema's metadata has the model's id."""
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


def write_plots(
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
            {"batch": batch, "split": batch_figures.split, **{name: batch_figures.figures[name] for name in names}}
            for batch, batch_figures in by_batch.items()
        ],
        "importance": importance,
    }
    for name, rows in plots.items():
        metrics.write_csv(rows, PLOTS / f"{name}.csv")
