"""The pictures of a report: what was before is grey and lies beneath, what is after is blue."""

from typing import Any

from kiban.track import plots

SPECIFICATION: dict[str, Any] = {
    "data": {"values": [{"x": "1", "rev": "workspace"}, {"x": "2", "rev": "main"}]},
    "encoding": {
        "color": {"field": "rev", "scale": {"domain": ["workspace", "main"], "range": ["#945dd6", "#13adc7"]}},
        "x": {"field": "x", "type": "quantitative"},
        "tooltip": [{"field": "rev"}, {"field": "x"}],
    },
}


def test_revisions_are_called_before_and_after_in_fixed_colours() -> None:
    drawn = plots.before_and_after({"title": SPECIFICATION}, "main")["title"]
    assert drawn["data"]["values"] == [{"x": "2", "rev": "before"}, {"x": "1", "rev": "after"}]
    assert drawn["encoding"]["color"]["scale"] == {"domain": ["before", "after"], "range": ["#9aa0a6", "#0969da"]}
    assert drawn["encoding"]["x"] == SPECIFICATION["encoding"]["x"]
    assert drawn["encoding"]["tooltip"] == SPECIFICATION["encoding"]["tooltip"]
