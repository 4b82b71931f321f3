"""The threshold of a binary model, by each of the three rules, without another fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from slice import compose_here, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.servable.load import load
from kiban.train import decide, fit
from kiban.train.settings import Cost, Decision

TARGET = np.array([True, False, True, False, False])
SCORES = np.array([0.9, 0.7, 0.6, 0.2, 0.1])


def decision(**rule: object) -> Decision:
    nothing = {"threshold": None, "cost": None, "capacity": None, "calibration": None}
    return Decision.model_validate({**nothing, "interval": 0.9, **rule})


@pytest.mark.parametrize(
    ("false_positive", "false_negative", "expected"),
    [(1, 5, 0.4), (5, 1, 0.8), (1, 0, 0.95), (0, 1, 0.4)],
)
def test_by_cost_the_rows_cost_least(false_positive: float, false_negative: float, expected: float) -> None:
    chosen = decide.threshold(
        decision(cost=Cost(false_positive=false_positive, false_negative=false_negative)), TARGET, SCORES
    )
    assert chosen == pytest.approx(expected)
    costs = [
        false_positive * (~TARGET & (at <= SCORES)).sum() + false_negative * (TARGET & (at > SCORES)).sum()
        for at in np.linspace(0, 1, 101)
    ]
    label = chosen <= SCORES
    assert false_positive * (~TARGET & label).sum() + false_negative * (TARGET & ~label).sum() == min(costs)


@pytest.mark.parametrize(("capacity", "labelled"), [(0.1, 0), (0.2, 1), (0.45, 2), (0.99, 4)])
def test_by_capacity_no_larger_share_is_labelled_true(capacity: float, labelled: int) -> None:
    assert (decide.threshold(decision(capacity=capacity), TARGET, SCORES) <= SCORES).sum() == labelled


def test_equal_scores_are_labelled_alike() -> None:
    scores = np.array([0.5, 0.5, 0.5, 0.1, 0.1])
    assert (scores >= decide.threshold(decision(capacity=0.5), TARGET, scores)).sum() == 0


def test_what_is_certain_need_not_be_labelled_true() -> None:
    certain = np.repeat([1.0, 0.2], [30, 70])
    target = np.arange(100) < 3
    for rule in ({"capacity": 0.1}, {"cost": Cost(false_positive=100, false_negative=1)}):
        assert (certain >= decide.threshold(decision(**rule), target, certain)).sum() == 0
    even = np.linspace(0.01, 0.99, 100)
    assert (even >= decide.threshold(decision(capacity=0.29), target, even)).sum() == 29


class Params(Sections):
    decision: Decision


def test_one_rule_is_given(project: Path) -> None:
    for overrides in (["decision.threshold=null"], ["decision.capacity=0.1"]):
        compose_here(*overrides)
        with pytest.raises(KibanError, match="decision: give one of threshold, cost and capacity"):
            read(Params)


def test_another_rule_fits_nothing_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slice import SMALL_TREES

    def servable() -> tuple[bytes, float | None]:
        run_stage("train")
        run_stage("evaluate")
        return (paths.SERVABLE / "model.onnx").read_bytes(), load().manifest.threshold

    compose_here(*SMALL_TREES)
    before, half = servable()
    model_id = load().model_id
    monkeypatch.setattr(fit, "fit", lambda *_: pytest.fail("fitted again"))
    compose_here(*SMALL_TREES, "decision.threshold=null", "decision.cost={false_positive: 1.0, false_negative: 4.0}")
    after, chosen = servable()
    assert half == 0.5
    assert chosen is not None
    assert 0.1 < chosen < 0.4  # 1 / (1 + 4) of a model that is well calibrated
    assert after == before
    assert load().model_id != model_id
    test = json.loads(paths.EVALUATION.read_bytes())["test"]
    assert sum(test[name] for name in test if name.endswith(("positives", "negatives"))) == test["rows"]
    assert test["cost"] == pytest.approx(
        (test["false_positives"] + 4 * test["false_negatives"]) / test["rows"], abs=1e-6
    )
    compose_here(*SMALL_TREES, "decision.threshold=null", "decision.capacity=0.1")
    _, chosen = servable()
    validation = json.loads(paths.EVALUATION.read_bytes())["validation"]
    labelled = validation["true_positives"] + validation["false_positives"]
    assert labelled / validation["rows"] == pytest.approx(0.1, abs=0.01)
