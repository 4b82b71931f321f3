"""Which models may take the place of another; the watch at work is in tests/e2e/test_swap.py."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION, SERVABLE
from kiban.core.settings import Sections, read
from kiban.data.contract import Column
from kiban.request.replaces import narrowed
from kiban.servable.load import load
from kiban.serve import accepted
from kiban.serve import watch as serve_watch
from kiban.serve.app import create_app, ready
from kiban.serve.model import Served
from kiban.serve.settings import Serving
from kiban.serve.watch import Watch


class Params(Sections):
    serving: Serving


LEVELS: dict[str, Any] = {"type": "string", "levels": ["EWR", "JFK"]}
RANGE: dict[str, Any] = {"type": "number", "min": 0, "max": 10}


def feature(**given: Any) -> Column:
    return Column(**{"role": "feature", "description": "", "type": "number", **given})


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ({"a": {}}, {"a": {}}, None),
        ({"a": {}}, {"a": {"nullable": True}}, None),
        ({"a": {"nullable": True}}, {"a": {}}, "it requires a"),
        ({"a": {}}, {"a": {}, "b": {}}, "it requires b"),
        ({"a": {}}, {"a": {}, "b": {"nullable": True}}, None),
        ({"a": {}, "b": {}}, {"a": {}}, "it has no field b"),
        (
            {"a": {}, "b": {}},
            {"b": {}, "a": {}},
            "it has its fields in another order, on which CSV without a header depends",
        ),
        ({"a": {"type": "integer"}}, {"a": {}}, None),
        ({"a": {}}, {"a": {"type": "integer"}}, "a is of type integer, not number"),
        ({"a": {"unit": "minutes"}}, {"a": {"unit": "hours"}}, "a has the unit hours, not minutes"),
        ({"a": LEVELS}, {"a": {**LEVELS, "levels": ["EWR", "JFK", "LGA"]}}, None),
        ({"a": LEVELS}, {"a": {**LEVELS, "levels": ["EWR"]}}, "a has fewer levels"),
        ({"a": LEVELS}, {"a": {**LEVELS, "levels": ["EWR"], "unseen": "warn"}}, None),
        ({"a": {**LEVELS, "unseen": "warn"}}, {"a": LEVELS}, "a has fewer levels"),
        ({"a": RANGE}, {"a": {**RANGE, "min": -1, "max": 11}}, None),
        ({"a": RANGE}, {"a": {}}, None),
        ({"a": RANGE}, {"a": {**RANGE, "min": 1}}, "a has a smaller range"),
        ({"a": RANGE}, {"a": {**RANGE, "max": 9}}, "a has a smaller range"),
        ({"a": RANGE}, {"a": {**RANGE, "max": 9, "out_of_range": "warn"}}, None),
        ({"a": {**RANGE, "out_of_range": "warn"}}, {"a": RANGE}, "a has a smaller range"),
        ({"a": {}}, {"a": RANGE}, "a has a smaller range"),
    ],
)
def test_a_model_takes_the_place_of_one_whose_requests_it_takes(
    old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]], problem: str | None
) -> None:
    columns = [{name: feature(**given) for name, given in each.items()} for each in (old, new)]
    assert list(narrowed(*columns)) == ([problem] if problem else [])


def test_a_refusal_is_tried_again_after_a_while(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The machine may have been slow, or `git fetch` may have brought the commit that names the model."""
    monkeypatch.setenv(accepted.FOLDER, str(tmp_path))
    monkeypatch.setattr(serve_watch, "RETRY_SECONDS", 0.2)
    limits = read(Params).serving
    app = create_app(False)
    refusals = iter([False, True, True, True, True])  # at the start, then three times that the watch tries

    def examine(_: Path) -> None:
        if next(refusals, False):
            raise KibanError("not yet")

    watch = Watch(
        examine, lambda folder: ready(Served(load(folder), limits, EVALUATION), app, False), SERVABLE, EVALUATION, 0.01
    )
    with caplog.at_level("ERROR", logger="bentoml.kiban"):
        asyncio.run(until_another_answers(watch))
    assert next(refusals, None) is None
    assert [record.getMessage().rsplit(": ", 1)[1] for record in caplog.records] == ["not yet"]


async def until_another_answers(watch: Watch) -> None:
    before = watch.answering
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        while watch.answering is before:
            await asyncio.sleep(0.01)
    running.cancel()


def test_a_disk_that_was_full_is_tried_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(accepted.FOLDER, str(tmp_path))
    limits = read(Params).serving
    app = create_app(False)
    watch = Watch(
        lambda _: None,
        lambda folder: ready(Served(load(folder), limits, EVALUATION), app, False),
        SERVABLE,
        EVALUATION,
        0.01,
    )
    keep, tries = accepted.keep, iter(range(4))

    def full_at_first(copied: Path, model_id: str) -> None:
        if next(tries, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(copied, model_id)

    monkeypatch.setattr(accepted, "keep", full_at_first)

    with caplog.at_level("ERROR", logger="bentoml.kiban"):
        asyncio.run(until_another_answers(watch))
    assert next(tries, None) is None
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "OSError: [Errno 28] No space left on device"
    ]
