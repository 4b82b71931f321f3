"""What is tracked of one run, as it waits in the outbox."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from kiban.core.settings import leaves

MOST_VALUE = 6000  # characters of a parameter that MLflow takes


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Frozen):
    """`step` is 0, or of a figure of one batch its name without the dashes: 201311 for 2013-11."""

    name: str
    value: float
    step: int = 0


class Data(_Frozen):
    """Data that the run used: DVC's hash, and the path that DVC tracks."""

    digest: str
    path: str


class Model(_Frozen):
    """Of the model beside the run: MLflow's type of each feature, and the packages that it needs."""

    features: dict[str, str]
    requirements: list[str]


class Child(_Frozen):
    """A run nested under another one, such as a trial of a search."""

    name: str
    parameters: dict[str, str]
    metrics: list[Metric]
    tags: dict[str, str] = {}


class Run(_Frozen):
    """One run. `key` says which: what has the same key is the same run, and is delivered once.

    `at` is the time at which it was put into the outbox, in milliseconds since 1970.
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
    """The leaves of nested mappings as text, cut to the length that MLflow takes."""
    return {name: str(value)[:MOST_VALUE] for name, value in leaves(node).items()}


def metrics(node: Mapping[str, Any]) -> list[Metric]:
    """The leaves of nested mappings that are numbers, and finite ones."""
    numbers = ((name, value) for name, value in leaves(node).items() if isinstance(value, int | float))
    finite = ((name, value) for name, value in numbers if not isinstance(value, bool) and math.isfinite(value))
    return [Metric(name=name, value=float(value)) for name, value in finite]


def metrics_by_batch(by_batch: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The figures of each batch as one series a metric, `by_batch.NAME`, with the batch as its step."""
    return [
        Metric(name=f"by_batch.{metric.name}", value=metric.value, step=int(batch.replace("-", "")))
        for batch, figures in by_batch.items()
        for metric in metrics(figures)
    ]
