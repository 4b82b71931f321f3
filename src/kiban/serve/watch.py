"""The model that answers, and the watch that replaces it when its folder holds another one."""

import asyncio
import gc
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kiban.core.errors import KibanError
from kiban.request import replaces
from kiban.servable import manifest
from kiban.serve import accepted, counters
from kiban.serve.model import Served

logger = logging.getLogger("bentoml.kiban")  # BentoML sets up the loggers of its name

RETRY_SECONDS = 600.0
"""A refused servable is tried again after this time: the machine may have been slow, or git may know the model now."""

Seen = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True)
class Answering:
    """A model that answers, with its descriptions: `described` (JSON), `page` (HTML) and `document` (OpenAPI).

    A request is answered by the model with which it began.
    """

    served: Served
    described: bytes
    page: str
    document: bytes

    @property
    def model_id(self) -> str:
        return self.served.model_id


class Watch:
    """Loads the model from the folder `servable` into `answering`, again whenever that folder or `report` changes.

    It polls the files every `seconds`, because notifications of changes do not work on network volumes. A candidate is
    copied first, so that nobody changes it meanwhile. `examine` raises KibanError if the candidate may not be loaded.
    The server's first process starts with the servable in the folder, its workers with the one that was accepted last.
    Raises KibanError if that servable cannot be loaded.

    A candidate that refuses what the present model answers is taken only if `accepts_less` says so of its id. `tell` is
    called at that interval too, with the id of the model that answers, and the reason of the last refusal or None.
    """

    def __init__(
        self,
        examine: Callable[[Path], None],
        load: Callable[[Path], Answering],
        servable: Path,
        report: Path,
        seconds: float,
        accepts_less: Callable[[str], bool] = lambda _: False,
        tell: Callable[[str, str | None], None] = lambda *_: None,
    ) -> None:
        self.examine = examine
        self.load = load
        self.accepts_less = accepts_less
        self.tell = tell
        self.servable = servable
        self.paths = (servable, report)
        self.seconds = seconds
        self.seen: Seen = frozenset()
        self.reason: str | None = None  # of the last refusal
        current = accepted.current()
        if current is not None:
            self.answering = load(current)
            return
        with self._candidate() as (copied, candidate):
            accepted.keep(copied, candidate.model_id)
        accepted.keep_keys(candidate.served.schema.keys)
        self.answering = candidate

    async def run(self) -> None:
        """Poll the files and load what has changed, until cancelled. If loading fails, the present model stays."""
        telling = asyncio.create_task(self._tell())
        try:
            await self._watch()
        finally:
            telling.cancel()

    async def _tell(self) -> None:
        """Tell all the time, also while a model is being tried: who waits for it sees that this worker lives."""
        while True:
            await asyncio.sleep(self.seconds)
            await asyncio.to_thread(self.tell, self.answering.model_id, self.reason)

    async def _watch(self) -> None:
        failed = refused = None  # the last state that failed to load, and the last state whose refusal was logged
        retry_at = math.inf
        while True:
            await asyncio.sleep(self.seconds)
            state = self.seen
            if time.monotonic() >= retry_at:
                self.seen, retry_at = frozenset(), math.inf
            try:
                state = await asyncio.to_thread(_look, self.paths)
                if state != self.seen:
                    self.reason = None
                    await self._take(state)
            except Exception as error:
                if state == failed and state != refused:  # it failed twice, so the files are not just half written
                    self.reason = str(error) if isinstance(error, KibanError) else f"{type(error).__name__}: {error}"
                    logger.error("the servable is refused, %s goes on: %s", self.answering.model_id[:12], self.reason)
                    counters.swaps.labels("refused").inc()
                    refused = state
                # Other errors, such as a full disk, may pass at any time.
                if state == refused and isinstance(error, KibanError):
                    self.seen, retry_at = state, time.monotonic() + RETRY_SECONDS
                failed = state

    async def _take(self, state: Seen) -> None:
        """Answer with the servable in the folder from now on.

        Raises an exception if it cannot be loaded or does not replace the present model.
        """
        candidate = await asyncio.to_thread(self._accepted)
        previous_id, self.answering, self.seen = self.answering.model_id, candidate, state
        if candidate.model_id != previous_id:
            logger.info("the model %s answers from now on, not %s", candidate.model_id[:12], previous_id[:12])
            counters.swaps.labels("taken").inc()
        gc.collect()  # frees the previous model; the model of the start is frozen and stays

    def _accepted(self) -> Answering:
        """Load the servable in the folder, and keep its copy for new workers to start with."""
        with self._candidate() as (copied, candidate):
            if not self.accepts_less(candidate.model_id):
                _check_replaces(candidate.served, self.answering.served)
            accepted.keep(copied, candidate.model_id)
        accepted.keep_keys(candidate.served.schema.keys)
        return candidate

    @contextmanager
    def _candidate(self) -> Iterator[tuple[Path, Answering]]:
        """A copy of the servable in the folder, and the model loaded from it. The copy is removed if it is not kept."""
        if not self.servable.is_dir():
            manifest.read_checked(self.servable)
        copied = accepted.copy(self.servable)
        try:
            self.examine(copied)
            yield copied, self.load(copied)
        except KibanError as error:  # the folder that people know, in place of the copy
            raise KibanError(str(error).replace(str(copied), str(self.servable))) from None
        finally:
            shutil.rmtree(copied, ignore_errors=True)


def _look(paths: tuple[Path, ...]) -> Seen:
    """The path, inode, time and size of each file under `paths`. They are those of a link's target, not of the link."""
    states = set()
    for path in paths:
        inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        for file in [str(path), *inside]:
            try:
                state = os.stat(file)
            except OSError:  # the file was removed in the meantime
                continue
            states.add((file, state.st_ino, state.st_mtime_ns, state.st_size))
    return frozenset(states)


def _check_replaces(new: Served, old: Served) -> None:
    """Raise KibanError unless `new` answers every request that `old` answers."""
    if reasons := replaces.problems(old.servable, new.servable):
        raise KibanError(
            f"model {new.model_id[:12]} does not accept the requests of the present model: {'; '.join(reasons)}. "
            "Restart the service to serve it"
        )
