"""The gate of a version, judged by the rules of the version that it is to replace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kiban.core.errors import KibanError
from kiban.core.settings import explain
from kiban.evaluate.settings import Gate
from kiban.review.revision import Revision
from kiban.servable.evaluation import Figures
from kiban.tasks.binary import COST
from kiban.tasks.metric import Cost, Labelled
from kiban.tasks.own import every_metric


@dataclass(frozen=True)
class GateJudgement:
    """Whether `value`, the gate's metric of a model on the gate's split, reaches the threshold.

    `override` is the reason for which the model may be merged although it does not; None if there is none.
    """

    gate: Gate
    value: float | None
    override: str | None

    @property
    def passed(self) -> bool:
        return self.gate.passed(self.value)

    @property
    def state(self) -> str:
        if self.passed:
            return "passed"
        return "not passed" if self.override is None else "not passed, overridden"

    @property
    def figures(self) -> str:
        """The metric, its value and the threshold as text."""
        value = "not defined" if self.value is None else f"{self.value:.4f}"
        metric, split = every_metric()[self.gate.metric], self.gate.split
        limit = f"the {'minimum' if metric.greater_is_better else 'maximum'} {self.gate.threshold:.4f}"
        return f"{metric.title} on the {split} rows is {value}, {limit}"


def rules(before: Revision, after: Revision) -> Gate:
    """The gate of `before`, so that a change cannot weaken the gate that judges it.

    Keys that it lacks, as in a version of an earlier release, are those of `after`. Raises KibanError if the gate is
    not valid.
    """
    older, newer = (_section(side) for side in (before, after))
    if "minimum" in older:  # as earlier releases wrote it
        older = {**older, "threshold": older["minimum"]}
    known = {name: value for name, value in older.items() if name in Gate.model_fields}
    try:
        return Gate.model_validate({**newer, **known, "override": None})
    except ValidationError as error:
        raise KibanError(f"params.yaml: gate: {explain(error)}; correct it under conf/gate") from None


def judged(before: Revision, after: Revision) -> GateJudgement:
    """The gate of the model of `after`, by the rules of `before`. Raises KibanError if the rules are not valid."""
    gate = rules(before, after)
    figures = after.evaluation.splits[gate.split]
    value = _cost(figures, cost_of_errors(before, after)) if gate.metric == COST.name else figures.get(gate.metric)
    return GateJudgement(gate, value, _override(after))


def cost_of_errors(before: Revision, after: Revision) -> Cost | None:
    """What errors cost, as the first of the two versions says that has costs; None if neither has."""
    decisions = [side.params.get("decision") for side in (before, after)]
    costs = [decision["cost"] for decision in decisions if isinstance(decision, dict) and decision.get("cost")]
    return Cost(**costs[0]) if costs else None


def _cost(figures: Figures, cost: Cost | None) -> float | None:
    """The mean cost of a row, from the rows by target and label."""
    counts = [figures.get(name) for name in Labelled._fields]
    if cost is None or None in counts:
        return None
    return Labelled(*(float(count or 0) for count in counts)).cost(cost)


def _override(after: Revision) -> str | None:
    try:
        override = Gate.model_validate(_section(after)).override
    except ValidationError:
        return None
    return override.reason if override and override.model_id == after.evaluation.model_id else None


def _section(revision: Revision) -> Mapping[str, Any]:
    section = revision.params.get("gate")
    return section if isinstance(section, dict) else {}
