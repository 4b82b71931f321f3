import re
from pathlib import Path

import pytest
from slice import run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.verdict import Expected, Finding, Verdict
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
    findings=[BAD],
    expectations={
        "flights": [
            Expected(column="origin", expectation=BAD.expectation),
            Expected(column="dest", expectation="expect_column_values_to_not_be_null()"),
        ]
    },
    rows={"flights": {"2013-01": 27004, "2013-02": 2000}},
)


def test_the_page_loads_nothing_and_escapes_values() -> None:
    html = page(VERDICT, "flights", {})
    assert not re.search(r"https?:|src=|@import|url\(", html)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'class="passed">2013-01: passed, 27,004 rows' in html
    assert 'class="rejected">2013-02: rejected, 2,000 rows' in html


def test_every_expectation_is_listed_with_its_result() -> None:
    html = page(VERDICT, "flights", {}).split("Every expectation")[1]
    rows = re.findall(r'<tr><td>(\w*)<td class="text">.*?<td class="batch">(.*?)(?=<tr>|</table>)', html, re.DOTALL)
    results = {column: re.findall(r'state (\w+)">(.*?)<', states) for column, states in rows}
    assert results["dest"] == [("passed", "passed: 2 of 2 batches")]
    assert results["origin"] == [("passed", "passed: 1 of 2 batches"), ("rejected", "rejected: 2013-02")]


def test_the_columns_are_drawn_over_time(project: Path) -> None:
    run_stage("validate_raw")
    html = Path("reports/validation/raw/index.html").read_text()
    assert not re.search(r"https?:|src=|@import|url\(", html)
    drawn = re.findall(r"<figure><svg.*?aria-label=\"(.*?) over time\">\s*(.*?)</svg>.*?</figure>", html, re.DOTALL)
    charts = dict(drawn[-len(contract.read_raw(paths.raw_contract("flights"))["weather"].columns) + 1 :])
    assert charts["temp"].count("<polygon") == 1
    assert charts["origin"].count("<polyline") == 3
    verdict = Verdict.model_validate_json(Path("reports/validation/raw/verdict.json").read_bytes())
    assert verdict.rows["planes"] == {"static": 3322}


def test_a_rejection_is_written_printed_and_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KibanError, match="flights 2013-02 did not pass validation"):
        conclude(VERDICT, "raw", "flights", "stop", {})
    printed = capsys.readouterr().err
    for shown in ("2013-02", "origin", "1,234", "origin=<script>, flight=7"):
        assert shown in printed
    assert max(len(line) for line in printed.splitlines()) <= 100
    written = {path.name: path.read_bytes() for path in Path("reports/validation/raw").iterdir()}
    with pytest.raises(KibanError):
        conclude(VERDICT, "raw", "flights", "stop", {})
    assert {path.name: path.read_bytes() for path in Path("reports/validation/raw").iterdir()} == written


def test_a_rejection_for_a_difference_says_how_the_batch_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    different = BAD.model_copy(update={"expectation": "like_earlier_batches(rows)"})
    message = r"is taken if validation.history.accept \(in conf/validation\) has its SHA-256: flights 2013-02 cd$"
    with pytest.raises(KibanError, match=message):
        conclude(VERDICT.model_copy(update={"findings": [different]}), "raw", "flights", "stop", {})


def test_a_warning_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    warning = BAD.model_copy(update={"severity": "warn"})
    accepted = {"flights": {"2013-01": "ab", "2013-02": "cd"}}
    conclude(
        VERDICT.model_copy(update={"accepted": accepted, "rejected": {}, "findings": [warning]}),
        "raw",
        "flights",
        "stop",
        {},
    )
    assert 'class="warned">2013-02' in Path("reports/validation/raw/index.html").read_text()


def test_in_quarantine_a_rejection_is_a_loud_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    conclude(VERDICT, "raw", "flights", "quarantine", {})
    assert "WARNING: in quarantine, left out of all later stages: flights 2013-02" in capsys.readouterr().err
    assert 'class="rejected">2013-02' in Path("reports/validation/raw/index.html").read_text()
