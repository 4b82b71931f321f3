"""The outbox to MLflow, in a process of its own that is ended when it gets no further."""

import contextlib
import multiprocessing
import os
import re
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from kiban.tracking import outbox

STARTING = 120  # seconds to import MLflow, on a busy machine
SERVER_STEP = 8  # seconds without a step forward after which a server, whatever it is at, counts as down
LOCAL_STEP = 120  # the same for sqlite, where a new database, or another process that writes, takes its time
SQLITE = "sqlite:///"
SERVER_TURN = 3  # seconds to wait while another process delivers to a server


@dataclass(frozen=True)
class Outcome:
    """What was delivered, names by the run's key, and why that was not all, if so."""

    delivered: dict[str, str]
    failure: str | None


def store(root: Path) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or sqlite under `root`/mlruns."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root.resolve() / 'mlruns/mlflow.db'}"


def shown(uri: str) -> str:
    """An address without the name and the password that it may hold."""
    return re.sub(r"//[^/\s@]*@", "//", uri)


def deliver(root: Path, request_timeout: int, most_seconds: float | None = None) -> Outcome:
    """Deliver what waits under `root`, the newest first; what is not begun after `most_seconds` waits on.

    A server has `request_timeout` seconds for each answer and no second try, so that one that is down costs little
    more than that. Every run that was not delivered whole stays in the outbox.
    """
    limit = LOCAL_STEP if store(root).startswith(SQLITE) else SERVER_STEP
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_deliver, args=(root, request_timeout, most_seconds, sender), daemon=True)
    worker.start()
    sender.close()
    delivered: dict[str, str] = {}
    patience = STARTING
    try:
        while receiver.poll(patience):
            patience = limit
            match receiver.recv():
                case ("step",):
                    continue
                case ("delivered", key, name):
                    delivered[key] = name
                case ("ended", failure):
                    return Outcome(delivered, failure)
        return Outcome(delivered, f"no answer within {patience} seconds")
    except EOFError:
        return Outcome(delivered, "the process that delivers was ended")
    finally:
        worker.kill()
        worker.join()


def _deliver(root: Path, request_timeout: int, most_seconds: float | None, answers: Connection) -> None:
    """In a process of its own: tell each step, each run that was delivered, and the end."""
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(request_timeout)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"
    uri = store(root)
    try:
        # MLflow tells the world on standard output where each run is.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            import mlflow  # noqa: F401  takes three seconds, and reads these variables

            answers.send(("step",))
            refused = _deliver_waiting(root, uri, most_seconds, answers)
        answers.send(("ended", refused))
    except Exception as error:  # MLflow's, the network's, the disk's
        answers.send(("ended", _reason(error)))


def _reason(error: Exception) -> str:
    return " ".join(shown(str(error)).split())[:300] or type(error).__name__


def _deliver_waiting(root: Path, uri: str, most_seconds: float | None, answers: Connection) -> str | None:
    """Deliver until nothing waits; why a run was refused, if one was. Raises what a store raises that is down."""
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    from kiban.tracking import mlflow_store

    local = uri.startswith(SQLITE)
    if local:
        folder = Path(uri.removeprefix(SQLITE)).parent
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # or MLflow tries again for two minutes where nobody may write
    artifacts = (root.resolve() / "mlruns/artifacts").as_uri() if local else None
    started = time.monotonic()
    refused: dict[Path, str] = {}
    # One at a time: to search for a run and then to create it is two requests, and sqlite has one writer.
    with FileLock(root / outbox.FOLDER / "lock", timeout=LOCAL_STEP if local else SERVER_TURN):
        while entries := [each for each in outbox.waiting(root) if each[0] not in refused]:
            if most_seconds is not None and time.monotonic() - started > most_seconds:
                break
            entry, run = entries[0]
            try:
                mlflow_store.deliver(entry, run, uri, artifacts, lambda: answers.send(("step",)))
            except MlflowException as error:
                if error.get_http_status_code() >= 500:
                    raise
                refused[entry] = _reason(error)  # this run, not all: the others go on
                continue
            outbox.remove(entry)
            answers.send(("delivered", run.key, run.name))
    return next(iter(refused.values()), None)
