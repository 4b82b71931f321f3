"""The results of evaluating a servable besides its metrics: batches by split, gate, predictions and plots."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kiban.core.errors import KibanError
from kiban.core.paths import PLOTS
from kiban.data.split import SPLITS, Resolved, SplitName, batches_of
from kiban.evaluate import metrics
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.evaluation import BatchFigures, Figures, GateResult
from kiban.servable.load import Servable
from kiban.tasks.metric import Cost, Scored, Scores, Target, Terms, Weights
from kiban.tasks.own import metrics_of
from kiban.tasks.task import Task


class Part(NamedTuple):
    """Rows, their targets, their scores, and how much each counts."""

    rows: pa.Table
    target: Target
    scores: Scores
    weights: Weights | None

    def scored(self, terms: Terms) -> Scored:
        return Scored(self.target, self.scores, self.weights, terms)

    def answered(self, answer: Scores, terms: Terms) -> Scored:
        """The rows, if every one had the same score."""
        return Scored(self.target, np.broadcast_to(answer, self.scores.shape), self.weights, terms)


def scored(servable: Servable, rows: pa.Table) -> Part:
    contract = servable.contract
    return Part(
        rows,
        columns.target_from_arrow(rows[contract.target()], servable.target),
        servable.score(columns.from_arrow(rows, contract.features())),
        columns.weights_from_arrow(rows, contract),
    )


def joined(split: SplitName, parts: Sequence[Part]) -> Part:
    """The rows of all parts. Raises KibanError if there are none."""
    if not parts:
        raise KibanError(f"params.yaml: split.{split}: it contains no row")
    weights = [part.weights for part in parts if part.weights is not None]
    return Part(
        pa.concat_tables([part.rows for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(weights) if weights else None,
    )


def terms_of(servable: Servable, training: Part) -> Terms:
    """By what the scores of a servable are measured. The baseline is that of the training rows."""
    manifest = servable.manifest
    cost = manifest.parameters.get("decision", {}).get("cost")
    return Terms(
        servable.task.baseline(training.target, len(servable.target.levels or []), training.weights),
        manifest.threshold,
        Cost(**cost) if cost else None,
        manifest.interval,
    )


def measured_batches(servable: Servable, split: Resolved, hashes: Mapping[str, str]) -> list[str]:
    """The accepted batches that have rows of a split, of all in `hashes`, which has their SHA-256 by name.

    Raises KibanError if the servable was trained on another version of one, or if a split has no batch.
    """
    for batch, digest in servable.manifest.prepared.items():
        if hashes.get(batch) != digest:
            raise KibanError(f"the servable was trained on another version of batch {batch}: run `dvc repro`")
    for name, batches in batches_of(split, hashes).items():
        if not batches:
            raise KibanError(f"params.yaml: split.{name}: it contains no prepared batch")
    return [batch for batch in hashes if split.of(batch)]


def compared_between_versions(task: Task, results: Mapping[str, Figures]) -> dict[SplitName, Figures]:
    compared: tuple[SplitName, ...] = ("validation", "test")
    return {split: {name: results[split][name] for name in task.compared} for split in compared}


def judged(gate: Gate, task: Task, results: dict[SplitName, Figures]) -> GateResult:
    """Whether the model passes the gate. Raises KibanError if the gate's metric is of another task."""
    metrics = metrics_of(task)
    if gate.metric not in metrics:
        names = ", ".join(metrics)
        raise KibanError(
            f"params.yaml: gate.metric: {gate.metric} is not a metric of {task.title}: choose one of {names}"
        )
    if gate.metric not in results[gate.split]:
        raise KibanError(f"params.yaml: gate.metric: {gate.metric} needs decision.{gate.metric}, which is null")
    value = results[gate.split][gate.metric]
    return GateResult(
        metric=gate.metric,
        split=gate.split,
        threshold=gate.threshold,
        value=value,
        passed=gate.passed(value),
        greater_is_better=metrics[gate.metric].greater_is_better,
    )


def predictions_of(servable: Servable, of_split: Mapping[SplitName, Part], cluster: str) -> pa.Table:
    """The key, time, cluster, split, target, scores and perhaps weight of each row of every split.

    The scores are one column, `score`, or one for each class, `score 0` and so on. The schema's metadata has the
    model's id.
    """
    target = servable.contract.target()
    time = [servable.contract.time] if servable.contract.time else []
    clusters = [cluster] if cluster in servable.contract.columns else []
    key = list(dict.fromkeys([*servable.contract.key, *time, *clusters]))
    parts = []
    for split in SPLITS:
        rows, scores = of_split[split].rows, of_split[split].scores
        part = rows.select([*key, target]).rename_columns([*key, "target"])
        part = part.append_column("split", pa.repeat(split, len(scores)))
        if of_split[split].weights is not None:
            part = part.append_column("weight", pa.array(of_split[split].weights))
        for name, values in score_columns(scores).items():
            part = part.append_column(name, pa.array(values))
        parts.append(part)
    return pa.concat_tables(parts).replace_schema_metadata({"model_id": servable.model_id})


def score_columns(scores: Scores) -> dict[str, Scores]:
    """Scores as columns of shape (n,)."""
    if scores.ndim == 1:
        return {"score": scores}
    return {f"score {number}": scores[:, number] for number in range(scores.shape[1])}


def write_plots(
    servable: Servable,
    test: columns.Columns,
    rows: Scored,
    by_batch: dict[str, BatchFigures],
    settings: EvaluationSettings,
) -> None:
    task, names = servable.task, metrics.BY_BATCH[servable.task.name]
    features = servable.contract.features()
    inputs = {name: columns.inputs_of(features, name) for name in features}
    importance = metrics.permutation_importance(
        task, servable.score, test, inputs, rows, settings.importance.rows, settings.importance.seed
    )
    plots = {
        **metrics.curves(task, rows, servable.target.levels or []),
        "by_batch": [
            {"batch": batch, "split": batch_figures.split, **{name: batch_figures.figures.get(name) for name in names}}
            for batch, batch_figures in by_batch.items()
        ],
        "importance": importance,
    }
    for name, table in plots.items():
        metrics.write_csv(table, PLOTS / f"{name}.csv")
