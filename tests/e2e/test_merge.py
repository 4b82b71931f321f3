"""`kiban merge` on real branches of two people: conf/, data and code of both, and one model of it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import INCOMING, commit, environment, kept_anew, run
from slice import DAYS, SLICE, SMALL_TREES, real_lines

pytestmark = pytest.mark.long  # tests/maintain/test_ledgers.py is quick

OVERLAY = Path("conf/experiment/slice.yaml")
SEARCH = "reports/tuning/theirs.csv"
LEDGER = Path("data/flights.batches.yaml")


@pytest.fixture(scope="session")
def finished(validated: Path, once: Callable[..., Path]) -> Path:
    """The slice run to the end on main, with conf/ that composes to it. Not to be changed: `ours` is a copy."""

    def fill(folder: Path) -> None:
        shutil.copytree(validated, folder, symlinks=True, dirs_exist_ok=True)
        run(folder, "git", "branch", "-M", "main")
        run(folder, "kiban", "compose", *SLICE, *SMALL_TREES)
        run(folder, "kiban", "compose", "--adopt", "slice")
        run(folder, "dvc", "repro")
        commit(folder, "the slice")

    return once("merged", fill)


@pytest.fixture(scope="module")
def both(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Two clones, anew, in one folder: main with a store, and a colleague's on the branch theirs.

    The files of the source are not in git.
    """
    place = tmp_path_factory.mktemp("merge") / "place"
    folder = place / "ours"
    shutil.copytree(finished, folder, symlinks=True)
    run(folder, "git", "rm", "-r", "-q", "--cached", "incoming")
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/incoming/\n")
    run(folder, "dvc", "remote", "add", "-d", "store", str(place / "store"))
    commit(folder, "a store")
    run(folder, "kiban", "push")
    theirs = place / "theirs"
    run(place, "git", "clone", "-q", str(folder), str(theirs))
    shutil.copytree(folder / "incoming", theirs / "incoming")
    run(theirs, "git", "checkout", "-q", "-b", "theirs")
    run(theirs, "kiban", "pull")
    run(folder, "git", "remote", "add", "colleague", str(theirs))
    return kept_anew(place)


@pytest.fixture
def ours(both: Callable[[], Path]) -> Path:
    return both() / "ours"


@pytest.fixture
def theirs(ours: Path) -> Path:
    return ours.parent / "theirs"


def change(folder: Path, file: Path, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))


def finish(folder: Path, message: str) -> None:
    """What a person does before a pull request. Files that git does not know are not committed."""
    run(folder, "kiban", "compose")
    run(folder, "dvc", "repro")
    run(folder, "git", "commit", "-q", "-a", "-m", message)
    run(folder, "kiban", "push")


def take_month(folder: Path, month: int) -> None:
    """Take a further month of flights and weather."""
    for table, file, first in (("flights", "flights.csv.zip", 1), ("weather", "weather.csv", 2)):
        header, *lines = real_lines(file)
        days = {(str(month), str(day)) for day in DAYS}
        rows = [line for line in lines if tuple(line.split(",")[first : first + 2]) in days]
        path = folder / "incoming" / INCOMING[table].format(batch=f"2013-{month:02d}")
        path.write_text("\n".join([header, *rows]) + "\n")
    run(folder, "kiban", "ingest", "--new")


def without_rows(folder: Path, batch: str, number: int) -> None:
    """A new snapshot of a month of flights, which lacks the last rows."""
    path = folder / f"incoming/flights-{batch}.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-number]) + "\n")
    run(folder, "kiban", "ingest", "--refresh", batch)


def assert_is_whole(folder: Path) -> None:
    """A merge commit that holds what its conf/ and data give, and nothing beside it."""
    assert run(folder, "git", "status", "--porcelain", "--untracked-files=no") == ""
    assert len(run(folder, "git", "rev-list", "--parents", "-n1", "HEAD").split()) == 3
    run(folder, "kiban", "compose", "--check")
    assert run(folder, "dvc", "status", "--quiet") == ""


def assert_is_a_fresh_run(folder: Path) -> None:
    """A clone that has neither cache nor store gives the same lock."""
    fresh = folder.with_name("fresh")
    run(folder, "git", "clone", "-q", str(folder), str(fresh))
    shutil.copytree(folder / "incoming", fresh / "incoming", dirs_exist_ok=True)
    run(fresh, "dvc", "remote", "remove", "store")
    run(fresh, "dvc", "repro")
    assert run(fresh, "git", "diff", "--stat", "--", "dvc.lock", "reports") == ""


