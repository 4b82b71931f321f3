"""The prediction log: each answered request with its answer, as a line of JSON, and how many were refused, and why.
Requests do not wait for the disk.

The event loop makes the line as soon as the answer is sent; a thread writes it.

kiban.request.logged has the form of the lines, docs/serving.md shows how to read them as a table.

Others do not serve: `bentoml.monitor` has no limit of size and adds 0.15 ms to a request, and the rotating handler of
the standard library leaves half a line when the disk is full.
"""

import asyncio
import contextlib
import logging
import os
import random
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kiban.request import logged
from kiban.request.logged import UNPROCESSABLE, Reason
from kiban.request.refusal import RefusedError
from kiban.request.schema import Records
from kiban.serve import counters
from kiban.serve.log_copies import LogCopies
from kiban.serve.model import Served
from kiban.serve.settings import Log
from kiban.serve.watch import Answering

logger = logging.getLogger("bentoml.kiban")

MOST_WAITING = 50_000_000  # bytes that are not written yet; lines beyond it are lost, and counted
BURST = 1_000_000  # bytes of one write; a write is short, because requests wait during it
PAUSE = 0.05  # seconds between two writes
RETRY = 1.0  # seconds until the next try after a write failed
REFUSED_SECONDS = 10.0  # in which refusals are counted before a line has them
MOST_REASONS = 100  # of refusals in a line, apart from their fields


class Line(NamedTuple):
    """A line of the log, and the number of its predictions."""

    content: bytes
    predictions: int


