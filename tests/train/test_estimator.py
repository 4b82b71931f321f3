from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slice import ROOT, prepared_rows

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.servable import columns
from kiban.tasks.task import BINARY
from kiban.train import estimator
from kiban.train.settings import Preprocessing

FEATURES = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml").features()
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression"}


@pytest.mark.parametrize("categories", ["one_hot", "ordinal"])
@pytest.mark.parametrize("numbers", ["standardize", "as_is"])
def test_preprocessing_follows_the_contract(project: Path, categories: Any, numbers: Any) -> None:
    preprocessing = Preprocessing(categories=categories, numbers=numbers)
    pipeline = estimator.pipeline(FEATURES, preprocessing, {"_target_": "sklearn.dummy.DummyClassifier"}, BINARY)
    rows = columns.frame(columns.from_arrow(prepared_rows("2013-01"), FEATURES))
    matrix = pipeline[0].fit_transform(rows)
    levels = [column.levels for column in FEATURES.values() if column.levels]
    width = sum(len(of) for of in levels) if categories == "one_hot" else len(levels)
    assert matrix.shape == (len(rows), width + len(FEATURES) - len(levels))
    assert np.isnan(matrix).any() == (numbers == "as_is")
    rows.loc[0, "dest"] = "XXX"
    unseen = pipeline[0].transform(rows)[0, :width]
    assert unseen.sum() == len(levels) - 1 if categories == "one_hot" else -1 in unseen


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"C": 1.0}, r"model\._target_: missing"),
        ({"_target_": "os.system"}, r"model\._target_: 'os.system' does not start with sklearn\."),
        ({"_target_": "sklearn.linear_model.Logistic"}, r"there is no class 'sklearn.linear_model.Logistic'"),
        ({"_target_": "sklearn.nowhere.Model"}, r"there is no class 'sklearn.nowhere.Model'"),
        ({"_target_": "sklearn.base.clone"}, "there is no class"),
        ({"_target_": "sklearn.utils.os.system"}, "there is no class"),
        ({"_target_": "sklearn.utils.Bunch"}, "is not an estimator of scikit-learn"),
        (
            {"_target_": "sklearn.linear_model.LinearRegression"},
            "is a regressor, but the task is binary classification",
        ),
        ({**LOGISTIC, "c": 1.0}, r"model\.c: LogisticRegression has no such argument"),
        ({"_target_": "sklearn.pipeline.Pipeline", "steps": 3}, "neither a classifier that gives probabilities nor"),
        (
            {"_target_": "sklearn.calibration.CalibratedClassifierCV", "estimator": {"_target_": "os.system"}},
            r"model\.estimator\._target_: 'os.system' does not start",
        ),
        (
            {"_target_": "sklearn.ensemble.VotingClassifier", "estimators": [["a", {"_target_": "builtins.eval"}]]},
            r"model\.estimators\.0\.1\._target_: 'builtins.eval'",
        ),
    ],
)
def test_nothing_but_estimators_of_scikit_learn_is_built(model: dict[str, Any], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        estimator.pipeline(FEATURES, Preprocessing(categories="ordinal", numbers="as_is"), model, BINARY)


def test_a_text_is_never_resolved() -> None:
    """As Hydra would, which runs what a resolver names."""
    text = "${oc.create:{_target_: pathlib.Path.touch}}"
    model = {"_target_": "sklearn.calibration.CalibratedClassifierCV", "estimator": {**LOGISTIC, "solver": text}}
    pipeline = estimator.pipeline(FEATURES, Preprocessing(categories="one_hot", numbers="standardize"), model, BINARY)
    assert pipeline[-1].estimator.solver == text


def test_estimators_nest() -> None:
    model = {"_target_": "sklearn.calibration.CalibratedClassifierCV", "estimator": {**LOGISTIC, "C": 0.5}}
    pipeline = estimator.pipeline(FEATURES, Preprocessing(categories="one_hot", numbers="standardize"), model, BINARY)
    assert pipeline[-1].estimator.C == 0.5
