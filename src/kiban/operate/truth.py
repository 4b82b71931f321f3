"""What came true: the accepted rows whose target is known, by which answers are measured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kiban.core.errors import KibanError
from kiban.data import prepared, verdict
from kiban.data.split import ByRow
from kiban.evaluate.clusters import clusters
from kiban.operate import asked, quality
from kiban.operate.quality import Interval
from kiban.servable import columns, reference
from kiban.servable.evaluation import Evaluation
from kiban.servable.load import Servable
from kiban.tasks.metric import Metric, Scored, Scores, Terms

LEAST_ROWS = 100  # of a window, before a metric says anything


class Past(NamedTuple):
    """What a metric was expected to be, and what it was, in a week; 0 if the table has no time."""

    week: int
    expected: float
    real: float


class Real(NamedTuple):
    """A metric of the predictions of a week, and how many of them have a truth."""

    real: Interval | None
    with_truth: int


@dataclass(frozen=True)
class Truth:
    """The accepted prepared rows, as a model reads them.

    `rows` have all of them, `new` those that the model was not trained on, in windows: a local week each, or a batch of
    a table without time. `newest` is the newest batch. `notes` say what is not known, and why.
    """

    servable: Servable
    terms: Terms
    timezone: str
    rows: pa.Table
    new: Sequence[pa.Table]
    newest: str | None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def measured(self) -> list[tuple[int, Scored]]:
        """The windows with enough rows: the number of the week, or 0, and the rows."""
        time = self.servable.contract.time
        return [
            (
                0 if time is None else int(reference.weeks(rows[time].slice(0, 1), self.timezone)[0]),
                self._scored(rows, self._answers(rows)),
            )
            for rows in self.new
            if rows.num_rows >= LEAST_ROWS
        ]

    @cached_property
    def errors(self) -> npt.NDArray[np.float64] | None:
        """What was true less what the model answers, of all rows that it was not trained on; None of probabilities."""
        if self.servable.task.name != "regression":
            return None
        return np.concatenate([each.target - each.scores for _, each in self.measured] or [np.zeros(1)])

    def _answers(self, rows: pa.Table) -> Scores:
        return self.servable.score(columns.from_arrow(rows, self.servable.contract.features()))

    def _scored(self, rows: pa.Table, scores: Scores) -> Scored:
        contract = self.servable.contract
        target = columns.target_from_arrow(rows[contract.target()], self.servable.target)
        return Scored(target, scores, columns.weights_from_arrow(rows, contract), self.terms)

    def expectations(self, metric: Metric) -> list[Past]:
        """What the metric was expected to be, and what it was, of each window that the model was not trained on."""
        return [
            Past(week, quality.expected(metric, each.scores, self.errors, self.terms), metric.value(each.weighted()))
            for week, each in self.measured
        ]

    def expected(self, metric: Metric, predictions: pa.Table) -> float:
        """The metric as the answers of predictions lead to expect; NaN if too few or not all are of this task."""
        scores = answers(predictions, self.servable)
        if len(scores) < LEAST_ROWS:
            return float("nan")
        return quality.expected(metric, scores, self.errors, self.terms)

    def joined(self, predictions: pa.Table) -> tuple[pa.Table, Counter[str]]:
        """The predictions that have a truth, with it, one for each key; and how many others there are, and why.

        Their time is that of the row, or else when they were logged.
        """
        contract = self.servable.contract
        if not predictions.num_rows or not self.rows.num_rows:
            return predictions.slice(0, 0), Counter()
        one, said = asked.one_for_each_key(predictions, contract)
        if not one.num_rows:
            return one, said
        weight = [name for name in [contract.weight()] if name]
        time = [contract.time] if contract.time and contract.time not in contract.key else []
        kept = [*contract.key, *time, contract.target(), *weight]
        others = [
            name for name in one.column_names if name not in kept or name in contract.key
        ]  # the truth has the time
        joined = one.select(others).join(self.rows.select(kept), contract.key, join_type="inner")
        said["have no truth yet"] = one.num_rows - joined.num_rows
        return joined, +said

    def real(self, metric: Metric, rows: pa.Table, cluster: str) -> Real:
        """The metric of joined predictions."""
        scores = answers(rows, self.servable)
        if len(scores) < max(LEAST_ROWS, rows.num_rows):  # some are of another task
            return Real(None, rows.num_rows)
        codes = clusters(rows, cluster, self.servable.contract.time, self.timezone)
        return Real(quality.real(metric, self._scored(rows, scores), codes), rows.num_rows)


def answers(predictions: pa.Table, servable: Servable) -> Scores:
    """The answers in the columns of predictions that have all of them: shape (n,), or (n, levels)."""
    values = [predictions[name].to_numpy() for name in reference.answers_of(servable.contract)]
    scores = np.column_stack(values) if servable.task.name == "multiclass" else values[0]
    is_whole = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    known: Scores = scores[is_whole]
    return known


def read(servable: Servable, evaluation: Evaluation | None, timezone: str) -> Truth:
    """The accepted rows of the working tree. Without them, as on a machine that only serves, a note says so."""
    baseline = None if evaluation is None or evaluation.baseline is None else np.asarray(evaluation.baseline)
    terms = Terms(baseline, servable.manifest.threshold)
    contract = servable.contract
    try:
        hashes = prepared.accepted()
        batches = {name: prepared.read(servable.manifest.dataset, {name: digest}) for name, digest in hashes.items()}
        missing = [name for name in contract.columns if any(name not in rows.column_names for rows in batches.values())]
        if missing:
            raise KibanError(f"the prepared rows have no {', '.join(missing)}, which the model has")
    except KibanError as error:
        return Truth(servable, terms, timezone, pa.table({}), [], None, [f"the truth is not known here: {error}"])
    rows = pa.concat_tables(batches.values()).select(list(contract.columns))
    new = [_new(servable, name, part) for name, part in batches.items()]
    windows = list(_windows([part for part in new if part.num_rows], contract.time, timezone))
    newest = max(verdict.read("prepared").accepted.get(prepared.TABLE, {}), default=None)
    return Truth(servable, terms, timezone, rows, windows, newest)


def _new(servable: Servable, batch: str, rows: pa.Table) -> pa.Table:
    """The rows of a batch that the model was not trained on."""
    manifest = servable.manifest
    if batch not in manifest.prepared:
        return rows
    section = manifest.parameters["split"]
    if "by" in section:
        split = ByRow.model_validate(section)
        return split.parts(batch, rows, servable.contract.key)["test"]
    return rows.slice(0, 0)


def _windows(batches: Sequence[pa.Table], time: str | None, timezone: str) -> Iterator[pa.Table]:
    if not batches:
        return
    if time is None:
        yield from batches
        return
    rows = pa.concat_tables(batches)
    numbers = reference.weeks(rows[time], timezone)
    for week in np.unique(numbers):
        yield rows.filter(pa.array(numbers == week))
