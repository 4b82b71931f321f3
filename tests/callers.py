"""Sixteen callers of a service, and what they got."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from slice import KNOWN_FLIGHT

CALLERS = 16


@dataclass
class Answered:
    """What callers got: when each request was sent and answered, its status and the model's id, or the error."""

    calls: list[tuple[float, float, int, str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def since(self, moment: float) -> set[str]:
        return {model_id for sent, _, _, model_id, _ in list(self.calls) if sent > moment}


@contextmanager
def callers(url: httpx.URL) -> Iterator[Answered]:
    """Sixteen that ask for one prediction after the other, each on its own connection, until the context ends."""
    answered, ended = Answered(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not ended.is_set():
                sent = time.monotonic()
                try:
                    answer = client.post("/predict", json={"records": [KNOWN_FLIGHT]})
                except httpx.HTTPError as error:
                    answered.failed.append(repr(error))
                    continue
                content = answer.json()
                of_header = answer.headers["x-model-id"]
                prediction = json.dumps(content.get("predictions"))
                answered.calls.append((sent, time.monotonic(), answer.status_code, of_header, prediction))
                if answer.status_code != 200 or content["model_id"] != of_header:
                    answered.failed.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        ended.set()
        for thread in threads:
            thread.join()
