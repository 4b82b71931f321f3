import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from kiban.tasks.metric import Scored, Terms
from kiban.tasks.regression import METRICS

ORACLES = {
    "r2": sklearn_metrics.r2_score,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("name", ORACLES)
def test_a_metric_is_scikit_learns(name: str, scale: float) -> None:
    random = np.random.default_rng(0)
    target = scale * random.normal(3, 1, 200)
    scores = target + scale * random.normal(0, 0.5, 200)
    weights = random.integers(0, 4, 200).astype(float)
    expected = ORACLES[name](target, scores, sample_weight=weights)
    assert METRICS[name].value(Scored(target, scores).weighted(weights)) == pytest.approx(expected, rel=1e-9)


def test_equal_targets_have_no_variance_to_explain() -> None:
    target = np.full(3, 0.1)  # whose mean is another number
    rows = Scored(target, np.array([1.0, 2.0, 3.0]), terms=Terms(np.asarray(target.mean()))).weighted()
    assert {name for name, metric in METRICS.items() if np.isnan(metric.value(rows))} == {"r2", "skill"}