def test_other_parameters_of_both_with_an_experiment_queued(ours: Path, theirs: Path) -> None:
    change(theirs, OVERLAY, "rows: 500", "rows: 400")
    finish(theirs, "fewer rows for the importance")
    change(ours, OVERLAY, "max_iter: 20", "max_iter: 25")
    finish(ours, "more trees")
    run(ours, "dvc", "exp", "run", "--queue", "-n", "later", "-S", "model.max_iter=30")
    run(ours, "git", "fetch", "-q", "colleague")
    output = run(ours, "kiban", "merge", "colleague/theirs")
    assert "merge: dvc.lock, params.yaml, reports are this side's, until the run makes them" in output
    assert "merge: committed as " in output
    assert_is_whole(ours)
    text = (ours / "params.yaml").read_text()
    assert "rows: 400" in text
    assert "max_iter: 25" in text
    assert "later" in run(ours, "dvc", "queue", "status")
    assert_is_a_fresh_run(ours)
    assert "is merged already" in run(ours, "kiban", "merge", "colleague/theirs")


def test_a_stop_for_a_person_and_a_merge_that_is_given_up(ours: Path, theirs: Path) -> None:
    without_rows(theirs, "2013-02", 10)
    change(theirs, Path("README.md"), "# Kiban", "# Theirs")
    (theirs / "reports/tuning").mkdir(exist_ok=True)
    (theirs / SEARCH).write_text("trial,roc_auc\n0,0.7\n")
    (theirs / "notes.txt").write_bytes(b"caf\xe9 \n")  # of another encoding, and with what git warns of
    run(theirs, "git", "add", SEARCH, "notes.txt")
    finish(theirs, "their title, rows and search")
    change(ours, OVERLAY, "max_iter: 20", "max_iter: 25")
    change(ours, Path("README.md"), "# Kiban", "# Ours")
    finish(ours, "our title, and more trees")
    run(ours, "git", "fetch", "-q", "colleague")
    before = {path: path.read_bytes() for name in ("models", "data") for path in (ours / name).rglob("*.*")}
    change(ours, Path("LICENSE"), "Apache", "Other")
    assert "error: LICENSE is changed and not committed" in run(ours, "kiban", "merge", "colleague/theirs", status=1)
    run(ours, "git", "checkout", "-q", "LICENSE")

    output = run(ours, "kiban", "merge", "colleague/theirs", status=1)
    assert "error: README.md: choose between the two sides there, `git add` it, then run `kiban merge` again" in output
    assert "FAIL  no merge is unfinished: that of " in run(ours, "kiban", "doctor", status=1)
    run(ours, "git", "add", "README.md")
    assert "README.md: choose between" in run(ours, "kiban", "merge", status=1)  # with its markers
    assert "another BRANCH" not in run(ours, "kiban", "merge", "main", status=1)
    change(ours, Path("LICENSE"), "Apache", "Other")  # no part of the merge
    assert "error: LICENSE is changed and not staged" in run(ours, "kiban", "merge", status=1)
    run(ours, "kiban", "merge", "--abort")
    assert run(ours, "git", "status", "--porcelain") == " M LICENSE\n"
    run(ours, "git", "checkout", "-q", "LICENSE")
    assert run(ours, "git", "status", "--porcelain") == ""
    assert run(ours, "dvc", "status", "--quiet") == ""
    assert {path: path.read_bytes() for name in ("models", "data") for path in (ours / name).rglob("*.*")} == before
    assert "no merge is going on" in run(ours, "kiban", "merge", "--abort", status=1)

    run(ours, "kiban", "merge", "colleague/theirs", status=1)
    (ours / "README.md").write_text("# Both\n")
    run(ours, "git", "add", "README.md")
    run(ours, "kiban", "merge")
    assert_is_whole(ours)
    assert run(ours, "git", "show", "HEAD:README.md") == "# Both\n"
    assert run(ours, "git", "show", f"HEAD:{SEARCH}") == "trial,roc_auc\n0,0.7\n"
    assert "Conflicts" not in run(ours, "git", "log", "-1", "--format=%B")


def test_other_batches_of_both_and_the_source_has_neither(ours: Path, theirs: Path) -> None:
    take_month(theirs, 4)
    finish(theirs, "April")
    take_month(ours, 5)
    finish(ours, "May")
    run(ours, "git", "fetch", "-q", "colleague")
    output = run(ours, "kiban", "merge", "colleague/theirs")
    assert "0 taken from their source, 2 from DVC's cache or its store" in output
    assert_is_whole(ours)
    assert all(f"2013-0{month}" in (ours / LEDGER).read_text() for month in (4, 5))
    assert (ours / "data/prepared/flights/2013-04.parquet").exists()


