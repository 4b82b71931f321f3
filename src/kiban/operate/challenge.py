"""A challenger beside the champion: both answer about the same rows, on which neither was trained."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import prepared
from kiban.data.split import Resolved, SplitName, parse
from kiban.evaluate import gate, measure
from kiban.evaluate.gate import Judged, Rule
from kiban.evaluate.settings import Gate, Rules
from kiban.request.predictions import ANSWERS
from kiban.request.schema import Schema
from kiban.review.comparison import clusters, local_times
from kiban.review.gate import cost_of_errors
from kiban.review.gate import judged as judged_by_gate
from kiban.review.revision import Revision
from kiban.servable import columns, manifest
from kiban.servable.load import Servable, load
from kiban.tasks.metric import Cost, Metric, Scored, Terms
from kiban.tasks.own import metrics_of
from kiban.tasks.task import task_of

MONTH = "month"
TIMED = 200  # answers of each model
SPLIT_OF_TRAINING: tuple[SplitName, ...] = ("train", "validation")


class Side(NamedTuple):
    """A revision with its model, and the bytes that this takes."""

    revision: Revision
    servable: Servable
    size: int


def judge(challenger: Revision, champion: Revision | None, before: Revision, rules: Rules) -> Judged:
    """What the gate of `before` and the rules say of the model of `challenger`.

    Without a champion the floor and the baseline decide. Raises KibanError if a file is in neither cache nor store.
    """
    floor = judged_by_gate(before, challenger)
    settings = floor.gate
    metric = _metric(challenger, settings)
    decided = [gate.floor(settings, metric, floor.value), *_prior(challenger, settings, metric)]
    if champion:
        decided += _beside(challenger, champion, settings, metric, rules)
    return Judged(rules=tuple(decided), override=floor.override)


def _metric(challenger: Revision, settings: Gate) -> Metric:
    """The gate's metric, of the challenger's task. Raises KibanError if it is of another task."""
    table = challenger.contracts[prepared.TABLE]
    metrics = metrics_of(task_of(table.columns[table.target()]))
    if settings.metric not in metrics:
        raise KibanError(
            f"the gate's metric {settings.metric} is none of {', '.join(metrics)}: correct it in conf/gate"
        )
    return metrics[settings.metric]


def _prior(challenger: Revision, settings: Gate, metric: Metric) -> Iterator[Rule]:
    known = challenger.evaluation
    value = known.splits[settings.split].get(settings.metric)
    least = known.prior.get(settings.split, {}).get(settings.metric)
    if value is not None and least is not None:
        yield gate.prior(metric, value, least)


def _beside(challenger: Revision, champion: Revision, settings: Gate, metric: Metric, rules: Rules) -> Iterator[Rule]:
    with tempfile.TemporaryDirectory() as folder:
        new = _side(challenger, Path(folder) / "challenger")
        old = _side(champion, Path(folder) / "champion")
    if reason := _incomparable(old.servable, new.servable):
        yield Rule(name="better", figure=reason, decision="refused")
        return
    rows = _rows(challenger, champion, new.servable, settings.split)
    if not rows.num_rows:
        yield Rule(name="better", figure="both were trained on all rows", decision="refused")
        return
    cost = cost_of_errors(champion, challenger)
    after, before = (_scored(side, rows, cost) for side in (new, old))
    zone = challenger.params["dataset"]["timezone"]
    time_column = new.servable.contract.time
    codes = clusters(rows, settings.cluster, time_column, zone)
    masks = dict(slices(rows, rules.slices, time_column, zone))
    yield from gate.beside(settings, metric, rules, before, after, codes, masks)
    yield gate.latency(rules, _latency(old.servable, new.servable))
    yield Rule(name="size", figure=f"{new.size:,} bytes, the champion {old.size:,}", decision="shown")


def _side(revision: Revision, folder: Path) -> Side:
    """The model of a revision, checked against the id that its evaluation.json names."""
    write_servable(revision, folder)
    servable = load(folder)
    if servable.model_id != revision.evaluation.model_id:
        raise KibanError(f"the model of {revision.label} is not the one that its {paths.EVALUATION} names")
    return Side(revision, servable, sum(path.stat().st_size for path in folder.iterdir()))


def write_servable(revision: Revision, folder: Path) -> None:
    """Write the servable of a revision to a new folder. Raises KibanError if a file is in neither cache nor store."""
    folder.mkdir(parents=True)
    names = [manifest.FILE]
    for name in names:  # the manifest names the others
        try:
            content = revision.content(paths.SERVABLE / name)
        except FileNotFoundError:
            advice = "`dvc fetch --all-commits` brings it if it was pushed"
            raise KibanError(f"{paths.SERVABLE / name} of {revision.label} is not here: {advice}") from None
        if name == manifest.FILE:
            names += manifest.files_in(content, f"{paths.SERVABLE / name} of {revision.label}")
        (folder / name).write_bytes(content)


def _incomparable(old: Servable, new: Servable) -> str | None:
    """Why the two models do not answer the same question, or None."""
    sides = [(each.contract.target(), each.target.model_dump(exclude={"description"})) for each in (old, new)]
    if sides[0] != sides[1]:
        return "the target is another one"
    lacking = sorted(set(old.contract.features()) - set(new.contract.columns))
    return f"the rows have no {', '.join(lacking)}, which the champion needs" if lacking else None


def _rows(challenger: Revision, champion: Revision, servable: Servable, split: SplitName) -> pa.Table:
    """The prepared rows of a split of the challenger on which the champion was not trained either."""
    batches = challenger.batches[prepared.TABLE]
    ours, theirs = (parse(side.params["split"], side.batches[prepared.TABLE]) for side in (challenger, champion))
    trained_on = set(champion.batches[prepared.TABLE])
    key = servable.contract.key
    parts = []
    for name in sorted(batches):
        if split not in ours.of(name):
            continue
        rows = ours.parts(name, challenger.rows(batches[name]), key)[split]
        if name in trained_on:
            rows = _without(rows, theirs, name, key)
        parts.append(rows)
    return pa.concat_tables(parts)


def _without(rows: pa.Table, split: Resolved, batch: str, key: list[str]) -> pa.Table:
    """The rows of a batch that a split has in neither training nor validation."""
    if not set(split.of(batch)) & set(SPLIT_OF_TRAINING):
        return rows
    test = split.parts(batch, rows, key).get("test")
    return rows.slice(0, 0) if test is None else test


def _scored(side: Side, rows: pa.Table, cost: Cost | None) -> Scored:
    known = side.revision.evaluation
    baseline = None if known.baseline is None else np.asarray(known.baseline)
    return measure.scored(side.servable, rows).scored(Terms(baseline, known.threshold, cost))


def slices(
    rows: pa.Table, names: list[str], time_column: str | None, zone: str
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """The rows of each slice by its name, such as `origin EWR`. A column that the rows lack has no slices."""
    for name in names:
        if name == MONTH and time_column:
            values = pc.strftime(local_times(rows[time_column], zone), "%Y-%m")
        elif name in rows.column_names:
            values = rows[name].cast(pa.string())
        else:
            continue
        for value in sorted(set(values.drop_null().unique().to_pylist())):
            yield f"{name} {value}", pc.fill_null(pc.equal(values, value), False).to_numpy()


def _asking(servable: Servable) -> Callable[[], object]:
    """What answers a request about the example of a model."""
    features = servable.contract.features()
    schema, answers = Schema(features, 1), ANSWERS[servable.task.name]

    def ask() -> object:
        records = schema.check([servable.manifest.example])
        return answers.predictions(servable, servable.score(columns.from_records(records, features)))

    return ask


def _latency(old: Servable, new: Servable) -> float:
    """The CPU time of an answer of the new model in multiples of the old one's, each asked in turn."""
    seconds: tuple[list[float], list[float]] = [], []
    asked = [_asking(each) for each in (old, new)]
    for _ in range(TIMED):
        for ask, spent in zip(asked, seconds, strict=True):
            started = time.thread_time()
            ask()
            spent.append(time.thread_time() - started)
    return float(np.median(seconds[1]) / np.median(seconds[0]))
