"""The gate: the rules by which a model, the challenger, may take the place of the champion."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from kiban.evaluate.bootstrap import CONFIDENCE, Difference, differences
from kiban.evaluate.settings import Gate, Rules
from kiban.tasks.metric import Clusters, Drawn, Metric, Scored, Weighted

BINS = 15
Decision = Literal["passed", "refused", "not applicable", "shown"]


class Rule(BaseModel):
    """What one rule says of a challenger. One that is `shown` decides nothing."""

    model_config = ConfigDict(frozen=True)

    name: str
    figure: str
    decision: Decision


class Judged(BaseModel):
    """What all rules say. `override` is the reason for which a model is taken although one refuses it."""

    model_config = ConfigDict(frozen=True)

    rules: tuple[Rule, ...]
    override: str | None = None

    @property
    def refusals(self) -> list[Rule]:
        return [rule for rule in self.rules if rule.decision == "refused"]

    @property
    def passed(self) -> bool:
        return not self.refusals

    @property
    def state(self) -> Literal["passed", "refused", "refused, overridden"]:
        if self.passed:
            return "passed"
        return "refused" if self.override is None else "refused, overridden"


def floor(gate: Gate, metric: Metric, value: float | None) -> Rule:
    """The metric of the challenger must reach the threshold."""
    figure = "it is not defined" if value is None else f"{value:.4f}"
    sign = ">=" if metric.greater_is_better else "<="
    text = f"{gate.split} {metric.label} {figure} {sign} {gate.threshold:.4f}"
    return Rule(name="floor", figure=text, decision=_decision(gate.passed(value)))


def prior(metric: Metric, value: float, of_prior: float) -> Rule:
    """The challenger must not be worse than the baseline, which answers the same for every row."""
    is_worse = value < of_prior if metric.greater_is_better else value > of_prior
    text = f"{metric.label} {value:.4f}, of the baseline {of_prior:.4f}"
    return Rule(name="baseline", figure=text, decision=_decision(not is_worse))


def beside(
    gate: Gate,
    metric: Metric,
    rules: Rules,
    before: Scored,
    after: Scored,
    clusters: Clusters,
    masks: Mapping[str, npt.NDArray[np.bool_]],
) -> list[Rule]:
    """What the rules say of the challenger's scores, `after`, beside the champion's, of the same n rows.

    `metric` is the gate's, of the models' task: metrics of several tasks have the same name.
    `clusters` has the number of the cluster of each row, `masks` has the rows of each slice by its name: shape (n,).
    """
    metrics = {gate.metric: metric, CALIBRATION_ERROR.name: CALIBRATION_ERROR}
    both = differences(metrics, before, after, clusters)
    return [
        superiority(gate, metric, both.get(gate.metric)),
        calibration(rules, both.get(CALIBRATION_ERROR.name)),
        *slices(metric, rules, before, after, clusters, masks),
    ]


def superiority(gate: Gate, metric: Metric, difference: Difference | None) -> Rule:
    """The whole interval of the difference to the champion must be beyond the smallest change that matters."""
    if difference is None:
        return Rule(name="better", figure="the difference cannot be measured", decision="refused")
    least = difference.low if metric.greater_is_better else -difference.high
    text = f"{_in_words(metric, difference)}, more than {gate.minimum_change:g} asked"
    return Rule(name="better", figure=text, decision=_decision(least > gate.minimum_change))


def calibration(rules: Rules, difference: Difference | None) -> Rule:
    """The calibration error may not be clearly more than the champion's, by more than the rules allow."""
    if difference is None:
        return Rule(name="calibration", figure="it cannot be measured", decision="not applicable")
    text = f"{_in_words(CALIBRATION_ERROR, difference)}, {rules.calibration_loss:g} allowed"
    return Rule(name="calibration", figure=text, decision=_decision(difference.low <= rules.calibration_loss))


def slices(
    metric: Metric,
    rules: Rules,
    before: Scored,
    after: Scored,
    clusters: Clusters,
    masks: Mapping[str, npt.NDArray[np.bool_]],
) -> list[Rule]:
    """No slice may lose more than the rules allow. If none does, the worst is named.

    A slice with fewer rows than the rules ask, or on which the metric is not defined, is left out. The intervals are
    widened for the number of slices, as Bonferroni does.
    """
    large = {name: mask for name, mask in masks.items() if mask.sum() >= rules.slice_rows}
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(large))
    measured: dict[str, Difference] = {}
    for name, mask in large.items():
        codes: npt.NDArray[np.int64] = pd.factorize(clusters[mask])[0]
        each = differences({name: metric}, before.masked(mask), after.masked(mask), codes, confidence=confidence)
        measured |= each
    if not measured:
        return [Rule(name="slices", figure="no slice has enough rows", decision="not applicable")]
    most = {name: (each.high if metric.greater_is_better else -each.low) for name, each in measured.items()}
    losing = sorted((name for name in most if most[name] < -rules.slice_loss), key=lambda name: most[name])
    named = losing or [min(most, key=lambda name: most[name])]
    return [
        Rule(
            name=f"slice {name}",
            figure=f"{_in_words(metric, measured[name])}, {rules.slice_loss:g} of loss allowed, {len(measured)} slices",
            decision="refused" if losing else "passed",
        )
        for name in named
    ]


def latency(rules: Rules, ratio: float) -> Rule:
    """An answer may take that many times the CPU time of the champion's."""
    text = f"{ratio:.2f} times the CPU time of an answer, {rules.latency:g} allowed"
    return Rule(name="latency", figure=text, decision=_decision(ratio <= rules.latency))


def _in_words(metric: Metric, difference: Difference) -> str:
    interval = f"{difference.low:+.4f} to {difference.high:+.4f}"
    return f"{metric.label} {difference.before:.4f} to {difference.after:.4f} ({interval})"


def _decision(is_passed: bool) -> Decision:
    return "passed" if is_passed else "refused"


def _calibration_error(rows: Weighted) -> float:
    """The mean distance of prediction and truth over bins of like predictions, each with as many rows.

    Of classes it is that of the most probable one. Of numbers it is in standard deviations of the target.
    """
    bins, gaps = _gaps(rows.rows)
    sums = np.bincount(bins, rows.weights * gaps, BINS)
    return float(np.abs(sums).sum() / rows.weights.sum())


def _calibration_error_drawn(rows: Scored, clusters: Clusters) -> Drawn:
    number = int(clusters.max()) + 1
    bins, gaps = _gaps(rows)
    weights = rows.weighted().weights
    sums = np.bincount(clusters * BINS + bins, weights * gaps, number * BINS).reshape(number, BINS)
    totals = np.bincount(clusters, weights, number)
    return lambda times: np.abs(times @ sums).sum(axis=1) / (times @ totals)


def _gaps(rows: Scored) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The bin of each row, and its prediction less the truth: shape (n,) each."""
    target, scores, unit = rows.target, rows.scores, 1.0
    if scores.ndim > 1:
        target, scores = scores.argmax(axis=1) == target, scores.max(axis=1)
    elif target.dtype != np.bool_:
        unit = float(np.std(target)) or 1.0
    bins = np.empty(len(scores), np.int64)
    bins[np.argsort(scores, kind="stable")] = np.arange(len(scores)) * BINS // len(scores)
    return bins, (scores - target) / unit


CALIBRATION_ERROR = Metric(
    "calibration_error", "calibration error", False, _calibration_error, _calibration_error_drawn
)
