"""The outbox to MLflow, in a process of its own that is ended when it takes too long."""

import contextlib
import multiprocessing
import os
import re
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import KibanError, one_line
from kiban.track import outbox
from kiban.track.settings import Tracking

STARTING = 120  # seconds to import MLflow, on a busy machine
STEP = 120  # seconds without a step forward after which a delivery hangs, whatever it is at
SQLITE = "sqlite:///"
SQL = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Outcome:
    """The keys of the runs that were delivered, and why one was not, if so."""

    delivered: set[str]
    failure: str | None


def store(root: Path) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or sqlite under `root`/mlruns."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root.resolve() / 'mlruns/mlflow.db'}"


def shown(text: str) -> str:
    """Text with addresses in it, without the names and passwords that those may hold."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", text))


def deliver(root: Path, settings: Tracking, own: str | None = None) -> Outcome:
    """Deliver what waits under `root`, the newest first.

    For a run of the pipeline, whose key is `own`, that one comes first, no other is begun after `settings.time_limit`
    seconds, and a server has no longer than that in all. Every run that was not delivered whole stays in the outbox.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_deliver, args=(root.resolve(), settings, own, sender), daemon=True)
    worker.start()
    sender.close()
    delivered: set[str] = set()
    limited = own is not None and not store(root).startswith(SQLITE)
    patience, ends = float(STARTING), float("inf")
    try:
        while receiver.poll(max(0, min(patience, ends - time.monotonic()))):
            match receiver.recv():
                case ("started",):
                    patience = STEP
                    ends = time.monotonic() + settings.time_limit if limited else ends
                case ("delivered", key):
                    delivered.add(key)
                case ("ended", failure):
                    return Outcome(delivered, failure)
        return Outcome(delivered, f"not done within {settings.time_limit if limited else patience:.0f} seconds")
    except EOFError:
        return Outcome(delivered, "the process that delivers was ended")
    finally:
        worker.kill()
        worker.join()


def _deliver(root: Path, settings: Tracking, own: str | None, answers: Connection) -> None:
    """In a process of its own: tell the start, each step, each run that was delivered, and the end."""
    os.chdir(root)  # a store may be a relative path, and an experiment run in a copy that is removed
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(settings.request_timeout)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"
    try:
        # MLflow tells the world on standard output where each run is.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            from kiban.track import mlflow_store  # noqa: F401  takes ten seconds, and reads these variables

            answers.send(("started",))
            failure = _deliver_waiting(root, settings.time_limit, own, answers)
        answers.send(("ended", failure))
    except Exception as error:  # MLflow's, the network's, the disk's
        answers.send(("ended", _reason(error)))


def _reason(error: Exception) -> str:
    return one_line(shown(str(error)) or type(error).__name__)


def _deliver_waiting(root: Path, time_limit: float, own: str | None, answers: Connection) -> str | None:
    """Deliver until nothing waits; why a run was not, if so. Raises what a store raises that is down."""
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    from kiban.track import mlflow_store

    uri = store(root)
    if uri.startswith(SQLITE):
        folder = Path(uri.removeprefix(SQLITE)).parent
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # or MLflow tries again for two minutes where nobody may write
    artifacts = (root / "mlruns/artifacts").as_uri() if uri.startswith(SQL) else None
    failure = None
    handled: set[Path] = set()
    # One at a time: to search for a run and then to create it is two requests, and sqlite has one writer.
    with FileLock(paths.OUTBOX / "lock", timeout=STEP):
        started = time.monotonic()
        while entries := [pair for pair in outbox.waiting(root) if pair[0] not in handled]:
            entry, run = min(entries, key=lambda pair: pair[1].key != own)
            if own is not None and run.key != own and time.monotonic() - started > time_limit:
                return failure
            handled.add(entry)
            try:
                mlflow_store.deliver(entry, run, uri, artifacts, lambda: answers.send(("step",)))
            except (MlflowException, KibanError, FileNotFoundError) as error:
                if isinstance(error, MlflowException) and error.get_http_status_code() >= 500:
                    raise
                failure = _reason(error)  # of this run: the others go on
                continue
            outbox.remove(entry)
            answers.send(("delivered", run.key))
    return failure
