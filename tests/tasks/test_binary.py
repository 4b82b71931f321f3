import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from kiban.tasks.binary import METRICS
from kiban.tasks.metric import Cost, Scored, Terms

ORACLES = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "brier": sklearn_metrics.brier_score_loss,
    "log_loss": lambda target, scores, sample_weight: sklearn_metrics.log_loss(
        target, scores, sample_weight=sample_weight, labels=[False, True]
    ),
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ORACLES)
def test_a_metric_is_scikit_learns(name: str, seed: int) -> None:
    """With equal scores, scores of 0 and 1, and rows of no weight, as a draw of the bootstrap has them."""
    random = np.random.default_rng(seed)
    rows = int(random.integers(2, 300))
    scores = random.random(rows).round(int(random.integers(1, 6))) if seed else np.array([0.0, 1.0] * 100)
    target = random.random(len(scores)) < 0.3
    target[:2] = [True, False]
    weights = random.integers(0, 4, len(scores)).astype(float)
    weights[:2] = 1
    expected = ORACLES[name](target, scores, sample_weight=weights)
    assert METRICS[name].value(Scored(target, scores).weighted(weights)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("value", [True, False])
def test_what_ranks_needs_both_values(value: bool) -> None:
    rows = Scored(np.array([value, value]), np.array([0.2, 0.7])).weighted()
    undefined = {name for name, metric in METRICS.items() if np.isnan(metric.value(rows))}
    # Neither the baseline nor a threshold is known.
    assert undefined == {"roc_auc", "average_precision", "skill", "precision", "recall", "cost"}


def test_errors_at_the_threshold_have_their_cost() -> None:
    terms = Terms(threshold=0.5, cost=Cost(false_positive=1, false_negative=5))
    rows = Scored(np.array([True, True, False, False]), np.array([0.9, 0.1, 0.5, 0.2]), np.array([1, 2, 3, 4.0]), terms)
    assert METRICS["cost"].value(rows.weighted()) == pytest.approx((5 * 2 + 3) / 10)
    assert METRICS["precision"].value(rows.weighted()) == 0.25
    assert METRICS["recall"].value(rows.weighted(np.array([1.0, 0, 1, 1]))) == 1  # a draw without the second row