class PredictionLog:
    """A log in `folder`, to which `workers` processes write.

    Each process starts a new file every day, and when a file reaches `max_file_bytes`. The oldest files are deleted
    when all files together exceed `max_bytes`. With the address of a `store` the files are copied to it.
    """

    def __init__(self, folder: Path, settings: Log, workers: int, store: str | None = None) -> None:
        self.folder = folder
        self.settings = settings
        self.copies = LogCopies(folder, store, settings.copy_seconds) if store else None
        self.room = settings.max_bytes - workers * settings.max_file_bytes  # bytes of old files when a file is begun
        self.waiting: deque[Line] = deque()
        self.refused: Counter[Reason] = Counter()
        self.burst: list[Line] = []  # the lines that are being written
        self.added = self.taken = 0  # bytes added and written; each is changed by one thread only
        self.line_added, self.closed = threading.Event(), threading.Event()
        self.file: int | None = None
        self.begun = datetime.min.replace(tzinfo=UTC)  # of the file
        self.size = 0
        self.failing = self.overflowing = False
        self.thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        self.thread.start()
        if self.copies:
            self.copies.start()

    def add(
        self,
        request_id: str,
        served: Served,
        records: Records,
        predictions: Sequence[Mapping[str, Any]],
        warnings: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add an answered request to the log, with the probability `share`. Does not wait for the disk."""
        share = self.settings.share
        if share < 1 and random.random() >= share:  # noqa: S311
            return
        line = logged.answered(
            datetime.now(UTC), request_id, served.model_id, records, predictions, warnings, served.personal, share
        )
        self._add(Line(line, len(predictions)))

    def refuse(self, answering: Answering, refused: RefusedError) -> None:
        """Count a request that was refused. Some seconds later one line has all counts."""
        if not self.settings.share:
            return
        if not self.refused:
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._add_refused)
        columns = answering.served.schema.columns
        names = {finding["field"] for finding in refused.findings} if refused.status == UNPROCESSABLE else set()
        fields = tuple(sorted(columns.keys() & names))  # a caller's own name may be anything, such as a value
        reason = Reason(answering.model_id, refused.status, fields)
        if reason not in self.refused and len(self.refused) >= MOST_REASONS:
            reason = reason._replace(fields=())
        self.refused[reason] += 1

    def _add_refused(self) -> None:
        refused, self.refused = self.refused, Counter()
        if refused:
            self._add(Line(logged.refused(datetime.now(UTC), refused), 0))

    def _add(self, line: Line) -> None:
        waiting = self.added - self.taken
        if waiting and waiting + len(line.content) > MOST_WAITING:
            counters.log_lost.inc(line.predictions)
            if not self.overflowing:
                logger.error("prediction log: too many predictions wait to be written; new ones are not logged")
                self.overflowing = True
            return
        self.waiting.append(line)
        self.added += len(line.content)
        self.line_added.set()

    def close(self) -> None:
        """Try to write the lines that wait, and end the thread. Lines that cannot be written are lost, and counted."""
        self._add_refused()
        self.closed.set()
        self.line_added.set()
        if self.thread.is_alive():
            self.thread.join()
        self._close_file()
        if self.copies:
            self.copies.close()

    def _run(self) -> None:
        while not self.closed.is_set():
            self.line_added.wait()
            self.line_added.clear()
            if not self._write_all():
                self.line_added.set()
                self.closed.wait(RETRY)
            self.closed.wait(PAUSE)
        if not self._write_all():
            lost = sum(line.predictions for line in [*self.burst, *self.waiting])
            counters.log_lost.inc(lost)
            logger.error("prediction log: %d predictions could not be written before the end", lost)

    def _write_all(self) -> bool:
        """Write the lines that wait, in bursts. Returns False if a write fails."""
        while self.waiting or self.burst:
            if not self.burst:
                self.burst = self._next_burst()
            try:
                self._write(b"".join(line.content for line in self.burst))
            except OSError as error:
                if not self.failing:
                    problem = f"{self.folder}: {error.strerror}"
                    logger.error("prediction log: %s; predictions are answered, and wait to be logged", problem)
                self.failing = True
                return False
            self.taken += sum(len(line.content) for line in self.burst)
            counters.logged.inc(sum(line.predictions for line in self.burst))
            self.burst = []
        if self.failing:
            logger.info("prediction log: written again")
        self.failing = self.overflowing = False
        return True

    def _next_burst(self) -> list[Line]:
        """Take the next lines to write from those that wait: at least one."""
        burst: list[Line] = []
        size, most = 0, min(BURST, self.settings.max_file_bytes)
        while self.waiting:
            size += len(self.waiting[0].content)
            if burst and size > most:
                break
            burst.append(self.waiting.popleft())
        return burst

    def _write(self, lines: bytes) -> None:
        """Append all of the lines to the file, or none. Raises OSError if they cannot be written."""
        file = self._file(len(lines))
        try:
            offset = 0
            while offset < len(lines):
                offset += os.write(file, lines[offset:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, self.size)
            raise
        self.size += offset

    def _file(self, more: int) -> int:
        """The file to write `more` bytes to: the open one, or a new one if that is full, old or deleted."""
        now = datetime.now(UTC)
        if self.file is not None:
            fits = self.size + more <= self.settings.max_file_bytes or self.size == 0
            is_old = now.date() != self.begun.date() or (self.copies and self.copies.is_due(self.begun, now))
            if fits and not is_old and os.fstat(self.file).st_nlink:
                return self.file
            self._close_file()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room()
        path = self.folder / logged.file_name(now)
        # Requests may contain personal data: only the service's account may read the file.
        self.file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        self.begun, self.size = now, 0
        return self.file

    def _close_file(self) -> None:
        file, self.file = self.file, None  # even if close fails, the number may belong to another file afterwards
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file)

    def _make_room(self) -> None:
        """Delete the oldest files until the others, with a full file for each worker, are within the limit."""
        files = []
        for path in sorted(self.folder.glob(logged.NAMES)):
            with contextlib.suppress(FileNotFoundError):  # another worker has made room too
                files.append((path, path.stat().st_size))
        total = sum(size for _, size in files)
        for path, size in files:
            if total <= self.room:
                break
            path.unlink(missing_ok=True)
            total -= size
