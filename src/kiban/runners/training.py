"""A training job as SageMaker starts it: the stage graph in a container that needs no network.

    /opt/ml/input/config/hyperparameters.json    overrides of conf/, such as {"model": "logistic", "model.C": "0.1"}
    /opt/ml/input/data/store                     the channel `store`: the files of DVC's store, if it is given
    /opt/ml/model                                the servable
    /opt/ml/output/data                          dvc.lock, params.yaml and reports/
    /opt/ml/output/failure                       why the job failed

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import git, prefix

ML = Path("/opt/ml")
GRACE = {signal.SIGTERM: 20, signal.SIGKILL: 5}
"""Seconds that a process has to end after a signal; SageMaker waits for 120 (StopTrainingJob), others for 30."""
LINES = 20
"""Of standard error, told in the file failure, of which SageMaker shows 1,024 characters."""
SHOWN = 1024


def train(ml: Path) -> None:
    """Run the stage graph with the hyperparameters of the folder `ml` in a clone of the working directory.

    Raises KibanError if it fails. The logs of all commands go to standard output and standard error as they come.
    """
    overrides = hyperparameters(ml / "input/config/hyperparameters.json")
    with tempfile.TemporaryDirectory(prefix="kiban-") as folder:
        project = Path(folder) / prefix(Path())
        root = git(Path(), "rev-parse", "--show-toplevel").removesuffix("\n")
        _run(["git", "clone", "--quiet", root, folder], Path())
        os.environ["DVC_SITE_CACHE_DIR"] = str(Path(folder) / ".dvc/tmp/site")  # the default is one for all accounts
        store = ml / "input/data/store"
        if store.is_dir():
            _run(["dvc", "remote", "add", "--quiet", "--local", "--force", "--default", "channel", str(store)], project)
        if overrides:
            _run(["kiban", "compose", *overrides], project)
        _run(["kiban", "pull", "--absent"], project)
        _run(["dvc", "repro"], project)
        shutil.copytree(project / paths.SERVABLE, ml / "model", dirs_exist_ok=True)
        output = ml / "output/data"
        for path in (paths.LOCK, paths.PARAMS):
            output.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / path, output)
        shutil.copytree(project / "reports", output / "reports", dirs_exist_ok=True)


def hyperparameters(path: Path) -> list[str]:
    """The overrides in a hyperparameters.json, whose values are texts, or JSON in texts as Amazon's own client writes.

    Raises KibanError if the file is no mapping of names to texts.
    """
    if not path.is_file():
        return []
    try:
        given = json.loads(path.read_bytes())
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise KibanError(f"{path} is not a mapping of names to texts")
    return [f"{name}={_plain(value)}" for name, value in given.items() if not name.startswith("sagemaker_")]


def _plain(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            pass
    return value


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a command. Raises KibanError with the end of its standard error if it fails."""
    last: deque[str] = deque(maxlen=LINES)
    process = None
    try:
        process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, errors="replace", process_group=0
        )
        reader = threading.Thread(target=_pass_on, args=(process.stderr, last), daemon=True)
        reader.start()
        status = process.wait()
    except BaseException:
        if process is not None:
            _end(process)
        raise
    reader.join(GRACE[signal.SIGKILL])
    if status:
        raise KibanError(f"`{' '.join(command[:2])}` ended with {status}:\n{''.join(last)}")


def _pass_on(stream: IO[str], last: deque[str]) -> None:
    for line in stream:
        sys.stderr.write(line)
        sys.stderr.flush()
        last.append(line)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and all that it has started."""
    for number, seconds in GRACE.items():
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(seconds)


def _stop(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would stop what ends the processes
    raise KibanError("the job was ended by SIGTERM")


def main() -> None:
    signal.signal(signal.SIGTERM, _stop)
    try:
        train(ML)
    except Exception as error:  # whatever it is, SageMaker shows this file alone
        reason = str(error.stderr if isinstance(error, subprocess.CalledProcessError) else error)
        (ML / "output").mkdir(exist_ok=True)
        (ML / "output/failure").write_text(reason[-SHOWN:])
        sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()
