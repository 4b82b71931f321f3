from typing import Any

import pytest

from kiban.profile import models


@pytest.fixture
def without_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """No comparison of models, which takes most of the time and reads no file."""

    def better(columns: object, features: object, target: Any, task: Any, classes: int, by_time: bool) -> models.Choice:
        return models.Choice("linear", {"linear": models.linear(task)}, {"linear": 0.0}, len(target), [])

    monkeypatch.setattr(models, "better", better)
