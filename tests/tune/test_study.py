"""A study that several machines share, in a real PostgreSQL: who tries what, and who takes over when one is gone."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
import yaml
from servers import SECRET
from slice import SMALL_SEARCH

from kiban.core.errors import KibanError
from kiban.tune import study
from kiban.tune.study import RETRY_OF, SCORES, Study

WORKER = """\
import sys
from kiban.tune import study
study.BEAT, study.GRACE = 1, 3
from kiban.cli import main
main()
"""
# Of trials that take seconds.
SPACE = {**SMALL_SEARCH["space"], "model.max_iter": {"low": 150, "high": 300}}
SEARCH = {**SMALL_SEARCH, "trials": 40, "space": SPACE}
Opened = Callable[[], Study]


@pytest.fixture
def address(postgres: sa.URL, request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    name = f"study_{abs(hash(request.node.name))}"
    with sa.create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(f"drop database if exists {name} with (force)"))
        connection.execute(sa.text(f"create database {name}"))
    return postgres.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture
def machine(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens the study as one more machine, whose trials are taken over after two seconds."""
    monkeypatch.setattr(study, "BEAT", 1)
    monkeypatch.setattr(study, "GRACE", 2)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(study.shared(address, "small", 7, "roc_auc", {"x": 0.5}))


def asked(one: Study, target: int = 9) -> optuna.Trial:
    trial = one.ask(target)
    assert trial is not None
    trial.suggest_float("x", 0, 1)
    return trial


def test_machines_propose_other_values_and_together_no_more_than_are_wanted(machine: Opened) -> None:
    machines = [machine() for _ in range(3)]
    with ExitStack() as stack:
        for each in machines:
            stack.enter_context(each.beating())  # on a busy machine the trials would be taken over
        trials = [asked(machines[number % 3]) for number in range(9)]
        assert [trial.number for trial in trials] == list(range(9))
        assert trials[0].params == {"x": 0.5}  # the default, once
        assert len({trial.params["x"] for trial in trials}) == 9
        assert all(each.ask(9) is None for each in machines)
        machines[0].tell(0, [0.5, 0.7])
        machines[1].tell(1, "it cannot be")
        assert [(each.number, each.score, each.error) for each in machines[2].ended()] == [
            (0, pytest.approx(0.6), None),
            (1, None, "it cannot be"),
        ]
        assert machines[2].ask(9) is None
        assert asked(machines[2], 10).number == 9


def test_a_trial_without_a_sign_of_life_is_tried_again_once_and_tells_too_late(
    machine: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, alive, third = machine(), machine(), machine()
    lost, kept = asked(gone), asked(alive)
    with alive.beating():
        time.sleep(4)
        again = asked(third)
        assert again.params == lost.params
        assert third.study.get_trials()[again.number].user_attrs == {RETRY_OF: lost.number}
        assert asked(third).params != lost.params
    alive.tell(kept.number, [0.5])
    gone.tell(lost.number, [0.9])
    assert "trial 0 gave no sign of life for too long: another one has taken its place" in capsys.readouterr().out
    third.tell(again.number, [0.9])
    assert [each.number for each in third.ended()] == [kept.number, again.number]


def test_a_machine_that_is_killed_before_its_first_sign_of_life_loses_nothing(machine: Opened) -> None:
    gone, alive = machine(), machine()
    gone.study.ask()  # what `Study.ask` does before it beats
    assert asked(alive).params == {"x": 0.5}
    assert asked(alive).params != {"x": 0.5}
    assert [trial.state.name for trial in alive.study.get_trials()] == ["FAIL", "RUNNING", "RUNNING"]


def test_results_are_written_once_or_again_for_who_asks(machine: Opened) -> None:
    one, other, later = machine(), machine(), machine()
    one.tell(asked(one, 1).number, [0.5])
    for each, took_part, expected in ((one, True, True), (other, True, False), (later, False, True)):
        with study.writing(each, took_part) as is_here:
            assert is_here is expected


@pytest.mark.parametrize("wrong", ["sqlite:///x.db", "no address", f"postgresql://kiban:{SECRET}@127.0.0.1:1/none"])
def test_a_database_that_cannot_be_had_is_told_without_its_password(wrong: str) -> None:
    with pytest.raises(KibanError, match="KIBAN_TUNE_STORAGE: ") as raised, study.shared(wrong, "a", 0, "roc_auc", {}):
        pass
    assert SECRET not in str(raised.value)


@pytest.mark.long
def test_of_four_machines_with_five_kills_no_trial_is_lost_or_doubled(
    project: Path, address: str, tmp_path: Path
) -> None:
    Path("conf/tune/small.yaml").write_text(yaml.safe_dump(SEARCH))
    folders = [tmp_path / f"machine{number}" for number in range(4)]
    for folder in folders:
        shutil.copytree(project, folder, symlinks=True)
    given = {**os.environ, study.STORAGE: address, "LOKY_MAX_CPU_COUNT": "1"}

    def start(folder: Path) -> subprocess.Popen[bytes]:
        log = (folder / "log").open("ab")
        command = [sys.executable, "-c", WORKER, "tune", "small"]
        return subprocess.Popen(command, cwd=folder, env=given, stdout=log, stderr=log, process_group=0)

    engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    workers = {folder: start(folder) for folder in folders}  # four at once make the tables of an empty database
    draw, killed, ends = random.Random(0), 0, time.monotonic() + 300
    while killed < 5:
        assert time.monotonic() < ends
        assert any(worker.poll() is None for worker in workers.values()), f"it ended after {killed} kills"
        time.sleep(0.1)
        if states(engine) == Counter(RUNNING=4, FAIL=killed):  # each is inside a trial, and what was lost was seen
            folder = draw.choice(folders)
            os.killpg(workers[folder].pid, signal.SIGKILL)
            workers[folder].wait()
            killed += 1
            workers[folder] = start(folder)
    for worker in workers.values():
        assert worker.wait(300) == 0
    with_results = [folder for folder in folders if (folder / "reports/tuning/small.csv").exists()]
    assert len(with_results) == 1
    assert (with_results[0] / "conf/experiment/tuned_small.yaml").exists()
    with (with_results[0] / "reports/tuning/small.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SEARCH["trials"]
    assert max(Counter((row["model.max_iter"], row["model.learning_rate"]) for row in rows).values()) == 1
    trials = optuna.load_study(
        study_name=None, storage=address.replace("postgresql:", "postgresql+psycopg:")
    ).get_trials()
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": SEARCH["trials"], "FAIL": 5}
    lost = {trial.number for trial in trials if trial.state.name == "FAIL"}
    assert {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs} == lost
    assert all(SCORES in trial.user_attrs for trial in trials if trial.state.name == "COMPLETE")


def states(engine: sa.Engine) -> Counter[str]:
    """The number of trials that are open, and of those that were lost."""
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.text("select state from trials where state in ('RUNNING', 'FAIL')"))
            return Counter(rows.scalars())
    except sa.exc.ProgrammingError:  # there are no tables yet
        return Counter()
