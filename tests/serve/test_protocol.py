"""The protocol under a real uvicorn, asked with raw bytes. That BentoML uses it is in e2e/test_serving.py."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from kiban.serve import protocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
TOO_LARGE = "HTTP/1.1 431"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was read of a request; /slow waits, /early answers before it has read the body."""
    request = Request(scope, receive)
    try:
        body = b"" if scope["path"] == "/early" else await request.body()
    except ClientDisconnect:  # nobody waits for an answer
        body = b""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    names = [name.decode() for name, _ in request.headers.raw]
    await JSONResponse({"path": scope["path"], "body": body.decode(), "headers": names})(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "HEAD_SECONDS", 1.0)
        patch.setattr(protocol, "LINGER_SECONDS", 0.3)
        config = uvicorn.Config(echo, http=protocol.Protocol, lifespan="off", log_config=None, timeout_keep_alive=2)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            yield listener.getsockname()[1]
            server.should_exit = True
            thread.join()


def ask(port: int, *parts: bytes, pause: float = 0.05, half_close: bool = False) -> str:
    """Everything that the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for number, part in enumerate(parts):
            time.sleep(pause if number else 0)
            try:
                connection.sendall(part)
            except ConnectionError:
                break
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer.decode()


def statuses(answer: str) -> list[int]:
    return [int(status) for status in re.findall(r"HTTP/1.1 (\d{3})", answer)]


def last(request: bytes) -> bytes:
    """The request, after whose answer the server closes the connection."""
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"GET / HTTP/1.1\r\nX: ", *[b"x" * 20_000] * 8], id="a field without an end"),
        pytest.param([b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"], id="a large field at once"),
        pytest.param([b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 101 + b"\r\n"], id="many fields"),
        pytest.param([b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 7000 + b"\r\n") * 10 + b"\r\n"], id="many large fields"),
        pytest.param([b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"], id="a long path"),
        pytest.param([b"GET /", *[b"x" * 20_000] * 8], id="a path without an end"),
        pytest.param(
            [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * 102], id="many trailers"
        ),
        pytest.param(
            [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", *[b"x" * 20_000] * 8], id="a long extension"
        ),
    ],
)
def test_a_head_without_bounds_is_refused(port: int, parts: list[bytes]) -> None:
    assert ask(port, *parts).startswith(TOO_LARGE)


def test_a_head_within_the_bounds_is_read_in_whatever_parts_it_comes(port: int) -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 600) for number in range(95))
    request = b"POST /p HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n" + fields + b"\r\nhello"
    answer = ask(port, *[request[start : start + 5000] for start in range(0, len(request), 5000)], pause=0)
    assert statuses(answer) == [200]
    assert '"body":"hello"' in answer


def test_a_large_body_is_no_head(port: int) -> None:
    body = b"x" * 3_000_000
    answer = ask(port, b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    assert statuses(answer) == [200]


def test_a_head_that_takes_too_long_gets_408(port: int) -> None:
    began = time.monotonic()
    answer = ask(port, b"GET / HTTP/1.1\r\n", *[b"X: 1\r\n"] * 12, pause=0.2)
    assert statuses(answer) == [408]
    assert 0.8 < time.monotonic() - began < 5


@pytest.mark.parametrize("words", [b"", b"\r\n"])
def test_a_connection_that_asks_nothing_is_closed(port: int, words: bytes) -> None:
    began = time.monotonic()
    assert ask(port, *[words] * 20, pause=0.2) == ""
    assert time.monotonic() - began < 6


def test_the_second_head_of_a_connection_has_its_own_time(port: int) -> None:
    answer = ask(port, GET, b"GET / HTTP/1.1\r\nX: ", *[b"x"] * 12, pause=0.2)
    assert statuses(answer) == [200, 408]


def test_a_body_that_nobody_reads_ends_the_connection_in_time(port: int) -> None:
    began = time.monotonic()
    answer = ask(port, b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", *[b"x"] * 30, pause=0.2)
    assert statuses(answer) == [200]
    assert time.monotonic() - began < 8


def test_a_trailer_is_no_header(port: int) -> None:
    request = b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    answer = ask(port, request + b"Authorization: Bearer x\r\n\r\n")
    assert '"body":"hello"' in answer
    assert "authorization" not in answer


@pytest.mark.parametrize("protocol_name", [b"h2c", b"websocket", b"TLS/1.0"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_to_upgrade_is_ignored(port: int, protocol_name: bytes, chunked: bool) -> None:
    """As Java's HttpClient and `curl --http2` make it with every request."""
    head = (
        b"POST /p HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AA\r\n"
        % protocol_name
    )
    body = (
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" if chunked else b"Content-Length: 5\r\n\r\nhello"
    )
    for parts in ([head + body], [head, body], [head + body[:30], body[30:]]):
        answer = ask(port, *parts, last(GET))
        assert statuses(answer) == [200, 200]
        assert '"body":"hello"' in answer
        assert '"upgrade"' not in answer


def test_many_offers_in_a_row_are_answered(port: int) -> None:
    offer = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert statuses(ask(port, offer * 50 + last(GET))) == [200] * 51


def test_there_is_no_connect(port: int) -> None:
    assert statuses(ask(port, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n")) == [405]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"this is no HTTP\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),  # the beginning of TLS
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 80_000, 431),
        (b"GET http://host HTTP/1.1\r\nHost: a\r\n\r\n", 400),  # without a path
        (b"GET http://h:99999/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_what_comes_before_a_bad_request_is_answered(port: int, bad: bytes, status: int) -> None:
    assert statuses(ask(port, bad)) == [status]
    assert statuses(ask(port, SLOW + GET + bad)) == [200, 200, status]
    assert statuses(ask(port, SLOW, GET, bad, b"more of it" * 100_000)) == [200, 200, status]


def test_who_sends_no_more_still_gets_its_answers(port: int) -> None:
    assert statuses(ask(port, SLOW + GET, half_close=True)) == [200, 200]
    assert statuses(ask(port, SLOW + b"GET / HT", half_close=True)) == [200]
    assert statuses(ask(port, SLOW + b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", half_close=True)) == [200]
    assert ask(port, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", half_close=True) == ""
    assert ask(port, b"", half_close=True) == ""


def test_a_connection_has_a_bounded_number_of_requests_that_wait(port: int) -> None:
    answered = statuses(ask(port, SLOW + GET * 500))
    assert answered == [200] * (1 + protocol.PIPELINED) + [429]
