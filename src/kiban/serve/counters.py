"""The metrics that Prometheus reads at /metrics: series by route, status, label and field, of limited number."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as Series
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from kiban.request.schema import Places
from kiban.serve import released

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

requests = Series("kiban_requests", "Requests that were answered", ["path", "status"])
seconds = Histogram(
    "kiban_request_seconds", "Seconds from a request's headers to its answer", ["path"], buckets=SECONDS
)
predictions = Series("kiban_predictions", "Predictions that were made", ["label"])
warnings = Series("kiban_warnings", "Values that the contract warns about, in records that were answered", ["field"])

swaps = Series("kiban_swaps", "Servables that were taken or refused while the service ran", ["outcome"])
logged = Series("kiban_logged_predictions", "Predictions that were written to the prediction log")
log_copies = Series("kiban_log_copies", "Files of the prediction log that were copied to the store", ["outcome"])
log_lost = Series("kiban_unlogged_predictions", "Predictions that could not be written to the prediction log")


def count(answered: Sequence[Mapping[str, Any]], unusual: Places) -> None:
    """Count predictions by their label, which is `number` if they have none, and unusual values by their field."""
    labels = Counter(prediction.get("label", "number") for prediction in answered)
    for label, number in labels.items():
        predictions.labels(str(label).lower() if isinstance(label, bool) else label).inc(number)
    for _, name in unusual:
        warnings.labels(name).inc()


class Cycles(Collector):
    """When the last cycle was started, and when the next one is overdue, as the release folder says."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        folder = os.environ.get(released.FOLDER)
        last = released.last_cycle(Path(folder)) if folder else None
        times = {
            "kiban_last_cycle_seconds": ("The time at which the last cycle was started", last and last.started),
            "kiban_cycle_overdue_seconds": ("The time from which on the next cycle is overdue", last and last.overdue),
        }
        for name, (text, time) in times.items():
            if time:
                yield GaugeMetricFamily(name, text, time.timestamp())


REGISTRY.register(Cycles())


def exposition() -> bytes:
    """All series in Prometheus' text format, summed over the workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # `bentoml serve` sets it for its workers
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(Cycles())
    return generate_latest(registry)
