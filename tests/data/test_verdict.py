from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.data import verdict


def test_the_verdict_of_a_stage_is_read_back(project: Path) -> None:
    raw = verdict.read("raw")
    assert list(raw.accepted) == ["flights", "weather", "planes"]
    assert raw.reasons() == raw.rejected == {}


@pytest.mark.parametrize("text", [None, "", '{"accepted": {}}'])
def test_no_verdict_is_no_right_to_go_on(project: Path, text: str | None) -> None:
    path = Path("reports/validation/raw/verdict.json")
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(KibanError, match="missing or not a verdict: run `dvc repro`"):
        verdict.read("raw")
