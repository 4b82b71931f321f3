"""The interval of a difference, by simulation on data where rows of one cluster share what decides them."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from kiban.evaluate import bootstrap
from kiban.evaluate.bootstrap import Difference
from kiban.tasks.binary import METRICS
from kiban.tasks.metric import Scored, Scores, Target

Rows = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def world(seed: int, days: int, rows_a_day: int = 50) -> Rows:
    """Target, scores of two models, and day: the second model knows a forecast of the weather that a day shares."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows_a_day)
    weather, error = random.standard_normal((2, days))
    own = random.standard_normal(len(day))
    target = random.random(len(day)) < logistic(-1 + 0.5 * weather[day] + own)
    return target, logistic(-1 + own), logistic(-1 + own + 0.3 * (weather + error)[day]), day


def logistic(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    scores: npt.NDArray[np.float64] = 1 / (1 + np.exp(-values))
    return scores


def differences(
    target: Target, before: Scores, after: Scores, clusters: npt.NDArray[np.int64], draws: int = bootstrap.DRAWS
) -> dict[str, Difference]:
    metrics = {name: metric for name, metric in METRICS.items() if name != "skill"}
    return bootstrap.differences(metrics, Scored(target, before), Scored(target, after), clusters, draws)


@pytest.fixture(scope="module")
def truth() -> float:
    """The difference in ROC AUC over very many days."""
    changes = []
    for seed in range(6):
        target, before, after, _ = world(seed, 20_000)
        changes.append(roc_auc_score(target, after) - roc_auc_score(target, before))
    return float(np.mean(changes))


WORLDS = 400


def coverage(truth: float, by_row: bool) -> float:
    """The share of simulated worlds of 60 days whose interval has the truth in it."""
    hits = 0
    for seed in range(1000, 1000 + WORLDS):
        target, before, after, day = world(seed, 60)
        clusters = np.arange(len(day)) if by_row else day
        found = differences(target, before, after, clusters, draws=200)["roc_auc"]
        hits += found.low <= truth <= found.high
    return hits / WORLDS


def test_the_interval_covers_the_truth_as_often_as_it_says(truth: float) -> None:
    assert 0.93 <= coverage(truth, by_row=False) <= 0.97


@pytest.mark.long
def test_an_interval_from_single_rows_would_not(truth: float) -> None:
    assert coverage(truth, by_row=True) < 0.88


def test_the_metrics_are_those_of_scikit_learn_with_ties_too() -> None:
    target, before, after, day = world(1, 20)
    before = before.round(2)
    found = differences(target, before, after, day, draws=2)
    measures = {
        "roc_auc": roc_auc_score,
        "average_precision": average_precision_score,
        "brier": brier_score_loss,
        "log_loss": log_loss,
    }
    assert set(found) == set(measures)
    for name, measure in measures.items():
        assert found[name].before == pytest.approx(measure(target, before), abs=1e-12)
        assert found[name].after == pytest.approx(measure(target, after), abs=1e-12)


def test_equal_models_do_not_differ_and_the_same_call_gives_the_same() -> None:
    target, before, after, day = world(2, 30)
    assert all(each.low == each.change == each.high == 0 for each in differences(target, before, before, day).values())
    assert differences(target, before, after, day) == differences(target, before, after, day)


def test_where_the_target_has_one_value_only_what_ranks_is_not_there() -> None:
    _, before, after, day = world(3, 10)
    never = np.zeros(len(day), dtype=bool)
    assert set(differences(never, before, after, day)) == {"brier", "log_loss"}


def test_of_one_cluster_nothing_is_said() -> None:
    target, before, after, _ = world(4, 2)
    assert differences(target, before, after, np.zeros(len(target), dtype=np.int64)) == {}
