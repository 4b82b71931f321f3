"""What a training job does with the processes that it starts. tests/platforms/test_training.py has the job itself."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kiban.core.errors import KibanError
from kiban.runners import training

STUBBORN = "trap '' TERM; sleep 60 & echo $$ $! > pids; wait; wait; wait; wait"


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM is handled as in a job, whose processes have less time."""
    monkeypatch.setattr(training, "GRACE", {signal.SIGTERM: 1, signal.SIGKILL: 2})
    before = signal.signal(signal.SIGTERM, training._stop)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_what_does_not_want_to_end(handled: None, tmp_path: Path) -> None:
    def end() -> None:
        for _ in range(100):
            if (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"):
                break
            time.sleep(0.05)
        for _ in range(2):  # one while the first is handled
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(KibanError, match="the job was ended by SIGTERM"):
        training._run(["sh", "-c", STUBBORN], tmp_path)
    thread.join()
    for number in map(int, (tmp_path / "pids").read_text().split()):
        assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_the_end_of_what_was_said_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; [print(number, file=sys.stderr) for number in range(100)]; sys.exit(3)"
    with pytest.raises(KibanError, match="(?s)ended with 3:\n80\n.*99\n$"):
        training._run([sys.executable, "-c", script], tmp_path)
    assert capsys.readouterr().err.startswith("0\n1\n")


@pytest.mark.parametrize("error", [UnicodeError("of any kind"), subprocess.CalledProcessError(1, "git", "", "why")])
def test_whatever_fails_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, handled: None
) -> None:
    def train(_: Path) -> None:
        raise error

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "ML", tmp_path)
    with pytest.raises(SystemExit, match="error: "):
        training.main()
    assert (tmp_path / "output/failure").read_text() in ("of any kind", "why")
