"""The release folder: what a service in production answers with. kiban.operate.release writes it.

    current -> v1.2.0-d52db304032c
    v1.2.0-d52db304032c/   servable/, evaluation.json, importance.csv, release.json
    v1.1.0-0c7e49b51d2a/
    workers/               a file of each worker of the service: with which model it answers
    last-cycle.json        the last cycle that ended

A worker says in its file with which model it answers, and which one it has refused, so that others see when all of them
have taken a new one. A worker that may not write there serves all the same.
"""

import os
import socket
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core import files

FOLDER = "KIBAN_RELEASE"
"""The environment variable with the path of the release folder."""

CURRENT, SERVABLE, REPORT, RELEASE, WORKERS = "current", "servable", "evaluation.json", "release.json", "workers"
LAST_CYCLE = "last-cycle.json"


class Release(BaseModel):
    """The content of release.json. With `accepts_less` the model is taken although it refuses requests that the one
    before it answers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str
    model_id: str
    commit: str
    accepts_less: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.version}-{self.model_id[:12]}"


class Worker(BaseModel):
    """With which model a worker answers, and which one it has refused last, and why. `workers` is their number."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_id: str
    workers: int
    refused: str | None = None
    reason: str | None = None


class LastCycle(BaseModel):
    """When the last cycle was started, how it ended, and when the next one is `overdue`."""

    started: datetime
    outcome: str = "nothing to do"
    problems: list[str] = []
    overdue: datetime | None = None

    def missed(self, now: datetime) -> str | None:
        """That no cycle was started when one was due, in words, or None."""
        if self.overdue is None or now <= self.overdue:
            return None
        return f"the last cycle was started at {self.started:%Y-%m-%d %H:%M}: see whether its scheduler still runs"


def release_in(folder: Path) -> Release | None:
    """The release in a folder, or None if it is none."""
    try:
        return Release.model_validate_json((folder / RELEASE).read_bytes())
    except (OSError, ValidationError):
        return None


def last_cycle(root: Path) -> LastCycle | None:
    """The last cycle that ended, or None if the release folder knows none."""
    try:
        return LastCycle.model_validate_json((root / LAST_CYCLE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_worker(root: Path, worker: Worker) -> None:
    """Write the file of this process, if it may be written. Its time says that the worker lives."""
    path = root / WORKERS / f"{socket.gethostname()}-{os.getpid()}.json"
    try:
        files.write(path, worker.model_dump_json().encode())
    except OSError:
        return


def workers(root: Path) -> dict[str, tuple[int, Worker]]:
    """The time, in nanoseconds, and the content of the file of each worker, by its name."""
    known = {}
    for path in (root / WORKERS).glob("*.json"):
        try:
            known[path.name] = path.stat().st_mtime_ns, Worker.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):  # it has ended in the meantime
            continue
    return known
