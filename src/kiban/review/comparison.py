"""Comparing two versions: whether the second one's model is better, and which parameters and data differ."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import changed
from kiban.data.contract import NO_KEY, Table
from kiban.data.prepared import TABLE
from kiban.evaluate.bootstrap import Difference, differences
from kiban.evaluate.clusters import clusters, local_times
from kiban.evaluate.settings import Gate
from kiban.review import changes
from kiban.review.changes import TableChanges
from kiban.review.gate import GateJudgement, cost_of_errors, judged
from kiban.review.revision import Revision
from kiban.servable.columns import target_from_arrow
from kiban.tasks.metric import Scored, Terms
from kiban.tasks.own import every_metric, metrics_of
from kiban.tasks.task import task_of

Judgement = Literal["unchanged", "better", "worse", "no clear difference", "not comparable"]


@dataclass(frozen=True)
class Scores:
    """The differences of the metrics on the rows of the gate's split that both versions scored, overall and by month.

    `rows` and `clusters` are their numbers. `months` is empty if the contract has no time column.
    """

    rows: int
    clusters: int
    overall: Mapping[str, Difference]
    months: Mapping[str, Mapping[str, Difference]]


@dataclass(frozen=True)
class Comparison:
    """The judgement on `after` compared with `before`, and the differences.

    `scores` is None if the models are the same or cannot be compared; `reason` says why. `parameters` has the pair
    [before, after] of each key that differs, with None for a missing key. `data` is None if the data cannot be
    compared; `data_reason` says why.
    """

    judgement: Judgement
    reason: str
    gate: Gate
    gate_judgement: GateJudgement
    scores: Scores | None
    parameters: Mapping[str, tuple[Any, Any]]
    data: Mapping[str, TableChanges] | None
    data_reason: str


def compare(before: Revision, after: Revision) -> Comparison:
    """Compare two versions by the gate of the first, so that a change cannot weaken the gate that judges it.

    Raises KibanError if the gate is not valid, or if its cluster is neither a calendar unit nor a column of the key.
    """
    gate_judgement = judged(before, after)
    gate = gate_judgement.gate
    scores, judgement, reason = _judged(before, after, gate, after.contracts[TABLE])
    data: Mapping[str, TableChanges] | None = None
    try:
        data, data_reason = changes.between(before, after), ""
    except KibanError as error:
        data_reason = str(error)
    parameters = changed(before.params, after.params)
    upgrades = changed(before.versions, after.versions) if before.versions else {}
    parameters |= {f"{paths.VERSIONS}: {name}": pair for name, pair in upgrades.items()}
    return Comparison(judgement, reason, gate, gate_judgement, scores, parameters, data, data_reason)


def clear(overall: Mapping[str, Difference]) -> tuple[dict[str, Difference], dict[str, Difference]]:
    """The metrics that are clearly better, and those that are clearly worse: their interval does not contain zero."""
    better: dict[str, Difference] = {}
    worse: dict[str, Difference] = {}
    for name, difference in overall.items():
        if difference.low > 0 or difference.high < 0:
            is_better = (difference.change > 0) == every_metric()[name].greater_is_better
            (better if is_better else worse)[name] = difference
    return better, worse


def _judged(before: Revision, after: Revision, gate: Gate, table: Table) -> tuple[Scores | None, Judgement, str]:
    if before.evaluation.model_id == after.evaluation.model_id:
        return None, "unchanged", ""
    for side in (before, after):
        if side.predictions is None:
            advice = "`dvc pull` or `dvc fetch --all-commits` brings them if they were pushed"
            return None, "not comparable", f"the predictions of {side.label} are not here: {advice}"
    if target(before) != target(after):
        return None, "not comparable", "the target is another one"
    rows = paired(before.predictions, after.predictions, gate.split)
    if rows.num_rows == 0:
        return None, "not comparable", f"no row of the {gate.split} split was scored by both versions"
    scores = measured(rows, gate, table, after.params["dataset"]["timezone"], _terms(before, after))
    if gate.metric not in scores.overall:
        reason = f"{gate.metric} cannot be measured if all targets are equal, or on one {gate.cluster}"
        return scores, "not comparable", reason
    return scores, judge(scores.overall[gate.metric], gate), ""


def target(side: Revision) -> tuple[Any, ...]:
    """The name of the target, and what its values mean."""
    table = side.contracts[TABLE]
    column = table.columns[table.target()]
    return table.target(), column.type, column.unit, column.levels, column.positive


def _terms(before: Revision, after: Revision) -> tuple[Terms, Terms]:
    """By what the scores of each version are measured. Errors cost what the first version says that has costs."""
    cost = cost_of_errors(before, after)
    old, new = (
        Terms(
            None if (known := side.evaluation).baseline is None else np.asarray(known.baseline), known.threshold, cost
        )
        for side in (before, after)
    )
    return old, new


def judge(difference: Difference, gate: Gate) -> Judgement:
    """Better or worse only if the whole interval is beyond the gate's smallest change that matters."""
    is_greater = difference.low > gate.minimum_change
    if not is_greater and difference.high >= -gate.minimum_change:
        return "no clear difference"
    return "better" if is_greater == every_metric()[gate.metric].greater_is_better else "worse"


