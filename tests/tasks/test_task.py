"""What holds for every task."""

import numpy as np
import pytest

from kiban.data.contract import Column
from kiban.tasks.metric import Scored, Scores, Target, Terms
from kiban.tasks.task import BINARY, METRICS, MULTICLASS, REGRESSION, TASKS, Task, task_of

ROWS = 50


@pytest.mark.parametrize(
    ("column", "task"),
    [
        ({"type": "boolean"}, BINARY),
        ({"type": "string", "levels": [">50K", "<=50K"], "positive": ">50K"}, BINARY),
        ({"type": "integer", "positive": 2}, BINARY),
        ({"type": "string", "levels": ["a", "b", "c"]}, MULTICLASS),
        ({"type": "integer"}, REGRESSION),
        ({"type": "number"}, REGRESSION),
    ],
)
def test_the_target_says_which_task_it_is(column: dict[str, object], task: Task) -> None:
    assert task_of(Column.model_validate({"description": "", "role": "target", **column})) is task


def rows_of(task: Task) -> tuple[Target, Scores]:
    random = np.random.default_rng(0)
    if task is MULTICLASS:
        return random.integers(0, 3, ROWS), random.dirichlet(np.ones(3), ROWS)
    scores = random.random(ROWS)
    return (random.random(ROWS) < scores if task is BINARY else scores + random.normal(0, 0.1, ROWS)), scores


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_skill_of_the_baseline_is_nothing_and_that_of_the_truth_is_all(task: Task) -> None:
    target, scores = rows_of(task)
    baseline = task.baseline(target, 3)
    skill = task.metrics["skill"].value
    assert skill(Scored(target, np.broadcast_to(baseline, scores.shape), terms=Terms(baseline)).weighted()) == 0
    truth = np.eye(3)[target] if task is MULTICLASS else target.astype(np.float64)
    assert skill(Scored(target, truth, terms=Terms(baseline)).weighted()) == pytest.approx(1)
    assert 0 < skill(Scored(target, truth * 0.9 + baseline * 0.1, terms=Terms(baseline)).weighted()) < 1


def test_metrics_of_one_name_have_one_direction_and_one_label() -> None:
    for task in TASKS.values():
        for name, metric in task.metrics.items():
            assert (metric.name, metric.label, metric.greater_is_better) == (
                name,
                METRICS[name].label,
                METRICS[name].greater_is_better,
            )
        assert {*task.compared, task.importance.name} <= set(task.metrics)
