"""Puts load on a server: `python load.py PORT PATH BODIES CONNECTIONS SECONDS` prints the milliseconds as JSON.

BODIES is a file with one body on each line. Each connection sends its next request when it has the answer. A connection
that the server closes is opened again.
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
    """One connection. It adds the milliseconds of each of its requests to `durations` until the time `until`."""

    def __init__(self, requests: Iterator[bytes], until: float, durations: list[float], port: int) -> None:
        self.requests, self.until, self.durations, self.port = requests, until, durations, port
        self.finished = asyncio.get_running_loop().create_future()
        self.answered = self.kept_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send(perf_counter())

    def send(self, started: float) -> None:
        # The time to open a new connection counts for its first request.
        self.parser = httptools.HttpResponseParser(self)
        self.started, self.answered = started, False
        self.transport.write(next(self.requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if not self.answered:
            return
        self.durations.append((perf_counter() - self.started) * 1000)
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
    durations: list[float] = []
    protocols = [Connection(requests, perf_counter() + seconds, durations, port) for _ in range(connections)]
    await asyncio.gather(*(connect(protocol) for protocol in protocols))
    await asyncio.gather(*(protocol.finished for protocol in protocols))
    print(json.dumps(durations))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path", help="of the URL")
    parser.add_argument("bodies", type=Path, help="a file with the body of a request in each line")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    uvloop.run(main(options.port, options.path, bodies, options.connections, options.seconds))
