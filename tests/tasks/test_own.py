"""A metric of the team's own: from its file to the gate. The file is the example of the documentation."""

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from slice import ROOT, SMALL_TREES, compose_here, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.tasks import own
from kiban.tasks.metric import Scored

MINE = "from kiban.tasks.metric import Metric\n"
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of the room of own metrics."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    monkeypatch.setattr(importlib.import_module(own.ROOM), "__path__", [str(folder)])

    def write(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)
        own._own.cache_clear()

    own._own.cache_clear()
    yield write
    own._own.cache_clear()
    for name in [name for name in sys.modules if name.startswith(f"{own.ROOM}.")]:
        del sys.modules[name]


def example() -> str:
    """The module that docs/your-data.md shows."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/your-data.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "METRIC = " in block]
    return block


def test_the_example_of_the_page_is_measured_and_judged(project: Path, write: Write) -> None:
    write("top_tenth", example())
    compose_here(*SMALL_TREES, "gate.metric=top_tenth", "gate.threshold=0.3")
    run_stage("config")
    run_stage("evaluate")
    report = json.loads(paths.EVALUATION.read_bytes())
    assert report["test"]["base_rate"] < report["test"]["top_tenth"] <= 1
    assert report["gate"] == {
        "metric": "top_tenth",
        "split": "test",
        "threshold": 0.3,
        "value": report["test"]["top_tenth"],
        "passed": report["test"]["top_tenth"] >= 0.3,
        "greater_is_better": True,
    }


def test_the_example_counts_the_tenth_with_the_highest_scores(write: Write) -> None:
    write("top_tenth", example())
    metric = own.every_metric()["top_tenth"]
    target = np.arange(100) >= 95
    assert metric.value(Scored(target, np.linspace(0, 1, 100)).weighted()) == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nosuch", r"src/kiban/metrics/mine\.py: No module named 'nosuch'"),
        ("TASK = 'binary'", r"src/kiban/metrics/mine\.py: it needs METRIC"),
        (
            f"{MINE}TASK = 'ranking'\nMETRIC = Metric('x', 'x', True, lambda rows: 1.0)",
            "TASK, one of binary, multiclass, regression",
        ),
        (
            f"{MINE}TASK = 'binary'\nMETRIC = Metric('mae', 'x', True, lambda rows: 1.0)",
            r"mine\.py: there is another metric mae: rename it",
        ),
    ],
)
def test_a_module_without_a_metric_is_said(write: Write, text: str, message: str) -> None:
    write("mine", text)
    with pytest.raises(KibanError, match=message):
        own.every_metric()
