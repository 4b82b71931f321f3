"""The results of evaluating a servable besides its metrics: batches by split, gate, predictions and plots."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.progress import track

from kiban.core.errors import KibanError
from kiban.core.paths import PLOTS
from kiban.data import pieces, prepared
from kiban.data.split import SPLITS, ByRow, Resolved, SplitName, batches_of
from kiban.evaluate import bootstrap, metrics
from kiban.evaluate.clusters import Numbers
from kiban.evaluate.metrics import rounded
from kiban.evaluate.settings import Gate, Importance
from kiban.servable import columns
from kiban.servable.columns import Columns
from kiban.servable.evaluation import BatchFigures, Ends, Figures, GateResult, Intervals
from kiban.servable.load import Servable
from kiban.tasks.metric import Clusters, Cost, Scored, Scores, Target, Terms, Weights
from kiban.tasks.own import metrics_of
from kiban.tasks.task import Task

ROWS = 1 << 17
"""The rows that are scored at once: about a kilobyte each."""


class Part(NamedTuple):
    """The targets of n rows, their scores, and how much each row counts.

    `without` has the scores that the rows would have without each group of features that may be missing together.
    `clusters` has the number of the cluster of each row, of shape (n,), if it was asked for.
    """

    target: Target
    scores: Scores
    weights: Weights | None
    without: Mapping[str, Scores]
    clusters: Clusters | None = None

    def scored(self, terms: Terms) -> Scored:
        return Scored(self.target, self.scores, self.weights, terms)

    def answered(self, answer: Scores, terms: Terms) -> Scored:
        """The rows, if every one had the same score."""
        return Scored(self.target, np.broadcast_to(answer, self.scores.shape), self.weights, terms)


Parts = Mapping[tuple[SplitName, str], Part]
"""The parts by split and batch."""


def scored(servable: Servable, rows: pa.Table, groups: Mapping[str, list[str]] = MappingProxyType({})) -> Part:
    """The scored rows. `groups` are the patterns of features that may be missing together, by name."""
    contract = servable.contract
    features = contract.features()
    inputs = columns.from_arrow(rows, features)
    return Part(
        columns.target_from_arrow(rows[contract.target()], servable.target),
        servable.score(inputs),
        columns.weights_from_arrow(rows, contract),
        {name: servable.score(columns.without(inputs, features, patterns)) for name, patterns in groups.items()},
    )


def joined(parts: Sequence[Part]) -> Part:
    """The rows of all parts, of which there is at least one."""
    weights = [part.weights for part in parts if part.weights is not None]
    clusters = [part.clusters for part in parts if part.clusters is not None]
    return Part(
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(weights) if weights else None,
        {name: np.concatenate([part.without[name] for part in parts]) for name in parts[0].without},
        np.concatenate(clusters) if clusters else None,
    )


def parts_of(
    servable: Servable, split: Resolved, hashes: Mapping[str, str], groups: Mapping[str, list[str]], numbers: Numbers
) -> dict[tuple[SplitName, str], Part]:
    """The scored rows of the batches in `hashes`, which has their SHA-256 by name; the test rows also without `groups`.

    `numbers` are those of their clusters. Raises KibanError if a split has no row.
    """
    parts: dict[tuple[SplitName, str], list[Part]] = {}
    for batch in track(measured_batches(servable, split, hashes), description="evaluate", transient=True):
        for name, rows in _pieces(servable, split, batch, hashes[batch]):
            for start in range(0, rows.num_rows, ROWS):
                some = rows.slice(start, ROWS)
                part = scored(servable, some, groups if name == "test" else {})
                parts.setdefault((name, batch), []).append(part._replace(clusters=numbers.of(some)))
    for split_name in SPLITS:
        if not any(name == split_name for name, _ in parts):
            raise KibanError(f"params.yaml: split.{split_name}: it contains no row")
    return {place: joined(each) for place, each in parts.items()}


def _pieces(
    servable: Servable, split: Resolved, batch: str, digest: str, names: Sequence[str] | None = None
) -> Iterator[tuple[SplitName, pa.Table]]:
    """The rows of a batch by split, a piece at a time, of all columns or some."""
    for rows in prepared.in_pieces(servable.manifest.dataset, batch, digest, names):
        for name, part in split.parts(batch, rows, servable.contract.key).items():
            if part.num_rows:
                yield name, part


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


def intervals(task: Task, of_split: Mapping[SplitName, Part], parts: Parts, terms: Terms) -> Intervals:
    """The intervals of the compared metrics."""
    return Intervals(
        splits={name: _ends(task, part, terms) for name, part in of_split.items()},
        batches={batch: _ends(task, part, terms) for (_, batch), part in parts.items()},
    )


def _ends(task: Task, part: Part, terms: Terms) -> dict[str, Ends | None]:
    rows = part.scored(terms)
    number = np.unique(np.asarray(part.clusters), return_inverse=True)[1]
    ends: dict[str, Ends | None] = {}
    for name in task.compared:
        low, _, high = bootstrap.interval(task.metrics[name], rows, number, bootstrap.draws_for(number))
        ends[name] = None if np.isnan([low, high]).any() else (rounded(low), rounded(high))
    return ends


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


def write_predictions(
    servable: Servable, split: Resolved, hashes: Mapping[str, str], parts: Parts, cluster: str, path: Path
) -> None:
    """Write the key, time, cluster, split, target, scores and perhaps weight of each row of every split to `path`.

    The scores are one column, `score`, or one for each class, `score 0` and so on. The schema's metadata has the
    model's id.
    """
    contract = servable.contract
    time = [contract.time] if contract.time else []
    clusters = [cluster] if cluster in contract.columns else []
    key = list(dict.fromkeys([*contract.key, *time, *clusters]))
    by = split.by if isinstance(split, ByRow) else []
    read = list(dict.fromkeys([*key, *by, contract.target()]))

    def tables() -> Iterator[pa.Table]:
        for name, batch in sorted(parts, key=lambda place: (SPLITS.index(place[0]), place[1])):
            part, start = parts[name, batch], 0
            for of_split, rows in _pieces(servable, split, batch, hashes[batch], read):
                if of_split == name:
                    stop = start + rows.num_rows
                    table = rows.select([*key, contract.target()]).rename_columns([*key, "target"])
                    table = table.append_column("split", pa.repeat(name, rows.num_rows))
                    if part.weights is not None:
                        table = table.append_column("weight", pa.array(part.weights[start:stop]))
                    for column, values in score_columns(part.scores[start:stop]).items():
                        table = table.append_column(column, pa.array(values))
                    yield table.replace_schema_metadata({"model_id": servable.model_id})
                    start = stop

    every = tables()
    first = next(every)
    pieces.write(chain([first], every), first.schema, path)


def score_columns(scores: Scores) -> dict[str, Scores]:
    """Scores as columns of shape (n,)."""
    if scores.ndim == 1:
        return {"score": scores}
    return {f"score {number}": scores[:, number] for number in range(scores.shape[1])}


class Sample(NamedTuple):
    """Random test rows: their inputs, and their targets, scores and weights. `random` has drawn them."""

    columns: Columns
    rows: Scored
    random: np.random.Generator


def sample(
    servable: Servable, split: Resolved, hashes: Mapping[str, str], test: Scored, settings: Importance
) -> Sample:
    """Up to `settings.rows` of the test rows, in a random order."""
    random, count = np.random.default_rng(settings.seed), len(test.target)
    drawn = random.choice(count, size=min(settings.rows, count), replace=False)
    places, taken, start = np.sort(drawn), [], 0
    for batch in batches_of(split, hashes)["test"]:
        for name, rows in _pieces(servable, split, batch, hashes[batch]):
            if name == "test":
                inside = places[(places >= start) & (places < start + rows.num_rows)]
                taken.append(rows.take(pa.array(inside - start)))
                start += rows.num_rows
    rows = pa.concat_tables(taken).take(pa.array(np.argsort(np.argsort(drawn))))
    weights = None if test.weights is None else test.weights[drawn]
    scored_rows = Scored(test.target[drawn], test.scores[drawn], weights, test.terms)
    return Sample(columns.from_arrow(rows, servable.contract.features()), scored_rows, random)


def write_plots(servable: Servable, test: Scored, drawn: Sample, by_batch: Mapping[str, BatchFigures]) -> None:
    """Write the tables that are plotted: of the `test` rows, of some that were `drawn`, and of each batch."""
    task, names = servable.task, metrics.BY_BATCH[servable.task.name]
    features = servable.contract.features()
    inputs = {name: columns.inputs_of(features, name) for name in features}
    plots = {
        **metrics.curves(task, test, servable.target.levels or []),
        "by_batch": [
            {"batch": batch, "split": batch_figures.split, **{name: batch_figures.figures.get(name) for name in names}}
            for batch, batch_figures in by_batch.items()
        ],
        "importance": metrics.permutation_importance(
            task, servable.score, drawn.columns, inputs, drawn.rows, drawn.random
        ),
    }
    for name, table in plots.items():
        metrics.write_csv(table, PLOTS / f"{name}.csv")
