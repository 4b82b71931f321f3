"""What waits to be logged is bounded; the log at work is in tests/e2e/test_prediction_log.py."""

import gzip
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import http_cases
import pytest
from slice import KNOWN_FLIGHT

from kiban.core.paths import EVALUATION
from kiban.core.settings import Sections, read
from kiban.servable.load import load
from kiban.serve import prediction_log
from kiban.serve.model import Served
from kiban.serve.prediction_log import PredictionLog
from kiban.serve.settings import Log, Serving

SETTINGS = Log(share=1.0, max_file_bytes=1_000_000, max_bytes=10_000_000)
LARGE = {"carrier": "x" * 100_000}


def add(log: PredictionLog, records: int, of: dict[str, str]) -> None:
    served = cast(Served, SimpleNamespace(model_id="a model", personal=frozenset()))
    log.add("an id", served, [of] * records, [{"probability": 0.5, "label": True}] * records, [])


def test_what_waits_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 1_000_000)
    log = PredictionLog(tmp_path / "log", SETTINGS, workers=1)
    for _ in range(100):
        add(log, 1, LARGE)
    assert len(log.waiting) == 9
    log.start()
    log.close()
    (file,) = (tmp_path / "log").iterdir()
    assert len(file.read_text().splitlines()) == 9


def test_one_request_is_logged_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 1_000_000)
    log = PredictionLog(tmp_path / "log", SETTINGS, workers=1)
    add(log, 20, LARGE)
    assert len(log.waiting) == 1
    log.start()
    log.close()
    (file,) = (tmp_path / "log").iterdir()
    assert file.stat().st_size > 2_000_000


class Params(Sections):
    serving: Serving


def test_refusals_are_counted_by_their_fields_and_without_values(project: Path) -> None:
    served = Served(load(), read(Params).serving, EVALUATION)
    with http_cases.logging_client(served) as (client, log):
        for record in ({**KNOWN_FLIGHT, "origin": "a secret"}, {**KNOWN_FLIGHT, "a secret": 1}, KNOWN_FLIGHT):
            for _ in range(2):
                client.post("/predict", json={"records": [record]})
        client.post("/predict", content="{", headers={"content-type": "application/json"})
        client.get("/nowhere")
        log.start()
        log.close()
    (file,) = log.folder.iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    refused = [line["refused"] for line in lines if "refused" in line]
    assert refused == [
        [
            {"model_id": served.model_id, "status": 422, "fields": ["origin"], "requests": 2},
            {"model_id": served.model_id, "status": 422, "fields": [], "requests": 2},
            {"model_id": served.model_id, "status": 400, "fields": [], "requests": 1},
        ]
    ]
    assert len(lines) == 3
    assert "secret" not in file.read_text()


def test_files_are_copied_when_nothing_is_written_to_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """tests/e2e/test_prediction_log.py has two services and a real store."""
    caplog.set_level("INFO", "bentoml.kiban")
    store = tmp_path / "store"
    store.write_text("in the way: this is no folder")
    log = PredictionLog(tmp_path / "log", SETTINGS.model_copy(update={"copy_seconds": 1.0}), 1, str(store))
    log.start()
    add(log, 1, {"carrier": "UA"})
    ends = time.monotonic() + 30
    while "cannot be written" not in caplog.text and time.monotonic() < ends:
        time.sleep(0.05)
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "log/20130101T000000.000000Z-notes.jsonl").write_text("of another program\n")
    store.unlink()
    while not store.is_dir() and time.monotonic() < ends:
        time.sleep(0.05)
    add(log, 1, {"carrier": "DL"})
    log.close()
    copies = [gzip.decompress(path.read_bytes()).decode() for path in sorted(store.rglob("*.gz"))]
    assert "".join(copies).count("an id") == 2
    assert {path.suffixes[-1] for path in store.rglob("*") if path.is_file()} == {".gz"}
