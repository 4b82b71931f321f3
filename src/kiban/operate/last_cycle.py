"""A cycle as it is told: its steps, what it took, and how it ended. The release folder keeps the last one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from kiban.core import files
from kiban.serve.released import LAST_CYCLE, LastCycle

FAILED, BAD_DATA, ALARM = 1, 3, 4
"""Exit statuses. Nothing to do, a promotion and a refusal are 0: schedulers try anything else again."""

Outcome = Literal["nothing to do", "not due", "refused", "promoted", "waiting", "held", "blocked", "failed"]


class Step(BaseModel):
    """What was done, what came of it, and how long it took."""

    name: str
    said: str
    seconds: float


class Cycle(LastCycle):
    """A cycle. `taken` are the batches that are new or were corrected, `held_back` those that were kept out, and why.

    `commit` is what it put on main. `problems` are why it failed.
    """

    ended: datetime | None = None
    outcome: Outcome = "nothing to do"
    promotion: str = ""
    hold: str | None = None
    taken: list[str] = []
    held_back: dict[str, list[str]] = {}
    alarms: list[str] = []
    commit: str | None = None
    steps: list[Step] = []

    @property
    def status(self) -> int:
        """The exit status: the gravest of all that happened."""
        if self.problems:
            return FAILED
        if self.held_back:
            return BAD_DATA
        return ALARM if self.alarms else 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """A step, whose result is given to the function in the context."""
        started, said = time.monotonic(), ""

        def say(text: str) -> None:
            nonlocal said
            said = text

        try:
            yield say
        finally:
            self.steps.append(Step(name=name, said=said, seconds=round(time.monotonic() - started, 2)))

    def write(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        files.write(root / LAST_CYCLE, (self.model_dump_json(indent=1) + "\n").encode())
