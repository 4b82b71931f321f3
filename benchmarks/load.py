"""A load on one server, in a process of its own: `python load.py PORT PATH BODIES CONNECTIONS SECONDS` prints JSON.

BODIES is a file with one body a line. Each connection sends its next request when it has the answer; one that the
server closes is opened anew.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter

import httptools
import uvloop


class Connection(asyncio.Protocol):
    """One connection; `done` gets the milliseconds of each of its requests until the time is over."""

    def __init__(self, requests: Iterator[bytes], until: float, done: list[float], port: int) -> None:
        self.requests, self.until, self.done, self.port = requests, until, done, port
        self.finished = asyncio.get_running_loop().create_future()
        self.answered = self.kept_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send(perf_counter())

    def send(self, started: float) -> None:
        # A new connection counts into the request that wanted it.
        self.parser = httptools.HttpResponseParser(self)
        self.started, self.answered = started, False
        self.transport.write(next(self.requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if not self.answered:
            return
        self.done.append((perf_counter() - self.started) * 1000)
        if perf_counter() > self.until:
            self.transport.close()
            self.finished.set_result(None)
        elif self.kept_alive:
            self.send(perf_counter())

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            sys.exit(f"status {self.parser.get_status_code()}")
        self.answered, self.kept_alive = True, self.parser.should_keep_alive()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            if not self.answered:
                sys.exit("a connection was lost before its answer")
            asyncio.get_running_loop().create_task(connect(self))


async def connect(protocol: Connection) -> None:
    await asyncio.get_running_loop().create_connection(lambda: protocol, "127.0.0.1", protocol.port)


async def main(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    requests = cycle([head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies])
    done: list[float] = []
    all_of_them = [Connection(requests, perf_counter() + seconds, done, port) for _ in range(connections)]
    await asyncio.gather(*(connect(each) for each in all_of_them))
    await asyncio.gather(*(each.finished for each in all_of_them))
    print(json.dumps(done))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path", help="of the URL")
    parser.add_argument("bodies", type=Path, help="a file with the body of a request in each line")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    bodies = given.bodies.read_bytes().splitlines()
    uvloop.run(main(given.port, given.path, bodies, given.connections, given.seconds))
