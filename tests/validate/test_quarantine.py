"""A batch that is rejected is left out, loudly, and comes back by itself when it is good."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slice import compose_here, run_stage, write_package

from kiban.cli.ingest import ingest
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import prepared
from kiban.ingest import ledger

QUARANTINE = "validation.on_failure=quarantine"
DATA = ("ingest", "validate_raw", "prepare", "validate_prepared")
"""The stages from raw data to data that a model may see."""


def run_data() -> dict[str, Any]:
    for stage in DATA:
        run_stage(stage)
    report: dict[str, Any] = json.loads(Path("reports/data.json").read_text())
    return report


def delayed(lines: list[str], row: int, minutes: int) -> list[str]:
    """The lines with the departure of one flight later by `minutes`, and its arrival unknown."""
    values = dict(zip(lines[0].split(","), lines[row].split(","), strict=True))
    sched = int(values["sched_dep_time"])
    left = (sched // 100 * 60 + sched % 100 + minutes) % 1440
    values |= {"dep_delay": str(minutes), "dep_time": str(left // 60 * 100 + left % 60)}
    values |= dict.fromkeys(("arr_time", "arr_delay", "air_time"), "NA")
    return [*lines[:row], ",".join(values.values()), *lines[row + 1 :]]


def refresh(batch: str) -> None:
    ingest.main(["--refresh", batch], standalone_mode=False)


@pytest.fixture
def source_with(slices: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the source other lines."""

    def give(**tables: list[str]) -> None:
        write_package(tmp_path / "source", **{**slices, **tables})

    write_package(tmp_path / "source", **slices)
    monkeypatch.syspath_prepend(tmp_path / "source")
    return give


@pytest.fixture
def bad_january(project: Path, slices: dict[str, list[str]], source_with: Callable[..., None]) -> None:
    """A snapshot of January was taken in which a distance is negative."""
    header, *lines = slices["flights"]
    negative = [line.replace(",1089,", ",-1089,") if line.startswith("2013,1,") else line for line in lines]
    source_with(flights=[header, *negative])
    refresh("2013-01")
    source_with()


def digests() -> dict[str, str]:
    return {path.stem: files.sha256(path) for path in sorted(paths.prepared_folder("flights").glob("*.parquet"))}


def test_stop_is_the_default(bad_january: None) -> None:
    with pytest.raises(KibanError, match="flights 2013-01 did not pass validation"):
        run_data()


def test_a_quarantined_batch_is_left_out_and_comes_back_when_it_is_good(
    bad_january: None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = digests()
    compose_here(QUARANTINE)
    report = run_data()
    error = capsys.readouterr().err
    assert "WARNING: in quarantine, left out of all later stages: flights 2013-01" in error
    assert set(report["batches"]) == set(digests()) == {"2013-02", "2013-03"}
    (reason,) = report["quarantined"]["2013-01"]
    assert reason.startswith("flights.distance: expect_column_values_to_be_between(min_value=10, max_value=6000), ")
    assert 'class="rejected">2013-01' in Path("reports/validation/raw/index.html").read_text()
    # February's features look back on January; March's look-back ends in the slice's gap.
    assert digests()["2013-02"] != whole["2013-02"]
    assert digests()["2013-03"] == whole["2013-03"]

    refresh("2013-01")
    report = run_data()
    assert report["quarantined"] == {}
    assert digests() == whole


def test_later_stages_go_on_with_the_good_batches(bad_january: None) -> None:
    compose_here(
        QUARANTINE,
        "split.train={first: 2013-01, last: 2013-02}",
        "split.validation={first: 2013-03, last: 2013-03}",
        "split.test={first: 2013-04, last: 2013-04}",
        "model.min_samples_leaf=50",
        "model.max_iter=20",
    )
    run_data()
    run_stage("train")
    assert list(prepared.accepted()) == ["2013-02", "2013-03"]


def test_a_refreshed_january_changes_february(
    project: Path, slices: dict[str, list[str]], source_with: Callable[..., None]
) -> None:
    """A late correction: a departure of the last evening of January was hours later than was said."""
    before = digests()
    row = next(number for number, line in enumerate(slices["flights"]) if line.startswith("2013,1,31,19"))
    source_with(flights=delayed(slices["flights"], row, 200))
    refresh("2013-01")
    run_data()
    after = digests()
    assert after["2013-01"] != before["2013-01"]
    assert after["2013-02"] != before["2013-02"]
    assert after["2013-03"] == before["2013-03"]


def test_only_what_looks_back_on_a_change_is_computed_again(
    project: Path, slices: dict[str, list[str]], source_with: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(number for number, line in enumerate(slices["flights"]) if line.startswith("2013,3,"))
    source_with(flights=delayed(slices["flights"], row, 200))
    refresh("2013-03")
    run_data()
    assert "1 batches computed" in capsys.readouterr().out
    run_data()
    assert "0 batches computed" in capsys.readouterr().out


def test_weather_that_has_not_come_yet_keeps_its_month_out(project: Path) -> None:
    compose_here(QUARANTINE)
    recorded = ledger.read(paths.ledger("flights"))
    del recorded["weather"]["2013-03"]
    ledger.write(paths.ledger("flights"), recorded)
    report = run_data()
    assert set(report["batches"]) == {"2013-01", "2013-02"}
    assert report["quarantined"] == {"2013-03": ["weather: expect_batch_in_every_table()"]}


def test_a_prepared_batch_can_be_in_quarantine_too(project: Path) -> None:
    compose_here(QUARANTINE)
    contract = Path("conf/contract/flights/prepared.yaml")
    contract.write_text(contract.read_text().replace("max_value: 0.5}", "max_value: 0.2}"))
    report = run_data()
    assert report["quarantined"]
    assert not set(report["quarantined"]) & set(report["batches"])
    assert set(prepared.accepted()) == set(report["batches"])
    assert report["rows"] == sum(of["rows"] for of in report["batches"].values())


def test_nothing_left_to_prepare_is_said(project: Path) -> None:
    compose_here(QUARANTINE)
    contract = Path("conf/contract/flights/raw.yaml")
    contract.write_text(contract.read_text().replace("min: 1900, max: 2100", "min: 2100, max: 2200"))
    with pytest.raises(KibanError, match="no batch of table planes was accepted: nothing can be prepared"):
        run_data()
