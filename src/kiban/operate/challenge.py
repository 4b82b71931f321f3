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
from pydantic import ValidationError

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import contents, git, prefix
from kiban.data import prepared
from kiban.data.batches import base
from kiban.data.split import ByRow, Resolved, SplitName, parse
from kiban.evaluate import gate, measure
from kiban.evaluate.clusters import clusters, local_times
from kiban.evaluate.gate import Judged, Rule
from kiban.evaluate.settings import Gate, Rules
from kiban.operate import collected, release, rules
from kiban.operate.agreement import agreement
from kiban.request import logged
from kiban.request.predictions import ANSWERS
from kiban.request.schema import Schema
from kiban.review import comparison
from kiban.review.gate import cost_of_errors
from kiban.review.gate import judged as judged_by_gate
from kiban.review.revision import Revision
from kiban.servable import columns
from kiban.servable.evaluation import Evaluation
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


def judge(challenger: Revision, champion: Revision | None, before: Revision) -> Judged:
    """What the gate and the rules of promotion of `before` say of the model of `challenger`.

    Without a champion the floor and the baseline decide. Raises KibanError if a file of the challenger is in neither
    cache nor store. A champion that is in neither, nor in the release folder, is a refusal.
    """
    floor = judged_by_gate(before, challenger)
    settings = floor.gate
    metric = _metric(challenger, settings)
    decided = [gate.floor(settings, metric, floor.value), *_prior(challenger, settings, metric)]
    decided += _looks(challenger)
    if champion:
        decided += _beside(challenger, champion, settings, metric, rules.of(before).rules)
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


def _looks(challenger: Revision) -> Iterator[Rule]:
    """How many models were measured on these test rows: the more, the likelier is one the best by chance alone."""
    own = challenger.evaluation
    commits = git(Path(), "log", "--all", "--format=%H", "--", f"./{paths.EVALUATION}").split()
    path = f"{prefix(Path())}{paths.EVALUATION.as_posix()}"
    models = {own.model_id}
    for content in contents(Path(), [f"{commit}:{path}" for commit in commits]):
        try:
            known = Evaluation.model_validate_json(content)
        except ValidationError:  # of an earlier release, or damaged
            continue
        if _tested_on(known) == _tested_on(own):
            models.add(known.model_id)
    text = f"{len(models)} models of the history were measured on these test rows"
    yield Rule(name="looks", figure=text, decision="shown")


def _tested_on(known: Evaluation) -> tuple[object, list[str]]:
    """The number of the test rows, and their batches."""
    batches = sorted(name for name, batch in known.by_batch.items() if batch.split == "test")
    return known.test.get("rows"), batches


def _beside(challenger: Revision, champion: Revision, settings: Gate, metric: Metric, rules: Rules) -> Iterator[Rule]:
    with tempfile.TemporaryDirectory() as folder:
        new = _side(challenger, Path(folder) / "challenger")
        try:
            old = _side(champion, Path(folder) / "champion")
        except KibanError as error:
            yield Rule(name="better", figure=f"the champion cannot be asked: {error}", decision="refused")
            return
    if reason := _incomparable(old, new):
        yield Rule(name="better", figure=reason, decision="refused")
        return
    rows = _rows(old, new)
    if not rows.num_rows:
        yield Rule(name="better", figure="no test row is new to both models", decision="refused")
        return
    before, after = _scored(old, new, rows)
    zone = challenger.params["dataset"]["timezone"]
    time_column = new.servable.contract.time
    codes = clusters(rows, settings.cluster, time_column, zone)
    masks = dict(slices(rows, rules.slices, time_column, zone))
    yield from gate.beside(settings, metric, rules, before, after, codes, masks)
    yield gate.latency(rules, _latency(old.servable, new.servable))
    spread = float(np.std(after.target)) if new.servable.task.name == "regression" else None
    yield agreement(old.servable, new.servable, [logged.folder(Path()), collected.FOLDER], spread)
    yield Rule(name="size", figure=f"{new.size:,} bytes, the champion {old.size:,}", decision="shown")


def _side(revision: Revision, folder: Path) -> Side:
    """The model of a revision, checked against the id that its evaluation.json names."""
    release.write_servable(revision, folder)
    servable = load(folder)
    if servable.model_id != revision.evaluation.model_id:
        raise KibanError(f"the model of {revision.label} is not the one that its {paths.EVALUATION} names")
    return Side(revision, servable, sum(path.stat().st_size for path in folder.iterdir()))


def _incomparable(old: Side, new: Side) -> str | None:
    """Why the two models do not answer the same question about the same rows, or None."""
    if comparison.target(old.revision) != comparison.target(new.revision):
        return "the target is another one"
    prepared_columns = new.servable.contract.columns
    for name, column in old.servable.contract.features().items():
        if name not in prepared_columns:
            return f"the rows have no {name}, which the champion needs"
        is_as_before = (column.type, column.unit) == (prepared_columns[name].type, prepared_columns[name].unit)
        if not is_as_before:
            return f"{name} is of another type or unit than the champion needs"
    return None


def _rows(old: Side, new: Side) -> pa.Table:
    """The test rows of the challenger on which the champion was not trained either."""
    batches, before = new.revision.batches[prepared.TABLE], old.revision.batches[prepared.TABLE]
    ours = parse(new.revision.params["split"], batches)
    theirs = parse(old.revision.params["split"], before)
    trained_on = {base(name) for name in before}
    parts = []
    for name in sorted(batches):
        if "test" in ours.of(name):
            rows = ours.parts(name, new.revision.rows(batches[name]), new.servable.contract.key)["test"]
            if base(name) in trained_on or isinstance(theirs, ByRow):
                rows = _without(rows, theirs, name, old.servable.contract.key)
            parts.append(rows)
    return pa.concat_tables(parts) if parts else pa.table({})


def _without(rows: pa.Table, split: Resolved, batch: str, key: list[str]) -> pa.Table:
    """The rows of a batch that a split has in neither training nor validation."""
    if not set(split.of(batch)) & set(SPLIT_OF_TRAINING):
        return rows
    test = split.parts(batch, rows, key).get("test")
    return rows.slice(0, 0) if test is None else test


def _scored(old: Side, new: Side, rows: pa.Table) -> tuple[Scored, Scored]:
    """The rows by the champion and by the challenger, which count the rows alike."""
    cost = cost_of_errors(old.revision, new.revision)
    asked = measure.scored(new.servable, rows)
    answered = old.servable.score(columns.from_arrow(rows, old.servable.contract.features()))
    return asked._replace(scores=answered).scored(_terms(old, cost)), asked.scored(_terms(new, cost))


def _terms(side: Side, cost: Cost | None) -> Terms:
    known = side.revision.evaluation
    return Terms(None if known.baseline is None else np.asarray(known.baseline), known.threshold, cost)


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
