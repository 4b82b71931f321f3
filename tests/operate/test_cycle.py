"""`kiban cycle` with a real origin, a store, and a real table that grows by months; and killed at any moment."""

import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner
from clones import commit, copy_to, environment, kept_anew, run
from seattle import lay, with_feed
from slice import ROOT

from kiban.cli import commands
from kiban.data import parquet

pytestmark = pytest.mark.long  # test_due.py is quick

KILLS = int(os.environ.get("KIBAN_KILLS", "20"))
SEED = int(os.environ.get("KIBAN_SEED", str(int(time.time()) // 86_400)))  # another one every day
Begun = Callable[[], Path]
JULY, AUGUST, SEPTEMBER, OCTOBER = "2012-07-05", "2012-08-02", "2012-09-02", "2012-10-02"


@pytest.fixture(scope="module")
def begun(weather: Path, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A repository after its first cycle, anew, and beside it its feed, its origin, and its store, which is named in
    config.local alone.
    """
    place = tmp_path_factory.mktemp("cycle") / "place"
    ours = with_feed(weather, place)
    run(ours, "dvc", "repro")
    commit(ours, "the same results")
    shared(ours, place)
    return kept_anew(place)


@pytest.fixture
def ours(begun: Begun) -> Path:
    return begun() / "ours"


@pytest.fixture
def feed(ours: Path) -> Path:
    return ours.parent / "feed"


def shared(ours: Path, folder: Path) -> Path:
    """A repository after it got an origin and a store, and a first cycle."""
    run(ours, "dvc", "remote", "add", "-d", "--local", "store", str(folder / "store"))
    run(folder, "git", "init", "-q", "-b", "main", "--bare", "origin.git")
    run(ours, "git", "remote", "add", "origin", "../origin.git")  # from the clone, and not from the worktree
    run(ours, "git", "push", "-q", "-u", "origin", "main")
    assert cycle(ours, JULY)["outcome"] == "promoted"
    return ours


def cycle(folder: Path, now: str, *options: str, status: int = 0) -> dict[str, Any]:
    """What a cycle leaves about itself. It runs in this process, so that its lines are counted."""
    with contextlib.chdir(folder), mock.patch.dict(os.environ, environment(), clear=True):
        result = CliRunner().invoke(commands.commands["cycle"], ["--now", now, *options])
    assert result.exit_code == status, f"{result.output}{result.exception}"
    done: dict[str, Any] = json.loads((folder / "release/last-cycle.json").read_text())
    return done


def state(folder: Path) -> tuple[str, ...]:
    """What a cycle leaves behind: the tree of main, the tags, and the release, all but times and commits."""
    tree = run(folder, "git", "rev-parse", "origin/main^{tree}")
    tags = run(folder, "git", "ls-remote", "--tags", "--refs", "origin")
    names = " ".join(sorted(line.split("/")[-1] for line in tags.splitlines()))
    return tree, names, (folder / "release/current").readlink().name


def test_new_data_go_the_whole_way(ours: Path, feed: Path) -> None:
    readme = ours / "README.md"
    readme.write_text(readme.read_text() + "\nwork that nobody has committed\n")
    runs = len(list((ours / "mlruns").rglob("meta.yaml")))
    lay(feed, "2012-07")
    run(ours, "kiban", "score", str(feed / "2012-07.csv"), str(feed.parent / "scored.csv"), "--log")
    assert "2012-07 is new" in run(ours, "kiban", "cycle", "--now", AUGUST, "--dry-run")
    done = cycle(ours, AUGUST)
    assert (done["taken"], done["problems"]) == (["2012-07"], [])
    said = {step["name"]: step["said"] for step in done["steps"]}
    assert "1 batches computed" in said["pipeline"]  # the other months are those that the clone has made
    assert "uncommitted changes" in said["bring the clone forward"]
    assert "nobody has committed" in readme.read_text()
    assert len(list((ours / "mlruns").rglob("meta.yaml"))) > runs or (ours / "mlruns/mlflow.db").exists()
    run(ours, "git", "checkout", "-q", "README.md")
    run(ours, "git", "merge", "-q", "--ff-only", "origin/main")
    run(ours, "dvc", "checkout")
    run(ours, "dvc", "status", "-q")
    (kept,) = (ours / "monitoring/log").glob("*.parquet")
    assert parquet.read(kept).num_rows == 31
    weeks = json.loads((ours / "monitoring/log/weeks.json").read_text())
    assert [week["first"] for week in weeks] == ["2012-06-25", *(f"2012-07-{day:02d}" for day in (2, 9, 16, 23))]
    again = cycle(ours, AUGUST)
    assert (again["outcome"], again["commit"]) == ("nothing to do", None)
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", (ROOT / "runners/systemd/kiban-cycle.service").read_text())
    unit = shlex.split(line.replace("/srv/kiban/.venv/bin", str(Path(sys.executable).parent)))
    assert "nothing to do" in run(ours, *unit, "--now", AUGUST)


def test_a_broken_feed_is_kept_out_until_it_is_mended_or_accepted(ours: Path, feed: Path) -> None:
    def fahrenheit(row: list[str]) -> list[str]:
        return [*row[:3], f"{float(row[3]) * 1.8 + 32:.2f}", *row[4:]]

    lay(feed, "2012-07", change=fahrenheit)
    before = state(ours)
    done = cycle(ours, AUGUST, status=3)
    assert done["outcome"] == "blocked"
    assert "temp_min" in done["held_back"]["2012-07"][0]
    assert state(ours) == before
    lay(feed, "2012-08")  # a good month does not promote anything beside it
    done = cycle(ours, SEPTEMBER, status=3)
    assert (done["taken"], list(done["held_back"])) == (["2012-08"], ["2012-07"])
    assert done["outcome"] == "blocked"
    lay(feed, "2012-07")
    done = cycle(ours, SEPTEMBER)
    assert (done["taken"], done["held_back"]) == (["2012-07"], {})
    assert done["outcome"] in ("promoted", "refused")
    lay(feed, "2012-09", change=fahrenheit)
    assert cycle(ours, OCTOBER, status=3)["held_back"]
    assert "10 characters" in run(ours, "kiban", "cycle", "--accept", "2012-09", "so", status=2)
    done = cycle(ours, OCTOBER, "--accept", "2012-09", "a sensor of another kind")
    assert done["taken"] == ["2012-09"]
    ledger = run(ours, "git", "show", "origin/main:data/weather.batches.yaml")
    assert "accepted: a sensor of another kind" in ledger


def test_a_hold_and_a_batch_that_is_left_out(ours: Path, feed: Path) -> None:
    run(ours, "kiban", "hold", "the sensors are being looked at")
    lay(feed, "2012-07")
    done = cycle(ours, AUGUST)
    assert (done["outcome"], done["hold"]) == ("held", "the sensors are being looked at")
    run(ours, "kiban", "data", "leave-out", "2012-03", "the station was moved")
    run(ours, "dvc", "repro")
    account = json.loads((ours / "reports/data.json").read_text())
    assert account["left_out"] == {"2012-03": "the station was moved"}
    assert "2012-03" not in account["batches"]
    assert "2012-03" not in json.loads((ours / "models/servable/manifest.json").read_text())["prepared"]
    assert "left out" in run(ours, "kiban", "data")
    commit(ours, "without March")
    assert "2012-03 is left out" in run(ours, "kiban", "report", "HEAD~1")
    run(ours, "kiban", "data", "leave-out", "2012-03", "--end")
    run(ours, "dvc", "repro")
    assert "2012-03" in json.loads((ours / "reports/data.json").read_text())["batches"]


def test_late_truth_is_taken_anew(ours: Path, feed: Path) -> None:
    dataset = ours / "conf/dataset/weather.yaml"
    dataset.write_text(dataset.read_text().rstrip("\n") + "\n      refresh_last: 1\n")
    run(ours, "kiban", "compose")
    run(ours, "dvc", "repro")
    commit(ours, "the last month is taken anew")
    run(ours, "git", "push", "-q")
    lay(feed, "2012-07")
    cycle(ours, AUGUST)
    lay(feed, "2012-07", change=lambda row: [row[0], row[1], f"{float(row[2]) + 0.5:.1f}", *row[3:]])
    done = cycle(ours, AUGUST)
    assert done["taken"] == ["2012-07"]
    assert cycle(ours, AUGUST)["taken"] == []
    (feed / "2012-07.csv").unlink()  # out of reach: the snapshot that is there stays
    done = cycle(ours, AUGUST, status=1)
    assert done["taken"] == []
    assert "2012-07" in done["problems"][0]
    run(ours, "dvc", "status", "-q")


def test_a_protected_main_waits_for_a_person(ours: Path, feed: Path) -> None:
    path = ours / "conf/promotion/default.yaml"
    path.write_text(path.read_text().replace("deliver: main", "deliver: pull_request"))
    commit(ours, "a protected main")
    run(ours, "git", "push", "-q")
    lay(feed, "2012-07")
    done = cycle(ours, AUGUST)
    assert done["outcome"] in ("waiting", "refused")
    run(ours, "git", "fetch", "-q")
    assert run(ours, "git", "log", "-1", "--format=%s", "origin/kiban-cycle").strip() == "Cycle: 2012-07 taken"
    assert run(ours, "git", "log", "-1", "--format=%s", "origin/main").strip() == "a protected main"


def test_a_cycle_that_is_killed_goes_on(begun: Begun) -> None:
    whole = begun() / "ours"
    lay(whole.parent / "feed", "2012-07")
    started = time.monotonic()
    cycle(whole, AUGUST)
    seconds = time.monotonic() - started
    expected = state(whole)
    moments = random.Random(SEED)
    for number in range(KILLS):
        killed = begun() / "ours"
        lay(killed.parent / "feed", "2012-07")
        after = moments.uniform(0.5, seconds)
        process = subprocess.Popen(
            ["kiban", "cycle", "--now", AUGUST],
            cwd=killed,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        rwlock = killed / ".kiban_cycle/.dvc/tmp/rwlock"
        if number % 2 and rwlock.exists():
            rwlock.write_text("")  # as a kill may leave it
        cycle(killed, AUGUST)
        assert state(killed) == expected, f"killed after {after:.1f} s, seed {SEED}"
        run(killed, "dvc", "status", "-q")


@pytest.mark.parametrize("name", ["penguins", "seattle_weather"])
def test_a_table_without_time_goes_the_whole_way(tmp_path: Path, name: str) -> None:
    """The small examples as they are: a table of one batch, three classes or a number."""
    ours = copy_to(tmp_path / "ours")
    run(ours, "git", "init", "-q", "-b", "main")
    run(ours, "kiban", "compose", f"dataset={name}")
    run(ours, "dvc", "repro")
    commit(ours, "an example")
    shared(ours, tmp_path)
    (rows,) = (ours / "data/raw").rglob("static.parquet")
    run(ours, "kiban", "score", str(rows), "../scored.csv", "--log")
    again = cycle(ours, AUGUST)
    assert (again["outcome"], again["problems"]) == ("nothing to do", [])
    setting = "model.C=0.0001" if name == "penguins" else "model.min_samples_leaf=300"
    run(ours, "kiban", "compose", f"dataset={name}", setting)
    run(ours, "dvc", "repro")
    commit(ours, "a worse model")
    late = cycle(ours, "2012-12-02")
    assert late["outcome"] == "refused"
    assert "4 months old; the gate refuses it" in late["promotion"]
    assert "better" in late["promotion"]
    said = run(ours, "kiban", "promote", "--dry-run", "--override", "to see what it says")
    assert "not applicable" in said.split("slices")[1].splitlines()[0]
    assert "would be refused" in said.split("agreement")[1].splitlines()[0]
