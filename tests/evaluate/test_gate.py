"""The rules of the gate, on simulated days whose truth is known."""

import numpy as np
import numpy.typing as npt
import pytest

from kiban.evaluate import bootstrap, gate
from kiban.evaluate.gate import CALIBRATION_ERROR, Judged, Rule
from kiban.evaluate.settings import Gate, Rules
from kiban.tasks.binary import BRIER, ROC_AUC
from kiban.tasks.metric import Cost, Scored, Terms
from kiban.tasks.task import TASKS

DAYS, ROWS = 60, 100
DAY = np.repeat(np.arange(DAYS), ROWS)
GATE = Gate(metric="roc_auc", split="test", threshold=0.7, minimum_change=0.002, cluster="day")
RULES = Rules(latency=1.5, calibration_loss=0.01, slices=["origin"], slice_rows=500, slice_loss=0.01)
Floats = npt.NDArray[np.float64]


def logistic(values: Floats) -> Floats:
    scores: Floats = 1 / (1 + np.exp(-values))
    return scores


@pytest.fixture(scope="module")
def world() -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """The target, the log-odds that it was drawn by, and noise to add to them."""
    random = np.random.default_rng(1)
    known, noise = random.standard_normal((2, DAYS * ROWS))
    return random.random(len(DAY)) < logistic(known - 1), known - 1, noise


def decisions(rules: list[Rule]) -> dict[str, str]:
    return {rule.name: rule.decision for rule in rules}


def test_a_better_model_passes_and_a_like_one_does_not(
    world: tuple[npt.NDArray[np.bool_], Floats, Floats],
) -> None:
    target, known, noise = world
    masks = {f"origin {name}": np.arange(len(DAY)) % 3 == index for index, name in enumerate("ABC")}
    worse, better = Scored(target, logistic(known + noise)), Scored(target, logistic(known))
    judged = decisions(gate.beside(GATE, ROC_AUC, RULES, worse, better, DAY, masks))
    assert set(judged.values()) == {"passed"}
    assert judged.keys() >= {"better", "calibration"}
    assert decisions(gate.beside(GATE, ROC_AUC, RULES, better, better, DAY, masks))["better"] == "refused"
    judged = decisions(gate.beside(GATE, ROC_AUC, RULES, better, worse, DAY, masks))
    assert judged == {
        "better": "refused",
        "calibration": "refused",
        **dict.fromkeys(("slice origin A", "slice origin B", "slice origin C"), "refused"),
    }


def test_a_model_that_loses_in_one_slice_is_refused_by_its_name(
    world: tuple[npt.NDArray[np.bool_], Floats, Floats],
) -> None:
    target, known, noise = world
    of_c = np.arange(len(DAY)) % 3 == 2
    masks = {"origin C": of_c, "origin others": ~of_c, "origin small": np.arange(len(DAY)) < 400}
    before = Scored(target, logistic(known + noise * ~of_c * 1.5))
    after = Scored(target, logistic(known + noise * of_c))
    judged = gate.beside(GATE, ROC_AUC, RULES, before, after, DAY, masks)
    assert decisions(judged) == {"better": "passed", "calibration": "passed", "slice origin C": "refused"}
    assert "2 slices" in judged[-1].figure  # one has too few rows
    (none,) = gate.slices(ROC_AUC, RULES, before, after, DAY, {})
    assert none.decision == "not applicable"


def test_one_refusal_decides_unless_a_person_overrides_it() -> None:
    assert gate.floor(GATE, ROC_AUC, 0.7).decision == "passed"
    assert gate.floor(GATE, ROC_AUC, None).decision == "refused"
    assert gate.prior(BRIER, 0.2, 0.19).decision == "refused"  # less is better
    assert gate.latency(RULES, 1.6).decision == "refused"
    judged = Judged(rules=(gate.floor(GATE, ROC_AUC, 0.8), gate.latency(RULES, 1.6)))
    assert (judged.passed, judged.state) == (False, "refused")
    assert judged.model_copy(update={"override": "a reason"}).state == "refused, overridden"
    assert Judged.model_validate_json(judged.model_dump_json()) == judged


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_many_draws_at_once_are_what_each_draw_is(name: str, weighted: bool) -> None:
    random = np.random.default_rng(2)
    rows, clusters = 400, random.integers(7, size=400)
    if name == "multiclass":
        target, scores = random.integers(3, size=rows), random.dirichlet(np.ones(3), rows).round(2)
    else:
        scores = random.random(rows).round(1)  # with ties
        target = scores + random.normal(0, 0.3, rows)
        target = target > 0.5 if name == "binary" else target
    scored = Scored(target, scores, random.random(rows) if weighted else None)
    times = np.stack([*bootstrap._counts(7, 20), np.eye(7)[0]])
    for metric in (*TASKS[name].metrics.values(), CALIBRATION_ERROR):  # type: ignore[index]
        if metric.drawn:
            each = [metric.value(scored.weighted(counts[clusters])) for counts in times]
            assert metric.drawn(scored, clusters)(times) == pytest.approx(each, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_of_every_task_can_be_the_gates(name: str) -> None:
    random = np.random.default_rng(3)
    task = TASKS[name]  # type: ignore[index]
    scores = random.dirichlet(np.ones(3), 600) if name == "multiclass" else random.random(600)
    target = random.integers(3, size=600) if name == "multiclass" else random.random(600)
    target = target > 0.5 if name == "binary" else target
    terms = Terms(task.baseline(target, 3), 0.5, Cost(1, 2))
    rows = Scored(target, scores, None, terms)
    clusters = np.arange(600) // 20
    for metric in task.metrics.values():
        settings = GATE.model_copy(update={"metric": metric.name})
        judged = gate.beside(settings, metric, RULES, rows, rows, clusters, {"all": np.ones(600, np.bool_)})
        assert decisions(judged) == {"better": "refused", "calibration": "passed", "slice all": "passed"}
        assert metric.label in judged[0].figure
