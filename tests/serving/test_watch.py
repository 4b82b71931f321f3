"""Which models may take the place of another; the watch at work is in tests/e2e/test_swap.py."""

from typing import Any

import pytest

from kiban.contract import Column
from kiban.serving.watch import narrowed

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
            "it has its fields in another order, which CSV without a header goes by",
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
