"""The model that answers now, and the watch that takes another one as soon as its folder holds one."""

import asyncio
import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kiban.core.errors import KibanError
from kiban.data.contract import Column
from kiban.servable import manifest
from kiban.serve import accepted, counters
from kiban.serve.model import Served

logger = logging.getLogger("bentoml.kiban")  # BentoML sets up the loggers of its name

Seen = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True)
class Answering:
    """A model that answers: `described` (JSON), `page` (HTML) and `document` (OpenAPI) are what is said of it.

    A request keeps the one that it began with.
    """

    served: Served
    described: bytes
    page: str
    document: bytes

    @property
    def model_id(self) -> str:
        return self.served.model_id


class Watch:
    """Has in `answering` what `load` has made last of the folder `servable`, and knows when that or `report` changes.

    A file system that is looked at every so many seconds: what tells of changes by itself does not on network volumes.
    A candidate is copied, so that nobody changes it meanwhile, and `examine` raises KibanError if it may not be loaded.
    The server's first process takes what lies in the folder, its workers what was accepted last, whatever lies there by
    then. KibanError if it cannot be taken.
    """

    def __init__(
        self,
        examine: Callable[[Path], None],
        load: Callable[[Path], Answering],
        servable: Path,
        report: Path,
        seconds: float,
    ) -> None:
        self.examine = examine
        self.load = load
        self.servable = servable
        self.paths = (servable, report)
        self.seconds = seconds
        self.seen: Seen = frozenset()
        began = accepted.current()
        if began is not None:
            self.answering = load(began)
            return
        with self._candidate() as (copied, candidate):
            accepted.keep(copied, candidate.model_id)
        self.answering = candidate

    async def run(self) -> None:
        """Look, and take what can be taken, until cancelled; whatever goes wrong, the model that answers stays."""
        failed = refused = None  # what could not be taken, and what was said to be refused
        while True:
            await asyncio.sleep(self.seconds)
            state = self.seen
            try:
                state = await asyncio.to_thread(_look, self.paths)
                if state != self.seen:
                    await self._take(state)
            except Exception as error:
                if state == failed and state != refused:  # what was half there a moment ago is whole by now
                    reason = error if isinstance(error, KibanError) else f"{type(error).__name__}: {error}"
                    logger.error("the servable is refused, %s goes on: %s", self.answering.model_id[:12], reason)
                    counters.swaps.labels("refused").inc()
                    refused = state
                if state == refused and isinstance(error, KibanError):  # a full disk, or the like, may pass
                    self.seen = state
                failed = state

    async def _take(self, state: Seen) -> None:
        """Answer with the files from now on, if they are still as in `state`; an exception if they cannot."""
        candidate = await asyncio.to_thread(self._accepted)
        before, self.answering, self.seen = self.answering.model_id, candidate, state
        if candidate.model_id != before:
            logger.info("the model %s answers from now on, not %s", candidate.model_id[:12], before[:12])
            counters.swaps.labels("taken").inc()
        gc.collect()  # the model that was; of what was there at the start the collector knows nothing

    def _accepted(self) -> Answering:
        """What lies in the folder, after it has become the one that a new worker begins with."""
        with self._candidate() as (copied, candidate):
            _check_replaces(candidate.served, self.answering.served)
            accepted.keep(copied, candidate.model_id)
        return candidate

    @contextmanager
    def _candidate(self) -> Iterator[tuple[Path, Answering]]:
        """What lies in the folder, examined and loaded, and the copy of it, which is removed unless it was kept."""
        if not self.servable.is_dir():
            manifest.read_checked(self.servable)
        copied = accepted.copy(self.servable)
        try:
            self.examine(copied)
            yield copied, self.load(copied)
        except KibanError as error:  # in which people look for the folder that they know
            raise KibanError(str(error).replace(str(copied), str(self.servable))) from None
        finally:
            shutil.rmtree(copied, ignore_errors=True)


def _look(paths: tuple[Path, ...]) -> Seen:
    """What tells one state of the files from another: a link's target counts, not the link."""
    states = set()
    for path in paths:
        inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        for file in [str(path), *inside]:
            try:
                state = os.stat(file)
            except OSError:  # it has gone meanwhile
                continue
            states.add((file, state.st_ino, state.st_mtime_ns, state.st_size))
    return frozenset(states)


def _check_replaces(new: Served, old: Served) -> None:
    """Raise KibanError unless whatever `old` was asked, and answered, `new` answers too."""
    problems = list(narrowed(old.schema.features, new.schema.features))
    if (old.model.dataset, old.model.target.name) != (new.model.dataset, new.model.target.name):
        problems.insert(0, f"it predicts {new.model.target.name} of {new.model.dataset}")
    if problems:
        raise KibanError(
            f"model {new.model_id[:12]} does not take the requests of the one that answers: {'; '.join(problems)}. "
            "Start the service anew to serve it"
        )


def narrowed(old: Mapping[str, Column], new: Mapping[str, Column]) -> Iterator[str]:
    """Why a record that the features `old` accept would be refused, or understood otherwise, by `new`."""
    for name in old.keys() - new.keys():
        yield f"it has no field {name}"
    if old.keys() <= new.keys() and list(old) != list(new)[: len(old)]:
        yield "it has its fields in another order, which CSV without a header goes by"
    for name, column in new.items():
        before = old.get(name)
        if not column.nullable and (before is None or before.nullable):
            yield f"it requires {name}"
        if before is None:
            continue
        if (before.type, column.type) != ("integer", "number") and before.type != column.type:
            yield f"{name} is of type {column.type}, not {before.type}"
        if before.unit != column.unit:
            yield f"{name} has the unit {column.unit}, not {before.unit}"
        if column.levels is not None and column.unseen == "reject":
            accepted = None if before.unseen == "warn" else before.levels
            if accepted is None or not set(accepted) <= set(column.levels):
                yield f"{name} has fewer levels"
        if column.out_of_range == "reject":
            low, high = (before.min, before.max) if before.out_of_range == "reject" else (None, None)
            too_high = column.min is not None and (low is None or low < column.min)
            if too_high or (column.max is not None and (high is None or high > column.max)):
                yield f"{name} has a smaller range"
