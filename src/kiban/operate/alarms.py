"""The alarms that are open. Each is told once, and again when it ends; git has them in monitoring/alarms.json."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kiban.core import files, web
from kiban.core.errors import KibanError, one_line
from kiban.operate.windows import Alarm

FOLDER = Path("monitoring")
FILE = FOLDER / "alarms.json"
COMMAND, ADDRESS = "KIBAN_ALARM_COMMAND", "KIBAN_ALARM_URL"
"""The environment variables of a command that reads a message as JSON, and of an address that takes it by POST."""

SECONDS = 30


class Open(BaseModel):
    """An alarm that is open `since` a time. It is `told` if somebody was; `ended` is one whose end was not told yet."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: str
    subject: str
    sentence: str
    since: datetime
    told: bool = False
    ended: bool = False

    @property
    def name(self) -> tuple[str, str]:
        return self.kind, self.subject


class Message(NamedTuple):
    """What is told: an alarm that has begun, or has ended."""

    event: Literal["begun", "ended"]
    alarm: Open

    @property
    def content(self) -> bytes:
        return json.dumps(
            {"event": self.event, **self.alarm.model_dump(mode="json", exclude={"told", "ended"})}
        ).encode()


def read(path: Path = FILE) -> list[Open]:
    """The alarms that were open. Raises KibanError if the file cannot be read."""
    try:
        return TypeAdapter(list[Open]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError:
        raise KibanError(f"{path} cannot be read: restore it with `git checkout`") from None


def write(alarms: Sequence[Open], path: Path = FILE) -> None:
    """Write the open alarms, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    content = TypeAdapter(list[Open]).dump_json(list(alarms), indent=1)
    files.write(path, content + b"\n")


def opened(before: Iterable[Open], present: Iterable[Alarm], now: datetime) -> list[Open]:
    """The alarms that are open now, each since it was seen first."""
    known = {alarm.name: alarm for alarm in before if not alarm.ended}
    return [
        known[alarm.kind, alarm.subject].model_copy(update={"sentence": alarm.sentence})
        if (alarm.kind, alarm.subject) in known
        else Open(**alarm.model_dump(), since=now)
        for alarm in present
    ]


def record(present: Iterable[Alarm], now: datetime, path: Path) -> Iterator[str]:
    """Write the alarms that are open to `path`, tell those that began or ended, and give a line for each not told.

    The file is on the machine that tells: a commit may not reach main.

    An alarm that could not be told is told the next time.
    """
    before = read(path)
    open_now = opened(before, present, now)
    names = {alarm.name for alarm in open_now}
    told: list[Open] = []
    for alarm in open_now:
        problem = None if alarm.told else tell(Message("begun", alarm))
        if problem:
            yield problem
        told.append(alarm.model_copy(update={"told": alarm.told or problem is None}))
    for alarm in before:
        if (alarm.ended or alarm.name not in names) and alarm.told and (problem := tell(Message("ended", alarm))):
            yield problem
            told.append(alarm.model_copy(update={"ended": True}))
    if told != before:
        write(told, path)


def show(alarms: Sequence[Open], path: Path = FILE) -> None:
    """Write the alarms that are open to the file that git keeps, if it has others."""
    present = [alarm.model_copy(update={"told": False}) for alarm in alarms if not alarm.ended]
    if [alarm.name for alarm in present] != [alarm.name for alarm in read(path)]:
        write(present, path)


def tell(message: Message) -> str | None:
    """Tell a message to the command and the address of the environment, if there are any; why it failed, or None."""
    if command := os.environ.get(COMMAND):
        try:
            words = shlex.split(command)
            subprocess.run(words, input=message.content, check=True, timeout=SECONDS, capture_output=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return f"{COMMAND}: the alarm {message.alarm.subject} was not told: {one_line(error)}"
    address = os.environ.get(ADDRESS)
    if address and (problem := web.ask(address, message.content, SECONDS)):
        return f"{ADDRESS}: the alarm {message.alarm.subject} was not told: {problem}"
    return None
