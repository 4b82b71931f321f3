"""The expected quality, on answers whose truth is drawn as they say."""

import numpy as np
import pytest

from kiban.operate import quality
from kiban.tasks import binary, multiclass, regression
from kiban.tasks.metric import Metric, Scored

RANDOM = np.random.default_rng(0)
ROWS = 20_000


@pytest.mark.parametrize("metric", [binary.METRICS["roc_auc"], binary.METRICS["brier"], binary.METRICS["log_loss"]])
def test_probabilities_that_are_right_expect_what_comes_true(metric: Metric) -> None:
    scores = RANDOM.beta(2, 5, ROWS)
    real = metric.value(Scored(RANDOM.random(ROWS) < scores, scores).weighted())
    assert quality.expected(metric, scores, None) == pytest.approx(real, abs=0.01)


@pytest.mark.parametrize("metric", list(multiclass.METRICS.values()), ids=lambda metric: metric.name)
def test_so_do_those_of_classes(metric: Metric) -> None:
    scores = RANDOM.dirichlet([1, 2, 3], ROWS)
    target = (RANDOM.random((ROWS, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    real = metric.value(Scored(target, scores).weighted())
    expected = quality.expected(metric, scores, None)
    assert (np.isnan(real) and np.isnan(expected)) or expected == pytest.approx(real, abs=0.02)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae"])
def test_numbers_expect_the_errors_that_are_known(name: str) -> None:
    metric = regression.METRICS[name]
    scores, errors, known = RANDOM.normal(0, 3, ROWS), RANDOM.normal(0.5, 1, ROWS), RANDOM.normal(0.5, 1, ROWS)
    real = metric.value(Scored(scores + errors, scores).weighted())
    assert quality.expected(metric, scores, known) == pytest.approx(real, abs=0.05)


def test_past_errors_shift_and_widen_the_expectation() -> None:
    assert quality.corrected(0.7, [(0.7, 0.69)] * 3) is None
    past = [(0.7, 0.66), (0.71, 0.69), (0.72, 0.68), (0.7, 0.68)]
    interval = quality.corrected(0.7, past)
    assert interval
    assert interval.value == pytest.approx(0.67)
    assert interval.low < 0.64 < 0.7 < interval.high
    assert quality.corrected(float("nan"), past) is None


def test_the_real_metric_has_the_interval_of_whole_clusters() -> None:
    metric = binary.METRICS["brier"]
    scores = RANDOM.random(ROWS)
    rows = Scored(RANDOM.random(ROWS) < scores, scores)
    days = np.arange(ROWS) % 20
    interval = quality.real(metric, rows, days)
    assert interval
    assert interval.value == pytest.approx(metric.value(rows.weighted()))
    assert interval.low < interval.value < interval.high
    assert quality.real(metric, rows, np.zeros(ROWS, np.int64)) is None
