"""Every prediction with its inputs as a line of JSON, written beside the requests' path, for monitoring.

Our own, since `bentoml.monitor` has no limit of size and costs a request 0.15 ms, and the standard library's rotating
handler leaves half a line where the disk is full.
"""

import contextlib
import logging
import os
import random
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from kiban.errors import KibanError
from kiban.serving import counters
from kiban.serving.schema import Records
from kiban.settings.serving import Log

logger = logging.getLogger("bentoml.kiban")

MOST_WAITING = 20_000  # records that are not written yet, some 50 MB; what comes on top is lost, and counted
PAUSE = 0.05  # seconds between two writes: short ones, for the requests wait meanwhile
RETRY = 1.0  # seconds until the next try where nothing can be written


class Entry(NamedTuple):
    time: datetime
    request_id: str
    model_id: str
    records: Records
    predictions: Sequence[Mapping[str, Any]]


class PredictionLog:
    """Lines in `folder`, a file a process and day and `max_file_bytes`; the oldest go where they pass `max_bytes`.

    `workers` is how many processes write there.
    """

    def __init__(self, folder: Path, settings: Log, workers: int) -> None:
        self.folder = folder
        self.settings = settings
        self.left_out = frozenset(settings.leave_out)
        self.room = settings.max_bytes - workers * settings.max_file_bytes  # of what is there when a file is begun
        self.waiting: deque[Entry] = deque()
        self.added = self.taken = 0  # records; each is changed by one thread only
        self.something, self.closed = threading.Event(), threading.Event()
        self.file: int | None = None
        self.day = ""
        self.size = 0
        self.failing = self.overflowing = False
        self.thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def check(self, features: Collection[str]) -> None:
        """Raise KibanError if a name that is to be left out is none of a feature, and would be logged."""
        for name in self.left_out - set(features):
            raise KibanError(f"serving.prediction_log.leave_out: {name!r} is not among the model's features")

    def start(self) -> None:
        self.thread.start()

    def add(self, request_id: str, model_id: str, records: Records, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Have the predictions of one request written, or not, as its share is; neither waits nor fails."""
        if self.settings.share < 1 and random.random() >= self.settings.share:  # noqa: S311
            return
        if self.added - self.taken + len(records) > MOST_WAITING:
            counters.log_lost.inc(len(records))
            if not self.overflowing:
                logger.error("prediction log: predictions come faster than they are written, and are not all logged")
                self.overflowing = True
            return
        self.waiting.append(Entry(datetime.now(UTC), request_id, model_id, records, predictions))
        self.added += len(records)
        self.something.set()

    def close(self) -> None:
        """Write what waits, once more; what cannot be written is lost, and said."""
        self.closed.set()
        self.something.set()
        if self.thread.is_alive():
            self.thread.join()
        if self.file is not None:
            os.close(self.file)

    def _run(self) -> None:
        while not self.closed.is_set():
            self.something.wait()
            self.something.clear()
            if not self._write_all():
                self.something.set()
                self.closed.wait(RETRY)
            self.closed.wait(PAUSE)
        if not self._write_all():
            lost = self.added - self.taken
            counters.log_lost.inc(lost)
            logger.error("prediction log: %d predictions could not be written before the end", lost)

    def _write_all(self) -> bool:
        """Write what waits, a request at a time; whether it could be."""
        while self.waiting:
            entry = self.waiting[0]
            try:
                self._write(self._lines(entry), f"{entry.time:%Y%m%d}")
            except OSError as error:
                if not self.failing:
                    problem = f"{self.folder}: {error.strerror}"
                    logger.error("prediction log: %s; predictions are answered, and wait to be logged", problem)
                self.failing = True
                return False
            self.waiting.popleft()
            self.taken += len(entry.records)
            counters.logged.inc(len(entry.records))
        if self.failing:
            logger.info("prediction log: written again")
        self.failing = self.overflowing = False
        return True

    def _lines(self, entry: Entry) -> bytes:
        lines = []
        for index, (record, prediction) in enumerate(zip(entry.records, entry.predictions, strict=True)):
            if self.left_out:
                record = {name: value for name, value in record.items() if name not in self.left_out}
            line = {"time": entry.time, "request_id": entry.request_id, "model_id": entry.model_id, "record": index}
            lines.append(to_json({**line, **prediction, "features": record}))
        return b"\n".join(lines) + b"\n"

    def _write(self, lines: bytes, day: str) -> None:
        """Append the lines, all or none of them; OSError if they cannot be written."""
        file = self._file(len(lines), day)
        try:
            written = 0
            while written < len(lines):
                written += os.write(file, lines[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, self.size)
            raise
        self.size += written

    def _file(self, more: int, day: str) -> int:
        """The file to write `more` bytes to: the open one, or a new one if it is full, of yesterday or deleted."""
        if self.file is not None:
            fits = self.size + more <= self.settings.max_file_bytes or self.size == 0
            if fits and self.day == day and os.fstat(self.file).st_nlink:
                return self.file
            os.close(self.file)
            self.file = None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room()
        path = self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}.jsonl"
        # What callers send may be personal: for the service's own account only.
        self.file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        self.day, self.size = day, 0
        return self.file

    def _make_room(self) -> None:
        """Delete the oldest files until what is left, and a whole file a worker, are within the limit."""
        files = [(path, path.stat().st_size) for path in sorted(self.folder.glob("*.jsonl"))]
        total = sum(size for _, size in files)
        for path, size in files:
            if total <= self.room:
                break
            path.unlink(missing_ok=True)
            total -= size
