"""The metrics that can be named: those of the tasks, and the team's own, in src/kiban/metrics/."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from kiban.core.errors import KibanError, one_line
from kiban.tasks.metric import Metric
from kiban.tasks.task import METRICS, TASKS, Name, Task

ROOM = "kiban.metrics"


def metrics_of(task: Task) -> Mapping[str, Metric]:
    """The metrics of a task by name, its own last. Raises KibanError if a module of the team's has none."""
    return {**task.metrics, **{name: metric for name, (of, metric) in _own().items() if of == task.name}}


def every_metric() -> Mapping[str, Metric]:
    """The metrics of all tasks by name. Raises KibanError if a module of the team's has none."""
    return {**METRICS, **{name: metric for name, (_, metric) in _own().items()}}


@cache
def _own() -> Mapping[str, tuple[Name, Metric]]:
    """The team's own metrics by name, each with its task."""
    metrics: dict[str, tuple[Name, Metric]] = {}
    for module in pkgutil.iter_modules(importlib.import_module(ROOM).__path__):
        task, metric = _read(module.name)
        if metric.name in METRICS or metric.name in metrics:
            raise KibanError(f"src/kiban/metrics/{module.name}.py: there is another metric {metric.name}: rename it")
        metrics[metric.name] = task, metric
    return metrics


def _read(name: str) -> tuple[Name, Metric]:
    where = f"src/kiban/metrics/{name}.py"
    try:
        module = importlib.import_module(f"{ROOM}.{name}")
    except Exception as error:  # it is the team's code
        raise KibanError(f"{where}: {one_line(error)}") from None
    task, metric = TASKS.get(getattr(module, "TASK", None)), getattr(module, "METRIC", None)  # type: ignore[arg-type]
    if task is None or not isinstance(metric, Metric):
        raise KibanError(f"{where}: it needs METRIC, a kiban.tasks.metric.Metric, and TASK, one of {', '.join(TASKS)}")
    return task.name, metric
