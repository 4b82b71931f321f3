from pathlib import Path

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics

from kiban.evaluate import metrics

TARGET = np.array([False, False, True, True])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_the_summary_is_the_textbooks() -> None:
    summary = metrics.summary(TARGET, SCORES)
    assert summary["roc_auc"] == 0.75  # 3 of 4 pairs in order
    assert summary["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4, abs=1e-6)
    assert (summary["rows"], summary["base_rate"], summary["mean_prediction"]) == (4, 0.5, 0.4125)


def test_ranking_metrics_need_both_values() -> None:
    summary = metrics.summary(np.array([True, True]), np.array([0.5, 0.6]))
    assert summary["roc_auc"] is None
    assert summary["average_precision"] is None
    assert summary["log_loss"] is not None


def test_curves_are_thinned_and_keep_their_ends() -> None:
    random = np.random.default_rng(0)
    scores = random.random(5000)
    target = random.random(5000) < scores
    roc = metrics.roc(target, scores)
    assert len(roc) <= metrics.CURVE_POINTS
    assert list(roc[0].values()) == [0, 0]
    assert list(roc[-1].values()) == [1, 1]
    recall = [row["recall"] for row in metrics.precision_recall(target, scores)]
    assert recall == sorted(recall)
    for row in metrics.calibration(target, scores):  # the target was drawn by the scores
        assert row["observed_rate"] == pytest.approx(row["mean_prediction"], abs=0.1)


@pytest.mark.parametrize("decimals", [2, 9])
def test_curves_are_those_of_scikit_learn(decimals: int) -> None:
    """Every point lies on its curve, with many equal scores and with none."""
    random = np.random.default_rng(1)
    scores = random.random(3000).round(decimals)
    target = random.random(3000) < scores
    false, true, _ = sklearn.metrics.roc_curve(target, scores, drop_intermediate=False)
    points = {(round(one, 6), round(other, 6)) for one, other in zip(false, true, strict=True)}
    assert {tuple(row.values()) for row in metrics.roc(target, scores)} <= points
    precision, recall, _ = sklearn.metrics.precision_recall_curve(target, scores)
    points = {(round(one, 6), round(other, 6)) for one, other in zip(recall, precision, strict=True)}
    assert {tuple(row.values()) for row in metrics.precision_recall(target, scores)} <= points
    observed, predicted = sklearn.calibration.calibration_curve(
        target, scores, n_bins=metrics.CALIBRATION_BINS, strategy="quantile"
    )
    rows = metrics.calibration(target, scores)
    np.testing.assert_allclose([row["mean_prediction"] for row in rows], predicted, atol=1e-6)
    np.testing.assert_allclose([row["observed_rate"] for row in rows], observed, atol=1e-6)


def test_importance_ranks_what_the_score_uses() -> None:
    random = np.random.default_rng(0)
    columns = {"used": random.random(2000), "idle": random.random(2000)}
    target = columns["used"] > 0.5
    first, second = metrics.permutation_importance(lambda of: of["used"], columns, target, rows=1000, seed=0)
    assert (first["feature"], second["feature"], second["auc_drop"]) == ("used", "idle", 0)
    assert first["auc_drop"] > 0.4


def test_csv_files_have_a_header(tmp_path: Path) -> None:
    metrics.write_csv([{"a": 1, "b": "x"}], tmp_path / "plots/file.csv")
    assert (tmp_path / "plots/file.csv").read_bytes() == b"a,b\n1,x\n"
