"""What waits to be logged is bounded; the log at work is in tests/e2e/test_prediction_log.py."""

from pathlib import Path

import pytest

from kiban.serve import prediction_log
from kiban.serve.prediction_log import PredictionLog
from kiban.serve.settings import Log

SETTINGS = Log(share=1.0, leave_out=[], max_file_bytes=1_000_000, max_bytes=10_000_000)
LARGE = {"carrier": "x" * 100_000}


def add(log: PredictionLog, records: int, of: dict[str, str]) -> None:
    log.add("an id", "a model", [of] * records, [{"probability": 0.5, "label": True}] * records, [])


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
