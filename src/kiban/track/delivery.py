"""Delivering the outbox to MLflow, in a separate process that is killed if it takes too long."""

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
from kiban.track import champion, outbox
from kiban.track.settings import Tracking

STARTING = 120  # seconds to import MLflow, on a busy machine
STEP = 120  # seconds without progress after which a delivery counts as hanging
SQLITE = "sqlite:///"
SQL = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Outcome:
    """The keys of the runs that were delivered, and the reason why a run was not, or None."""

    delivered: set[str]
    failure: str | None


def store() -> str:
    """The URI of the store of runs: MLFLOW_TRACKING_URI, or sqlite under mlruns/ of the repository.

    The path in it is relative: in an absolute one a folder's name could hold characters that mean something in a URI.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{paths.RUNS}/mlflow.db"


def shown(text: str) -> str:
    """`text` without the user names, passwords and query strings of the URLs in it."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", text))


def deliver(root: Path, settings: Tracking, run_key: str | None = None) -> Outcome:
    """Deliver the runs that wait under `root`, the newest first. A run that was not delivered whole stays there.

    The pipeline gives the key of its own run, `run_key`. That run is then delivered first, no other is begun after
    `settings.time_limit` seconds, and delivery to a server ends after that time.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_deliver, args=(root.resolve(), settings, run_key, sender), daemon=True)
    worker.start()
    sender.close()
    delivered: set[str] = set()
    limited = run_key is not None and not store().startswith(SQLITE)
    step_limit, deadline = float(STARTING), float("inf")
    try:
        while receiver.poll(max(0, min(step_limit, deadline - time.monotonic()))):
            match receiver.recv():
                case ("started",):
                    step_limit = STEP
                    deadline = time.monotonic() + settings.time_limit if limited else deadline
                case ("delivered", key):
                    delivered.add(key)
                case ("ended", failure):
                    return Outcome(delivered, failure)
        return Outcome(delivered, f"not done within {settings.time_limit if limited else step_limit:.0f} seconds")
    except EOFError:
        return Outcome(delivered, "the process that delivers was killed")
    finally:
        worker.kill()
        worker.join()


def _deliver(root: Path, settings: Tracking, run_key: str | None, answers: Connection) -> None:
    """Deliver in a separate process, and send to `answers` the start, each step, each delivered run, and the end."""
    os.chdir(root)  # a store may be a relative path; an experiment runs in a copy of the repository that is removed
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(settings.request_timeout)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"
    try:
        # MLflow prints the address of each run on standard output.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            from kiban.track import mlflow_store  # noqa: F401  the import takes ten seconds and reads the variables

            answers.send(("started",))
            failure = _deliver_waiting(root, settings.time_limit, run_key, answers)
        answers.send(("ended", failure))
    except Exception as error:  # of MLflow, the network or the disk
        answers.send(("ended", _reason(error)))


def _reason(error: Exception) -> str:
    return one_line(shown(str(error)) or type(error).__name__)


def _deliver_waiting(root: Path, time_limit: float, run_key: str | None, answers: Connection) -> str | None:
    """Deliver until no run waits, and return the reason why the last failing run was not delivered, or None.

    Raises the store's exception if the store is down.
    """
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    from kiban.track import mlflow_store

    uri = store()
    if uri.startswith(SQLITE):
        folder = Path(uri.removeprefix(SQLITE)).parent
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(
            dir=folder
        ).close()  # fails at once if the folder cannot be written; MLflow retries for two minutes
    artifacts = (root / paths.RUNS / "artifacts").as_uri() if uri.startswith(SQL) else None
    failure = None
    handled: set[Path] = set()
    # One process at a time: searching for a run and creating it are two requests, and sqlite allows one writer.
    with FileLock(paths.OUTBOX / "lock", timeout=STEP):
        started = time.monotonic()
        while entries := [pair for pair in outbox.waiting(root) if pair[0] not in handled]:
            entry, run = min(entries, key=lambda pair: pair[1].key != run_key)
            if run_key is not None and run.key != run_key and time.monotonic() - started > time_limit:
                return failure
            handled.add(entry)
            try:
                mlflow_store.deliver(entry, run, uri, artifacts, lambda: answers.send(("step",)))
            except (MlflowException, KibanError, FileNotFoundError) as error:
                if isinstance(error, MlflowException) and error.get_http_status_code() >= 500:
                    raise
                failure = _reason(error)  # only this run failed: deliver the others
                continue
            outbox.remove(entry)
            answers.send(("delivered", run.key))
        try:
            if waiting := champion.waiting(root):
                mlflow_store.set_champion(waiting, uri)
                champion.remove(root, waiting)
        except KibanError as error:  # its run may come from another clone
            failure = failure or _reason(error)
    return failure
