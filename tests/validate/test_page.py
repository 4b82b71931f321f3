import re
from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.data.verdict import Finding, Verdict
from kiban.validate.conclude import conclude
from kiban.validate.page import page

BAD = Finding(
    table="flights",
    batch="2013-02",
    column="origin",
    expectation="expect_column_values_to_be_in_set(value_set=['EWR', 'JFK', 'LGA'])",
    severity="reject",
    rows=1234,
    observed=None,
    examples=[{"origin": "<script>", "flight": "7"}],
)
VERDICT = Verdict(
    accepted={"flights": {"2013-01": "ab"}},
    rejected={"flights": {"2013-02": "cd"}},
    expectations={"flights": 40},
    findings=[BAD],
)


def test_the_page_loads_nothing_and_escapes_values() -> None:
    html = page(VERDICT, "flights")
    assert not re.search(r"https?:|src=|@import|url\(", html)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'class="passed">2013-01' in html
    assert 'class="rejected">2013-02' in html


def test_a_rejection_is_written_printed_and_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KibanError, match="flights 2013-02 did not pass validation"):
        conclude(VERDICT, "raw", "flights", "stop")
    printed = capsys.readouterr().err
    for shown in ("2013-02", "origin", "1,234", "origin=<script>, flight=7"):
        assert shown in printed
    assert max(len(line) for line in printed.splitlines()) <= 100
    written = {path.name: path.read_bytes() for path in Path("reports/validation/raw").iterdir()}
    with pytest.raises(KibanError):
        conclude(VERDICT, "raw", "flights", "stop")
    assert {path.name: path.read_bytes() for path in Path("reports/validation/raw").iterdir()} == written


def test_a_warning_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    warning = BAD.model_copy(update={"severity": "warn"})
    accepted = {"flights": {"2013-01": "ab", "2013-02": "cd"}}
    conclude(
        Verdict(accepted=accepted, rejected={}, expectations={"flights": 40}, findings=[warning]),
        "raw",
        "flights",
        "stop",
    )
    assert 'class="warned">2013-02' in Path("reports/validation/raw/index.html").read_text()


def test_in_quarantine_a_rejection_is_a_loud_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    conclude(VERDICT, "raw", "flights", "quarantine")
    assert "WARNING: in quarantine, left out of all later stages: flights 2013-02" in capsys.readouterr().err
    assert 'class="rejected">2013-02' in Path("reports/validation/raw/index.html").read_text()
