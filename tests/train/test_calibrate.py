"""The calibration of a model on the validation rows, without another fit."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from slice import compose_here, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.servable import columns
from kiban.servable.calibration import Isotonic, calibrated
from kiban.servable.evaluation import Evaluation
from kiban.servable.load import load
from kiban.tasks.metric import Scored
from kiban.tasks.task import BINARY
from kiban.train import calibrate, fit

RANDOM = np.random.default_rng(0)
ODDS = RANDOM.normal(0, 2, 2000)
TARGET = RANDOM.random(2000) < 1 / (1 + np.exp(-0.4 * ODDS - 0.5))  # the scores below are too far from the middle
SCORES = 1 / (1 + np.exp(-ODDS))
WEIGHTS = RANDOM.integers(1, 4, 2000) / 2


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator")
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_sigmoid_is_scikit_learns(weights: np.ndarray | None) -> None:
    model = LogisticRegression(C=np.inf).fit(ODDS[:, None], RANDOM.random(2000) < SCORES)
    oracle = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(ODDS[:, None], TARGET, weights)
    scores = model.predict_proba(ODDS[:, None])[:, 1]
    ours = calibrated(scores, calibrate.fitted("sigmoid", TARGET, scores, weights))
    np.testing.assert_allclose(ours, oracle.predict_proba(ODDS[:, None])[:, 1], atol=2e-4)


def test_isotonic_goes_through_the_middle_of_each_step() -> None:
    (line,) = calibrate.fitted("isotonic", TARGET, SCORES, WEIGHTS)
    single = SCORES.astype(np.float32).astype(float)
    steps = IsotonicRegression(y_min=0, y_max=1).fit(single, TARGET, WEIGHTS).predict(single).round(12)
    assert isinstance(line, Isotonic)
    np.testing.assert_allclose(line.probabilities, np.unique(steps))
    for value, middle in zip(line.probabilities, line.scores, strict=True):
        rows = steps == value
        assert middle == pytest.approx(np.average(SCORES[rows], weights=WEIGHTS[rows]), rel=1e-6)


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
def test_calibrated_probabilities_are_the_shares_of_rows_to_come(kind: calibrate.Kind) -> None:
    old, new = slice(0, 1000), slice(1000, 2000)
    ours = calibrated(SCORES[new], calibrate.fitted(kind, TARGET[old], SCORES[old], None))
    brier = BINARY.metrics["brier"].value
    assert brier(Scored(TARGET[new], ours).weighted()) < brier(Scored(TARGET[new], SCORES[new]).weighted()) - 0.02
    assert (np.diff(ours[np.argsort(SCORES[new])]) >= 0).all()  # and in the same order


def test_what_is_chosen_by_a_row_is_not_calibrated_by_it() -> None:
    folds = calibrate.folds_of([2000])
    assert np.bincount(folds).tolist() == [400] * 5
    before = calibrate.cross_fitted("isotonic", TARGET, SCORES, None, folds)
    after = calibrate.cross_fitted("isotonic", np.where(folds == 3, ~TARGET, TARGET), SCORES, None, folds)
    np.testing.assert_array_equal(before[folds == 3], after[folds == 3])
    assert (before[folds == 2] != after[folds == 2]).any()
    assert calibrate.folds_of([2, 1, 3]).tolist() == [0, 0, 1, 2, 2, 2]


def test_classes_sum_to_one_and_one_without_rows_stays_as_it_is() -> None:
    scores = RANDOM.dirichlet(np.ones(3), 300)
    target = np.where(RANDOM.random(300) < scores[:, 0], 0, 4)
    fitted = calibrate.fitted("sigmoid", target, scores, None, [0, 2, 4])
    assert fitted[1] is None
    answers = calibrated(scores, fitted)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    np.testing.assert_array_equal(calibrated(np.zeros((1, 2)), [None, None]), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("scores", "probabilities"), [([0.1, 0.1], [0, 1]), ([0.1, 0.2], [0.5, 0.4]), ([0.1], [2]), ([0.1, 0.2], [1])]
)
def test_a_line_that_is_none_is_refused(scores: list[float], probabilities: list[float]) -> None:
    with pytest.raises(ValidationError):
        Isotonic(scores=scores, probabilities=[float(each) for each in probabilities])


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
def test_a_calibration_is_another_servable_of_the_same_model(
    project: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, content = load(), paths.MODEL.read_bytes()
    compose_here("model.min_samples_leaf=50", "model.max_iter=20", f"decision.calibration={kind}")
    monkeypatch.setattr(fit, "fit", None)  # it would fail
    run_stage("train")
    after = load()
    assert paths.MODEL.read_bytes() == content
    assert after.model_id != before.model_id
    assert after.manifest.format == "onnx"
    rows = columns.from_arrow(pq.read_table("data/prepared/flights/2013-02.parquet"), after.contract.features())
    assert after.manifest.calibration is not None
    np.testing.assert_array_equal(after.score(rows), calibrated(before.score(rows), after.manifest.calibration))
    run_stage("evaluate")
    report = Evaluation.model_validate_json(paths.EVALUATION.read_bytes())
    assert report.validation["mean_prediction"] == pytest.approx(report.validation["base_rate"], abs=0.01)


def test_a_number_is_not_calibrated(project: Path) -> None:
    path = paths.prepared_contract("flights")
    text = path.read_text().replace("late:\n    type: boolean\n    role: target", "late:\n    type: boolean")
    path.write_text(text.replace("distance: {type: integer, role: feature", "distance: {type: integer, role: target"))
    compose_here(
        "model._target_=sklearn.ensemble.HistGradientBoostingRegressor",
        "model.max_iter=5",
        "decision.calibration=sigmoid",
    )
    with pytest.raises(KibanError, match=r"decision\.calibration: only probabilities are calibrated"):
        run_stage("train")
