from pathlib import Path

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics

from kiban.evaluate import metrics
from kiban.tasks.metric import Cost, Scored, Terms
from kiban.tasks.task import BINARY, MULTICLASS, REGRESSION, TASKS, Task

TARGET = np.array([False, False, True, True])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_the_summary_is_the_textbooks() -> None:
    summary = metrics.summary(BINARY, Scored(TARGET, SCORES))
    assert summary["roc_auc"] == 0.75  # 3 of 4 pairs in order
    assert summary["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4, abs=1e-6)
    assert (summary["rows"], summary["base_rate"], summary["mean_prediction"]) == (4, 0.5, 0.4125)


def test_ranking_metrics_need_both_values() -> None:
    summary = metrics.summary(BINARY, Scored(np.array([True, True]), np.array([0.5, 0.6])))
    assert summary["roc_auc"] is None
    assert summary["average_precision"] is None
    assert summary["log_loss"] is not None


def test_curves_are_thinned_and_keep_their_ends() -> None:
    random = np.random.default_rng(0)
    scores = random.random(5000)
    target = random.random(5000) < scores
    roc = metrics.roc(Scored(target, scores))
    assert len(roc) <= metrics.CURVE_POINTS
    assert list(roc[0].values()) == [0, 0]
    assert list(roc[-1].values()) == [1, 1]
    recall = [row["recall"] for row in metrics.precision_recall(Scored(target, scores))]
    assert recall == sorted(recall)
    for row in metrics.calibration(Scored(target, scores)):  # the target was drawn by the scores
        assert row["observed_rate"] == pytest.approx(row["mean_prediction"], abs=0.1)


@pytest.mark.parametrize("decimals", [2, 9])
def test_curves_are_those_of_scikit_learn(decimals: int) -> None:
    """Every point lies on its curve, with many equal scores and with none."""
    random = np.random.default_rng(1)
    scores = random.random(3000).round(decimals)
    target = random.random(3000) < scores
    false, true, _ = sklearn.metrics.roc_curve(target, scores, drop_intermediate=False)
    points = {(round(one, 6), round(other, 6)) for one, other in zip(false, true, strict=True)}
    assert {tuple(row.values()) for row in metrics.roc(Scored(target, scores))} <= points
    precision, recall, _ = sklearn.metrics.precision_recall_curve(target, scores)
    points = {(round(one, 6), round(other, 6)) for one, other in zip(recall, precision, strict=True)}
    assert {tuple(row.values()) for row in metrics.precision_recall(Scored(target, scores))} <= points
    observed, predicted = sklearn.calibration.calibration_curve(
        target, scores, n_bins=metrics.CALIBRATION_BINS, strategy="quantile"
    )
    rows = metrics.calibration(Scored(target, scores))
    np.testing.assert_allclose([row["mean_prediction"] for row in rows], predicted, atol=1e-6)
    np.testing.assert_allclose([row["observed_rate"] for row in rows], observed, atol=1e-6)


def test_importance_ranks_what_the_score_uses() -> None:
    random = np.random.default_rng(0)
    columns = {"used": random.random(2000), "idle": random.random(2000)}
    target = columns["used"] > 0.5
    alone = {name: [name] for name in columns}
    first, second = metrics.permutation_importance(
        BINARY, lambda of: of["used"], columns, alone, Scored(target, columns["used"]), random
    )
    assert (first["feature"], second["feature"], second["loss"]) == ("used", "idle", 0)
    assert first["loss"] > 0.4
    scores = lambda of: np.column_stack([of["used"], 1 - of["used"]])  # noqa: E731
    rows = Scored(1 - target, scores(columns))
    first, second = metrics.permutation_importance(MULTICLASS, scores, columns, alone, rows, random)
    assert (first["feature"], second["loss"]) == ("used", 0)
    assert first["loss"] > 0.4  # of log loss, of which less is better


def test_at_the_threshold_rows_are_counted_by_target_and_label() -> None:
    terms = Terms(threshold=0.4, cost=Cost(false_positive=1, false_negative=5))
    summary = metrics.summary(BINARY, Scored(TARGET, SCORES, terms=terms))
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert [summary[name] for name in names] == [1, 1, 1, 1]
    assert (summary["precision"], summary["recall"], summary["cost"]) == (0.5, 0.5, 1.5)
    nobody = metrics.summary(BINARY, Scored(TARGET, SCORES, terms=Terms(threshold=0.9)))
    assert (nobody["precision"], nobody["recall"]) == (None, 0)
    assert "cost" not in nobody


def test_the_confusion_counts_every_row_once() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    rows = metrics.confusion(Scored(np.array([0, 1, 1]), scores), ["a", "b", "c"])
    counts = {(row["actual"], row["predicted"]): row["rows"] for row in rows if row["rows"]}
    assert counts == {("a", "a"): 1, ("b", "b"): 1, ("b", "a"): 1}


def test_a_number_has_the_share_of_rows_within_its_interval_beside_it() -> None:
    target, scores = np.array([1.0, 2.0, 3.0, 1234567.891]), np.array([1.5, 2.0, 4.0, 1234567.0])
    summary = metrics.summary(REGRESSION, Scored(target, scores, terms=Terms(interval=0.9)))
    assert summary["coverage"] == 0.75
    assert summary["mean_target"] == 308643.5


def test_the_cost_by_threshold_is_that_of_labelling_from_there_on() -> None:
    random = np.random.default_rng(0)
    scores = random.random(300).round(2)
    target = random.random(300) < scores
    rows = Scored(target, scores, terms=Terms(cost=Cost(1, 5)))
    for row in metrics.thresholds(rows):
        label = scores >= row["threshold"]
        assert row["cost"] == pytest.approx(((~target & label).sum() + 5 * (target & ~label).sum()) / 300, abs=1e-6)
        assert row["labelled"] == pytest.approx(label.mean(), abs=1e-6)
    wrong = metrics.thresholds(Scored(target, scores))[0]["cost"]
    assert wrong == pytest.approx((target != (scores >= scores.max())).mean(), abs=1e-6)  # without costs an error is 1


def weighted_rows(task: Task) -> tuple[Scored, Scored]:
    """Rows with whole weights, and the same rows repeated as often."""
    random = np.random.default_rng(0)
    weights, terms = random.integers(1, 4, 200), Terms(np.asarray(0.4), 0.5, Cost(2, 3))
    scores = random.dirichlet(np.ones(3), 200) if task is MULTICLASS else random.random(200)
    target = random.integers(0, 3, 200) if task is MULTICLASS else random.random(200) < 0.4
    if task is REGRESSION:
        target, terms = scores + random.normal(0, 0.2, 200), terms._replace(interval=0.3)
    times = np.repeat(np.arange(200), weights)
    return Scored(target, scores, weights.astype(float), terms), Scored(target[times], scores[times], terms=terms)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_weight_counts_as_so_many_rows(task: Task) -> None:
    weighted, repeated = weighted_rows(task)
    one, other = (metrics.summary(task, rows) for rows in (weighted, repeated))
    assert (one.pop("rows"), other.pop("rows")) == (200, len(repeated.target))
    assert one == pytest.approx(other, abs=2e-6)
    np.testing.assert_allclose(
        task.baseline(weighted.target, 3, weighted.weights), task.baseline(repeated.target, 3), rtol=1e-12
    )
    one, other = (metrics.curves(task, rows, ["a", "b", "c"]) for rows in (weighted, repeated))
    for name in one.keys() - {"calibration", "errors", "predictions"}:  # whose bins are quantiles of the rows
        assert [list(row.values()) for row in one[name]] == [list(row.values()) for row in other[name]], name


def test_csv_files_have_a_header(tmp_path: Path) -> None:
    metrics.write_csv([{"a": 1, "b": "x"}], tmp_path / "plots/file.csv")
    assert (tmp_path / "plots/file.csv").read_bytes() == b"a,b\n1,x\n"
