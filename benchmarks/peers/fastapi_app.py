"""A good hand-written service: the same ONNX file behind FastAPI, as FastAPI's documentation shows.

It has the same validation (the contract's), warnings, counters, limit of bytes and settings of the garbage collector.
"""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from prometheus_client import Counter, Histogram

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
from kiban.request.schema import Answer, Schema
from kiban.servable.columns import from_records
from kiban.servable.load import load

ROOT = Path(__file__).parents[2]
servable = load(ROOT / "models/servable")
schema = Schema(servable.contract.features(), 1000)
Body: Any = schema.request
NULLS = {name: None for name, column in schema.features.items() if column.nullable}
requests = Counter("requests", "", ["path", "status"])
seconds = Histogram("seconds", "", ["path"])
predictions = Counter("predictions", "", ["label"])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 1000)
    yield


app = FastAPI(lifespan=lifespan, max_body_size=2_000_000)


@app.post("/predict")
async def predict(body: Body) -> Answer:
    started = perf_counter()
    records = [{**NULLS, **record} for record in body.records]
    scores = servable.score(from_records(records, schema.features))
    labels = servable.labels(scores).tolist()
    pairs = zip(scores.tolist(), labels, strict=True)
    answer = Answer(
        model_id=servable.model_id,
        predictions=[{"probability": score, "label": label} for score, label in pairs],
        warnings=schema.warnings(records, schema.unusual(records)),
    )
    for label in labels:
        predictions.labels(label).inc()
    requests.labels("/predict", 200).inc()
    seconds.labels("/predict").observe(perf_counter() - started)
    return answer
