"""The record of a tracked run, in the form in which it waits in the outbox."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from kiban.core.settings import leaves
from kiban.data.batches import step

MOST_VALUE = 6000  # characters, MLflow's limit for the value of a parameter


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Frozen):
    """A metric. `step` is 0, or for a metric of one batch the batch's name without dashes: 201311 for 2013-11."""

    name: str
    value: float
    step: int = 0


class Data(_Frozen):
    """A file or folder of data that the run used: its hash in DVC, and its path."""

    digest: str
    path: str


class Model(_Frozen):
    """A description of the run's model: MLflow's type of each feature, and the packages that it needs.

    The model of a regression gives (y - offset) / scale.
    """

    features: dict[str, str]
    requirements: list[str]
    is_regression: bool = False
    offset: float = 0.0
    scale: float = 1.0


class Child(_Frozen):
    """A run that is nested in another, such as a trial of a search."""

    name: str
    parameters: dict[str, str]
    metrics: list[Metric]
    tags: dict[str, str] = {}


class Run(_Frozen):
    """One run. Records with the same `key` are the same run, which is delivered once.

    `at` is the time at which the run was put into the outbox, in milliseconds since 1970.
    """

    key: str
    at: int
    experiment: str
    name: str
    parameters: dict[str, str]
    metrics: list[Metric]
    tags: dict[str, str]
    data: list[Data] = []
    model: Model | None = None
    children: list[Child] = []


def parameters(node: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of nested mappings as text, cut to MLflow's limit of characters."""
    return {name: str(value)[:MOST_VALUE] for name, value in leaves(node).items()}


def metrics(node: Mapping[str, Any]) -> list[Metric]:
    """The leaves of nested mappings that are finite numbers."""
    numbers = ((name, value) for name, value in leaves(node).items() if isinstance(value, int | float))
    finite = ((name, value) for name, value in numbers if not isinstance(value, bool) and math.isfinite(value))
    return [Metric(name=name, value=float(value)) for name, value in finite]


def metrics_by_batch(by_batch: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The figures of each batch as a series for each metric, `by_batch.NAME`, with the batch as the step.

    The step of the static batch is 0, and that of a delivery its number.
    """
    steps = {batch: step(batch) for batch in by_batch}
    return [
        Metric(name=f"by_batch.{metric.name}", value=metric.value, step=steps[batch])
        for batch, figures in by_batch.items()
        for metric in metrics(figures)
    ]