def paired(before: pa.Table | None, after: pa.Table | None, split: str) -> pa.Table:
    """The rows of `split` that are in both predictions, joined by the columns that identify a row.

    The result has these columns, `target` and `weight` (from `after`, which may have no weights), and the scores
    `before` and `after`. It is empty if the schemas of the two differ otherwise.
    """
    if before is None or after is None or _without_weight(before.schema) != _without_weight(after.schema):
        return pa.table({})
    key = [name for name in after.column_names if not NO_KEY.fullmatch(name)]
    scores = [name for name in after.column_names if re.fullmatch(r"score( \d+)?", name)]
    sides = [side.filter(pc.field("split") == split) for side in (before, after)]
    renamed = {side: [name.replace("score", side) for name in scores] for side in ("before", "after")}
    old = sides[0].select([*key, *scores]).rename_columns([*key, *renamed["before"]])
    kept = [*key, "target", *(["weight"] if "weight" in after.column_names else [])]
    new = sides[1].select([*kept, *scores]).rename_columns([*kept, *renamed["after"]])
    return new.join(old, key, join_type="inner").sort_by([(name, "ascending") for name in key])


def _without_weight(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != "weight"])


def measured(
    rows: pa.Table, gate: Gate, table: Table, timezone: str, terms: tuple[Terms, Terms] = (Terms(), Terms())
) -> Scores:
    """The differences on paired rows. `terms` are those of the two versions.

    Raises KibanError if the gate's cluster is neither a calendar unit nor a column that identifies rows.
    """
    codes = clusters(rows, gate.cluster, table.time, timezone)
    column = table.columns[table.target()]
    metrics = metrics_of(task_of(column))
    target = target_from_arrow(rows["target"], column)
    weights = rows["weight"].to_numpy() if "weight" in rows.column_names else None
    sides = zip(("before", "after"), terms, strict=True)
    old, new = (Scored(target, _scores(rows, name), weights, each) for name, each in sides)
    months: dict[str, dict[str, Difference]] = {}
    if table.time:
        row_months = np.asarray(pc.strftime(local_times(rows[table.time], timezone), "%Y-%m").to_pylist())
        for month in sorted(set(row_months)):
            mask = row_months == month
            months[month] = differences(metrics, old.masked(mask), new.masked(mask), pd.factorize(codes[mask])[0])
    overall = differences(metrics, old, new, codes)
    return Scores(rows.num_rows, int(codes.max()) + 1, overall, months)


def _scores(rows: pa.Table, side: str) -> npt.NDArray[np.float64]:
    """The scores of one version: shape (rows,), or (rows, classes)."""
    if side in rows.column_names:
        return rows[side].to_numpy()
    names = [name for name in rows.column_names if name.startswith(f"{side} ")]
    return np.column_stack([rows[name].to_numpy() for name in names])