def test_the_same_batch_is_refused_by_name_until_a_side_is_chosen(ours: Path, theirs: Path) -> None:
    without_rows(theirs, "2013-01", 20)
    without_rows(theirs, "2013-02", 20)
    finish(theirs, "twenty rows fewer")
    without_rows(ours, "2013-01", 10)
    finish(ours, "ten rows fewer")
    run(ours, "git", "fetch", "-q", "colleague")
    output = run(ours, "kiban", "merge", "colleague/theirs", status=1)
    assert f"error: {LEDGER}: both sides changed flights/2013-01: give `--take ours flights/2013-01`" in output
    assert run(ours, "git", "status", "--porcelain", "--untracked-files=no") == ""
    said = run(ours, "kiban", "merge", "colleague/theirs", "--take", "theirs", "2013-10", status=1)
    assert "--take: both sides did not change the batch 2013-10: they changed flights/2013-01" in said
    run(ours, "kiban", "merge", "colleague/theirs", "--take", "theirs", "2013-01")
    assert_is_whole(ours)
    for batch in ("2013-01", "2013-02"):
        path = f"data/raw/flights/flights/{batch}.parquet"
        assert (ours / path).read_bytes() == (theirs / path).read_bytes()


def test_results_that_only_one_side_has_made_are_taken(ours: Path, theirs: Path) -> None:
    change(theirs, OVERLAY, "max_iter: 20", "max_iter: 25")
    finish(theirs, "more trees")
    change(ours, Path("README.md"), "# Kiban", "# Ours")
    run(ours, "git", "commit", "-q", "-a", "-m", "our title")
    run(ours, "git", "fetch", "-q", "colleague")
    output = run(ours, "kiban", "merge", "colleague/theirs")
    assert "are the other side's, which alone had changed them" in output
    assert "Running stage 'train'" not in output
    assert_is_whole(ours)


@pytest.mark.parametrize("moment", ["Running stage 'config'", "Running stage 'train'", "Running stage 'evaluate'"])
def test_a_merge_that_was_killed_goes_on_and_can_be_given_up(ours: Path, theirs: Path, moment: str) -> None:
    change(theirs, OVERLAY, "max_iter: 20", "max_iter: 25")
    without_rows(theirs, "2013-02", 10)
    finish(theirs, "more trees")
    change(ours, OVERLAY, "rows: 500", "rows: 400")
    finish(ours, "fewer rows for the importance")
    run(ours, "git", "fetch", "-q", "colleague")
    for ending in (["kiban", "merge", "--abort"], ["kiban", "merge"]):
        kill_at(ours, moment)
        (ours / ".dvc/tmp/rwlock").write_text("")  # as a kill may leave it, at a moment too short to be hit
        run(ours, *ending)
        assert run(ours, "git", "status", "--porcelain", "--untracked-files=no") == ""
        assert run(ours, "dvc", "status", "--quiet") == ""
    assert_is_whole(ours)


def kill_at(folder: Path, moment: str) -> None:
    """Begin the merge, and kill all of it when its output has come to `moment`."""
    log = folder.with_name("log")
    with log.open("w") as output:
        process = subprocess.Popen(
            ["kiban", "merge", "colleague/theirs"],
            cwd=folder,
            env=environment(PYTHONUNBUFFERED="1"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while moment not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_clone_that_is_used_follows_what_others_have_made(ours: Path, theirs: Path) -> None:
    """As one does who runs it on a schedule: `git pull && kiban pull && dvc repro`."""
    without_rows(ours, "2013-02", 10)
    finish(ours, "fewer rows")
    run(theirs, "git", "pull", "-q", str(ours), "main")
    assert "models/servable" in run(theirs, "kiban", "pull")
    output = run(theirs, "dvc", "repro")
    # The old snapshot was saved, so that it makes way; the new one is in the store.
    assert [line for line in output.splitlines() if line.startswith("Running stage")] == ["Running stage 'ingest':"]
    assert "1 from DVC's cache or its store" in output
    assert run(theirs, "git", "status", "--porcelain") == ""
    path = "data/raw/flights/flights/2013-02.parquet"
    assert (ours / path).read_bytes() == (theirs / path).read_bytes()
