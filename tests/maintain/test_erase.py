"""Forgetting an aircraft: canaries in every place that may hold a row, in all versions, and none is left."""

import contextlib
import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from clones import commit, copy_to, environment, run, with_results
from slice import run_stage

from kiban.cli.erase import erase
from kiban.core import files, tombstones
from kiban.core.errors import KibanError
from kiban.core.git import commit_of
from kiban.core.paths import CACHE
from kiban.data import parquet
from kiban.ingest import forgotten, ledger
from kiban.maintain import doctor
from kiban.maintain import erase as operation
from kiban.operate import archive, asked
from kiban.request import logged
from kiban.review.revision import Revision
from kiban.runners import refs
from kiban.servable.load import load

LEDGER = Path("data/flights.batches.yaml")
MARCH = Path("data/raw/flights/flights/2013-03.parquet")
LONG_ENOUGH = "something that nobody can guess"
FEBRUARY = Path("data/raw/flights/flights/2013-02.parquet")


@pytest.fixture
def ours(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path) -> Path:
    """A repository with two versions of March, and a store that has both."""
    folder = copy_to(tmp_path / "ours")
    run(folder, "git", "init", "-q", "-b", "main")
    with_results(folder, evaluated)
    run(folder, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(source)
    for name, value in environment().items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    commit(folder, "as it was")
    run(folder, "kiban", "push")
    recorded = ledger.read(LEDGER)
    rows = parquet.read(MARCH)
    parquet.write(rows.slice(5), MARCH)
    entry = ledger.entry_of(MARCH, rows.num_rows - 5, "a correction")
    recorded["flights"]["2013-03"] = entry
    ledger.write(LEDGER, recorded)
    run(folder, "dvc", "commit", "-q", "--force", "ingest")
    commit(folder, "as it is")
    run(folder, "kiban", "push")
    return folder


@pytest.fixture
def plane(ours: Path) -> str:
    """The number of an aircraft of February and of both versions of March."""
    of_both = {*parquet.read(MARCH)["tailnum"].drop_null().to_pylist()}
    return min(of_both & {*parquet.read(FEBRUARY)["tailnum"].drop_null().to_pylist()})


def plant(plane: str) -> None:
    """What the aircraft leaves in logs, runs, pages and archives."""
    rows = pc.filter(pq.read_table(MARCH), pc.equal(pq.read_table(MARCH)["tailnum"], plane))
    assert rows.num_rows
    table = load().contract
    prepared = parquet.read(Path("data/prepared/flights/2013-03.parquet"))
    mine = prepared.filter(pc.is_in(prepared["flight"], pa.array(set(rows["flight"].to_pylist()), pa.int64())))
    records = mine.select([*table.features(), *table.keys()]).to_pylist()
    folder = Path("logs/predictions")
    folder.mkdir(parents=True)
    time = datetime(2013, 3, 1, tzinfo=UTC)
    lines = [
        logged.answered(time, str(n), "m", [each], [{"probability": 0.5}], [], []) for n, each in enumerate(records)
    ]
    (folder / logged.file_name(time)).write_bytes(b"".join(lines))
    archive.keep(Path("release/log"), asked.read([folder], table).rows, [], table)
    archive.publish(Path("release/log"), table)
    archive.keep(Path("release/log"), asked.read([folder], table).rows, [], table)
    run(Path(), "dvc", "add", "-q", "monitoring/log")
    for path in (
        "mlruns/artifacts/1/run/artifacts/index.html",
        f"{CACHE}/memo.json",
        ".kiban_outbox/run/artifacts/page.html",
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"<!doctype html><p>an example: {plane}")
    (Path(".kiban_outbox/run/run.json")).write_text("{}")
    page = Path("reports/validation/raw/index.html")
    page.unlink()
    page.write_text(f"<!doctype html><p>an example: {plane}")
    run(Path(), "dvc", "commit", "-q", "--force", "validate_raw")
    commit(Path(), "with a page that quotes it")
    run(Path(), "kiban", "push")
    run(Path(), "git", "clone", "-q", "--bare", ".", "../origin.git")
    run(Path(), "git", "remote", "add", "origin", "../origin.git")
    base = commit_of("HEAD")
    step = refs.record(base, refs.snapshot(base), "validate_raw", "a step of a run")
    assert plane in run(Path(), "git", "show", f"{step.commit}:{CACHE}/memo.json")
    assert refs.push("one", step)
    run(Path(), "git", "worktree", "add", "-q", "--detach", ".kiban_cycle")
    (Path(".kiban_cycle/copy.csv")).write_text(plane)


def holding(plane: str, keys: set[tuple[object, ...]], *folders: Path) -> Iterator[Path]:
    """The files that hold the aircraft, or one of its flights: looked for in another way than the command does."""
    for folder in folders:
        for path in folder.rglob("*"):
            if not path.is_file() or ".git" in path.parts:
                continue
            content = path.read_bytes()
            if content[:4] == b"PAR1":
                rows = pq.read_table(pa.BufferReader(content)).flatten()
                names = {name.rpartition(".")[2]: name for name in rows.column_names}
                if "tailnum" in names and plane in rows[names["tailnum"]].to_pylist():
                    yield path
                if {"carrier", "flight", "scheduled_departure"} <= names.keys():
                    columns = [rows[names[each]].to_pylist() for each in ("scheduled_departure", "carrier", "flight")]
                    if keys & {*zip(*columns, strict=True)}:
                        yield path
            elif plane.encode() in (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content):
                yield path


@pytest.mark.long
def test_no_place_holds_what_was_erased(
    ours: Path, plane: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(plane)
    raw = parquet.read(MARCH)
    flights = raw.filter(pc.equal(raw["tailnum"], plane))
    prepared = parquet.read(Path("data/prepared/flights/2013-03.parquet"))
    times = {(row["carrier"], row["flight"], row["day"]) for row in flights.to_pylist()}
    keys = {
        (row["scheduled_departure"], row["carrier"], row["flight"])
        for row in prepared.to_pylist()
        if (row["carrier"], row["flight"], row["scheduled_departure"].astimezone().day) in times
    }
    before = [*holding(plane, keys, ours, tmp_path / "store")]
    assert len(before) > 12
    Path("forget.csv").write_text(f"tailnum\n{plane}\n")
    old = Revision(run(Path(), "git", "rev-list", "--max-parents=0", "HEAD").strip())
    dry = call("--keys", "forget.csv", "--dry-run")
    assert "flights: 2013-02, 2013-03 of this version" in dry.replace("2013-01, ", "")
    assert sorted(holding(plane, keys, ours, tmp_path / "store")) == sorted([*before, ours / "forget.csv"])

    with pytest.raises(click.UsageError, match=forgotten.SECRET):
        call("--keys", "forget.csv", "--reason", "asked for by their owner")
    monkeypatch.setenv(forgotten.SECRET, LONG_ENOUGH)
    models = {path: path.read_bytes() for path in Path("models").rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        interrupted(monkeypatch)
    said = call("--keys", "forget.csv", "--reason", "asked for by their owner")
    assert "not reached: other clones" in said
    Path("forget.csv").unlink()
    assert [*holding(plane, keys, ours, tmp_path / "store")] == []
    assert not Path(".kiban_cycle").exists()
    assert not any("refs/kiban" in run(folder, "git", "for-each-ref") for folder in (ours, ours.parent / "origin.git"))
    assert all(path.read_bytes() == content for path, content in models.items())
    run(ours, "dvc", "checkout", "models/servable")
    weeks = Path("monitoring/log/weeks.json")
    assert weeks.exists() == Path("release/log/weeks.json").exists()
    for name in run(Path(), "git", "ls-files").splitlines():
        assert not Path(name).is_file() or plane.encode() not in Path(name).read_bytes(), name
    assert ledger.read(LEDGER)["flights"]["2013-03"].rows == raw.num_rows - flights.num_rows
    with pytest.raises(KibanError, match=r"was erased on \d{4}-\d\d-\d\d"):
        old.rows(old.batches["flights"]["2013-03"])

    for place in (Path(".dvc/cache"), tmp_path / "store"):  # a clone without a store, whose source still has the rows
        shutil.rmtree(place)
    for secret, problem in ((None, "is not set"), ("some other one, long enough", "is another one")):
        with pytest.raises(KibanError, match=f"{forgotten.SECRET} {problem}"):
            february_anew(monkeypatch, secret)
    february_anew(monkeypatch, LONG_ENOUGH)
    assert files.sha256(FEBRUARY) == ledger.read(LEDGER)["flights"]["2013-02"].sha256
    assert plane not in parquet.read(FEBRUARY)["tailnum"].to_pylist()


def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Erase, and be interrupted after some objects are gone."""
    real, removed = operation.Objects.remove, []

    def remove(self: operation.Objects, digest: str) -> None:
        if len(removed) > 3:
            raise SystemExit(9)
        removed.append(digest)
        real(self, digest)

    with monkeypatch.context() as patch:
        patch.setattr(operation.Objects, "remove", remove)
        call("--keys", "forget.csv", "--reason", "asked for by their owner")


def february_anew(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    """Take February from its source again, as the stage does where the snapshot is missing."""
    FEBRUARY.unlink(missing_ok=True)
    with monkeypatch.context() as patch:
        if secret is None:
            patch.delenv(forgotten.SECRET)
        else:
            patch.setenv(forgotten.SECRET, secret)
        run_stage("ingest")


def call(*arguments: str) -> str:
    done = CliRunner().invoke(erase, arguments, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


@pytest.mark.long
def test_rows_go_by_their_age(ours: Path, tmp_path: Path) -> None:
    dataset = Path("conf/dataset/flights.yaml")
    text = dataset.read_text()
    dataset.write_text(text.replace("    flights:\n", "    flights:\n      retention_months: 1\n"))
    run(ours, "kiban", "compose")
    first = datetime(2013, 2, 1, 5, tzinfo=UTC)  # midnight in New York
    assert min(times_in(ours, tmp_path / "store")) < first
    now = ("--by-age", "--now", "2013-03-20")
    assert "flights: 2013-01 of this version" in call(*now, "--dry-run")
    call(*now, "--reason", "a month is over")
    assert min(times_in(ours, tmp_path / "store")) >= first
    recorded = ledger.read(LEDGER)
    assert sorted(recorded["flights"]) == ["2013-02", "2013-03"]
    assert "2013-01" in recorded["weather"]
    run(ours, "kiban", "ingest", "--new", "--until", "2013-02", "--table", "flights", "--now", "2013-03-20")
    assert sorted(ledger.read(LEDGER)["flights"]) == ["2013-02", "2013-03"]


def times_in(*folders: Path) -> list[datetime]:
    """The times of all flights in files of Parquet, raw or prepared, and not those of the weather."""
    times = []
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        if path.read_bytes()[:4] == b"PAR1":
            rows = pq.read_table(pa.BufferReader(path.read_bytes()))
            if "flight" in rows.column_names:
                name = "time_hour" if "time_hour" in rows.column_names else "scheduled_departure"
                times.append(pc.min(rows[name]).as_py())
    return times


@pytest.mark.long
def test_what_was_erased_does_not_come_back(ours: Path, plane: str, tmp_path: Path) -> None:
    plant(plane)
    other = tmp_path / "other"
    shutil.copytree(ours, other, symlinks=True)
    Path("forget.csv").write_text(f"tailnum\n{plane}\n")
    call("--keys", "forget.csv", "--reason", "asked for by their owner", "--source-forgets")
    Path("forget.csv").unlink()
    run(ours, "dvc", "repro")
    commit(ours, "forgotten")
    run(ours, "kiban", "push")
    run(ours, "dvc", "status", "-q")
    shutil.copy(tombstones.FILE, other / tombstones.FILE)
    assert "objects that were erased: `kiban erase` removes them" in run(other, "kiban", "doctor", status=1)
    assert "must not come back" in run(other, "kiban", "push", status=1)
    run(other, "kiban", "pull", "--absent")
    assert "ok    nothing that was erased has come back" in doctor_of(other)
    assert not (other / MARCH).exists()  # the snapshot with the rows: the new one is brought, or taken anew


def doctor_of(folder: Path) -> str:
    """What the doctor says, whether something else is wrong or not."""
    with contextlib.chdir(folder):
        checks = doctor.examine(Path())
    return "\n".join(f"{'FAIL' if problem else 'ok  '}  {subject}" for subject, problem, _ in checks)


@pytest.mark.parametrize(
    ("content", "message"),
    [("nobody\n1\n", "no raw table has the columns nobody"), ("tailnum\n", "has no rows")],
)
def test_keys_that_are_none_are_said(project: Path, content: str, message: str) -> None:
    Path("forget.csv").write_text(content)
    with pytest.raises(KibanError, match=message):
        call("--keys", "forget.csv", "--dry-run")


def test_the_same_value_has_the_same_text(project: Path) -> None:
    """In a table, a record of JSON and another type of Arrow."""
    from kiban.data.key_texts import key_text, key_texts

    rows = parquet.read(Path("data/prepared/flights/2013-03.parquet")).select(
        ["scheduled_departure", "carrier", "flight"]
    )
    names = rows.column_names
    texts = list(key_texts(rows, names))
    as_json = [json.loads(line) for line in json_lines(rows)]
    assert [key_text(record, names) for record in as_json] == texts
    seconds = rows.set_column(0, names[0], rows[names[0]].cast(pa.timestamp("s", "America/New_York")))
    numbers = seconds.set_column(2, names[2], rows[names[2]].cast(pa.float64()))
    assert list(key_texts(numbers, names)) == texts
    assert len(set(texts)) == rows.num_rows


def json_lines(rows: pa.Table) -> Iterator[str]:
    for row in rows.to_pylist():
        yield json.dumps(row, default=lambda moment: moment.isoformat())
