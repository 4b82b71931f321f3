"""Copies of the prediction log in a store: the disk of a container goes with it.

A file is copied when nothing is written to it any more. Its name says when it was begun, and every process begins a new
one in time, so that no process has to tell another one. A file that a killed process has left is copied too.
"""

import gzip
import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from kiban.core.errors import one_line
from kiban.request import logged
from kiban.serve import counters

logger = logging.getLogger("bentoml.kiban")

LOCK = ".copies.lock"
"""Of the processes that write to a folder one copies."""

WRITTEN, QUIET, PAUSE = 0.5, 0.2, 0.1
"""Shares of the seconds after which a line is copied: how long a file is written to, how long it is left alone then,
and the pause between two looks. The rest is for the copies."""

LAST_SECONDS = 10.0  # for the copies of a service that ends


class LogCopies:
    """Copies the files in `folder` to the address `store`, each line at the latest `seconds` after it was written."""

    def __init__(self, folder: Path, store: str, seconds: float) -> None:
        self.folder = folder
        self.store = store
        self.seconds = seconds
        self.copied: set[str] = set()  # the names of files
        self.listed: set[str] = set()  # the days whose copies are known
        self.closed = threading.Event()
        self.is_failing = False
        self.thread = threading.Thread(target=self._run, name="log-copies", daemon=True)

    def is_due(self, begun: datetime, now: datetime) -> bool:
        """Whether a file that was begun at that time is to be written to no more."""
        return now - begun > timedelta(seconds=WRITTEN * self.seconds)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        """Copy what this process has written last, if the store answers in time, and end."""
        self.closed.set()
        if self.thread.is_alive():
            self.thread.join(LAST_SECONDS)

    def _run(self) -> None:
        while not self.closed.wait(PAUSE * self.seconds):
            self._copy_closed()
        own = f"-{logged.file_name(datetime.now(UTC)).partition('-')[2]}"
        self._copy([path for path in self._files() if path.name.endswith(own)])

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(logged.NAMES) if path.is_file())

    def _copy_closed(self) -> None:
        """Copy every file that nobody writes to any more."""
        if not self.folder.is_dir():
            return
        latest = datetime.now(UTC) - timedelta(seconds=(WRITTEN + QUIET) * self.seconds)
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                self._copy([path for path in self._files() if _is_before(path.name, latest)])
        except Timeout:  # another process copies
            self.listed.clear()  # so that this one sees what that one has copied
        except OSError as error:  # of the lock
            self._fail(error)

    def _copy(self, files: list[Path]) -> None:
        """Copy files, each by itself: one that cannot be read keeps no other back."""
        from kiban.sources import stores  # takes a moment, and most services copy nothing

        has_failed = False
        for path in files:
            day, address = path.name[:8], logged.copied_to(self.store, path.name)
            try:
                if day not in self.listed:
                    self.copied |= {name.removesuffix(logged.COPY) for name in stores.names(address.rpartition("/")[0])}
                    self.listed.add(day)
                if path.name in self.copied or (content := _content(path)) is None:
                    continue
                stores.write(address, gzip.compress(content, compresslevel=6, mtime=0))
                self.copied.add(path.name)
                counters.log_copies.labels("copied").inc()
            except Exception as error:  # the clients of stores have no common type of error
                has_failed = True
                self._fail(error)
        if self.is_failing and not has_failed:
            logger.info("prediction log: %s is written again", self.store)
            self.is_failing = False

    def _fail(self, error: Exception) -> None:
        counters.log_copies.labels("failed").inc()
        if not self.is_failing:
            logger.error("prediction log: %s cannot be written: %s; it is tried again", self.store, one_line(error))
        self.is_failing = True


def _is_before(name: str, latest: datetime) -> bool:
    try:
        return logged.begun(name) < latest
    except ValueError:  # a file of something else
        return False


def _content(path: Path) -> bytes | None:
    """The bytes of a file, or None if it was deleted to make room."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
