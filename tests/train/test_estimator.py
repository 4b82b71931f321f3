from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slice import ROOT, prepared_rows

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.contract import Column
from kiban.servable import columns, skops_file
from kiban.servable.load import answers_of
from kiban.tasks.task import BINARY
from kiban.train import estimator, fit
from kiban.train.settings import Preprocessing

FEATURES = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml").features()
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression"}


@pytest.mark.parametrize("categories", ["one_hot", "ordinal"])
@pytest.mark.parametrize("numbers", ["standardize", "impute", "as_is"])
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


LINEAR = {"_target_": "sklearn.linear_model.LogisticRegression"}
TREE = {"_target_": "sklearn.tree.DecisionTreeClassifier", "max_depth": 3}
SAVED: list[tuple[str, dict[str, Any]]] = [
    ("ensemble.HistGradientBoostingClassifier", {"max_iter": 5}),
    ("ensemble.RandomForestClassifier", {"n_estimators": 5}),
    ("ensemble.ExtraTreesClassifier", {"n_estimators": 5}),
    ("ensemble.GradientBoostingClassifier", {"n_estimators": 5}),
    ("ensemble.AdaBoostClassifier", {"n_estimators": 5}),
    ("ensemble.BaggingClassifier", {"n_estimators": 3}),
    ("ensemble.VotingClassifier", {"estimators": [["a", LINEAR], ["b", TREE]], "voting": "soft"}),
    ("ensemble.StackingClassifier", {"estimators": [["a", LINEAR], ["b", TREE]]}),
    ("calibration.CalibratedClassifierCV", {"estimator": TREE}),
    ("linear_model.LogisticRegression", {}),
    ("discriminant_analysis.LinearDiscriminantAnalysis", {}),
    ("naive_bayes.GaussianNB", {}),
    ("neural_network.MLPClassifier", {"max_iter": 20}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("neighbors.KNeighborsClassifier", {}),
    ("model_selection.GridSearchCV", {"estimator": LINEAR, "param_grid": {"C": [0.1, 1.0]}}),
    ("model_selection.TunedThresholdClassifierCV", {"estimator": LINEAR}),
    ("pipeline.Pipeline", {"steps": [["s", {"_target_": "sklearn.preprocessing.SplineTransformer"}], ["l", LINEAR]]}),
]


def of_kind(kind: str, arguments: dict[str, Any], length: int) -> tuple[Any, columns.Columns, Any]:
    """A pipeline with this estimator, and rows to fit it to."""
    random = np.random.default_rng(0)
    features = {f"x{number}": Column(type="number", role="feature", description="x") for number in range(4)}
    rows = {name: random.normal(size=length).astype(np.float32) for name in features}
    settings = Preprocessing(categories="one_hot", numbers="standardize")
    model = estimator.pipeline(features, settings, {"_target_": f"sklearn.{kind}", **arguments}, BINARY)
    return model, rows, rows["x0"] + rows["x1"] > 0


@pytest.mark.parametrize(("kind", "arguments"), SAVED, ids=[kind for kind, _ in SAVED])
def test_usual_classifiers_are_saved_and_answer_the_same(kind: str, arguments: dict[str, Any]) -> None:
    model, rows, target = of_kind(kind, arguments, 300)
    fit.check_saved(model, BINARY, rows, target)
    fit.fit(model, BINARY, rows, target)
    loaded = skops_file.loads(skops_file.dumps(model), "the model")
    assert (answers_of(loaded, rows, "binary") == answers_of(model, rows, "binary")).all()


@pytest.mark.parametrize(("kind", "arguments"), REFUSED, ids=[kind for kind, _ in REFUSED])
def test_what_may_not_be_saved_is_known_before_the_fit(kind: str, arguments: dict[str, Any]) -> None:
    model, rows, target = of_kind(kind, arguments, 300)
    with pytest.raises(KibanError, match="holds types that are not trusted"):
        fit.check_saved(model, BINARY, rows, target)
    assert not hasattr(model[-1], "classes_")
