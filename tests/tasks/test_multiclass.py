import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from kiban.tasks.metric import Scored, Terms
from kiban.tasks.multiclass import METRICS

CLASSES = 4
ORACLES = {
    "roc_auc_ovr": lambda target, scores, weights: np.mean(
        [
            sklearn_metrics.roc_auc_score(target == place, scores[:, place], sample_weight=weights)
            for place in range(CLASSES)
        ]
    ),
    "log_loss": lambda target, scores, weights: sklearn_metrics.log_loss(
        target, scores, sample_weight=weights, labels=range(CLASSES)
    ),
    "macro_f1": lambda target, scores, weights: sklearn_metrics.f1_score(
        target[weights > 0], scores.argmax(axis=1)[weights > 0], average="macro", sample_weight=weights[weights > 0]
    ),
    "accuracy": lambda target, scores, weights: sklearn_metrics.accuracy_score(
        target, scores.argmax(axis=1), sample_weight=weights
    ),
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ORACLES)
def test_a_metric_is_scikit_learns(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.ones(CLASSES), int(random.integers(20, 300)))
    target = random.integers(0, CLASSES, len(scores))
    target[:CLASSES] = range(CLASSES)
    weights = random.integers(0, 4, len(scores)).astype(float)
    weights[:CLASSES] = 1
    expected = ORACLES[name](target, scores, weights)
    assert METRICS[name].value(Scored(target, scores).weighted(weights)) == pytest.approx(expected, rel=1e-9)


def test_a_class_without_a_row_leaves_only_its_ranking_undefined() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    rows = Scored(np.array([0, 1]), scores, terms=Terms(np.array([0.5, 0.5, 0.0]))).weighted()
    assert {name for name, metric in METRICS.items() if np.isnan(metric.value(rows))} == {"roc_auc_ovr"}


def test_a_class_that_the_model_does_not_know_has_a_finite_loss() -> None:
    rows = Scored(np.array([2]), np.array([[0.5, 0.5, 0.0]])).weighted()
    assert METRICS["log_loss"].value(rows) == pytest.approx(-np.log(np.finfo(float).eps))
