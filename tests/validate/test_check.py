import subprocess
import sys
from pathlib import Path

import pytest
from slice import HISTORY, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data.contract import read_raw
from kiban.validate import check

FILES = {("flights", "2013-01"): Path("data/raw/flights/flights/2013-01.parquet")}


def validated() -> check.Verdict:
    return check.validate(read_raw(paths.raw_contract("flights")), FILES, "America/New_York", HISTORY)


def test_a_batch_that_was_checked_is_not_checked_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = validated()
    monkeypatch.setattr("kiban.validate.expectations.check", lambda *_: pytest.fail("checked again"))
    assert validated() == before


@pytest.mark.parametrize(
    ("old", "new"), [("min: 1987, max: 2100", "min: 1988, max: 2100"), ("mostly: 0.8", "mostly: 0.7")]
)
def test_another_contract_is_checked_anew(project: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    paths.raw_contract("flights").write_text(paths.raw_contract("flights").read_text().replace(old, new))
    monkeypatch.setattr("kiban.validate.expectations.check", lambda *_: pytest.fail("checked again"))
    with pytest.raises(pytest.fail.Exception, match="checked again"):
        validated()


@pytest.mark.parametrize(("batch", "timezone"), [("2013-01", "Europe/Berlin"), ("2013-01-01", "America/New_York")])
def test_another_period_is_checked_anew(project: Path, batch: str, timezone: str) -> None:
    file_of = {("flights", batch): FILES["flights", "2013-01"]}
    found = check.validate(read_raw(paths.raw_contract("flights")), file_of, timezone, HISTORY)
    assert [finding.column for finding in found.findings] == ["time_hour"]
    assert list(found.rejected["flights"]) == [batch]


def test_a_file_that_is_missing_is_named(project: Path) -> None:
    FILES["flights", "2013-01"].unlink()
    with pytest.raises(KibanError, match=r"2013-01\.parquet is missing: run `dvc repro`"):
        validated()


def test_great_expectations_is_not_imported_when_there_is_nothing_to_check(project: Path) -> None:
    code = "import sys; from kiban.validate.raw import main; main(); print('great_expectations' in sys.modules)"
    for known in (True, False):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == str(not known)
        for path in paths.CACHE.rglob("*.json"):
            path.unlink()


def test_a_table_that_lacks_a_batch_of_another_is_named() -> None:
    found = check.absent({"flights": ["2013-01", "2013-02"], "weather": ["2013-01"], "planes": ["static"]})
    assert [(finding.table, finding.batch, finding.observed) for finding in found] == [
        ("weather", "2013-02", "flights has it")
    ]
    assert check.absent({"planes": ["static"]}) == []


def test_the_verdict_from_memory_has_the_same_bytes(project: Path) -> None:
    files = sorted(Path("reports/validation").rglob("*.*"))
    before = [path.read_bytes() for path in files]
    for path in paths.CACHE.rglob("*.json"):
        path.unlink()
    for _ in ("computed", "recalled"):
        run_stage("validate_raw")
        run_stage("validate_prepared")
        assert [path.read_bytes() for path in files] == before
