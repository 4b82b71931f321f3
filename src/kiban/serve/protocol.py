"""HTTP/1.1 with uvicorn and httptools, and limits on everything that arrives before the guard sees a request.

uvicorn's own class has these faults. A head may have any size and any number of fields, and take any time. The fields
of a trailer are added to those of the head. A request that offers an upgrade loses its body. A request that is not HTTP
discards the answers to earlier requests of the connection. A caller that has closed its half of the connection gets no
answer.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Literal

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # of the request line and the fields, or of a trailer
HEAD_FIELDS = 100
PART_BYTES = 8 * 1024  # fed to the parser at once; the size of an incomplete field is known to this precision
HEAD_SECONDS = 10.0  # for a head, from a new connection to its first head, and for the rest of a body after its answer
PIPELINED = 100  # requests of one connection that wait for the answer to an earlier one
LINGER_SECONDS = 1.0  # to read on after the last answer: closing with unread data may discard answers on their way


def install() -> None:
    """Make `Protocol` uvicorn's default protocol, which BentoML uses."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Protocol.__name__}"


class _RefusedError(Exception):
    """Raised to stop reading the request."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Protocol(HttpToolsProtocol):
    """One connection. `reading` is the part of a request that is incomplete; `unanswered` counts complete heads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reading: Literal["nothing", "head", "body"] = "nothing"
        self.unanswered = 0
        self.last_answer: bytes | None = None  # the last answer; once it is set, nothing more is read
        self.refused: _RefusedError | None = None
        self.fields = 0
        self.size = 0  # bytes of the complete fields
        self.incomplete = 0  # bytes since the parser's last callback, which belong to an incomplete field
        self.deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.last_answer is not None:
            return
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._feed(data[:PART_BYTES]) + data[PART_BYTES:]
                if self.size + self.incomplete > HEAD_BYTES:
                    raise _too_large()
        except httptools.HttpParserError:
            self._refuse(self.refused or _RefusedError(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request"))
        except _RefusedError as refused:
            self._refuse(refused)
        else:
            if self.reading == "head" or not (self.reading == "body" or self.unanswered):
                self._start_deadline()

    def _feed(self, data: bytes) -> bytes:
        """Feed the parser. Returns the bytes that remain to be fed, if a request offers to upgrade the connection.

        The parser stops at such an offer. A new parser then reads the same head without the offer.
        """
        self.incomplete += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.parser.get_method() == b"CONNECT":
                raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "there is no method CONNECT") from None
            head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            head += [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            return b"\r\n".join(head) + b"\r\n\r\n" + data[offer.args[0] :]
        return b""

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller has closed its sending half. Its complete requests are still answered."""
        if self.reading == "body":
            self._drop_unfinished()
        self.last_answer = self.last_answer or b""
        return self.unanswered > 0

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        self.reading = "head"
        self.fields = self.size = self.incomplete = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields += 1
        self._count(len(name) + len(value))
        if self.reading == "head":  # otherwise the field is of a trailer, which is ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if len(self.pipeline) >= PIPELINED:
            raise self._refused(HTTPStatus.TOO_MANY_REQUESTS, f"more than {PIPELINED} requests wait on this connection")
        super().on_headers_complete()  # raises for an address that cannot be parsed: then the head is refused
        self._end_deadline()
        self.reading = "body"
        self.fields = self.size = self.incomplete = 0
        self.unanswered += 1

    def on_body(self, body: bytes) -> None:
        self.incomplete = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._end_deadline()
        self.reading = "nothing"
        self.incomplete = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.unanswered -= 1
        super().on_response_complete()
        if self.last_answer is not None and not self.unanswered:
            self._end()
        elif self.reading == "body" and not self.unanswered:
            self._start_deadline()  # for the rest of a body that nobody reads

    # Ending a connection

    def _count(self, size: int) -> None:
        self.incomplete = 0
        self.size += size
        if self.size > HEAD_BYTES or self.fields > HEAD_FIELDS:
            self.refused = _too_large()
            raise self.refused

    def _refused(self, status: HTTPStatus, reason: str) -> _RefusedError:
        self.refused = _RefusedError(status, reason)
        return self.refused

    def _refuse(self, refused: _RefusedError) -> None:
        """Answer the earlier requests, then send the refusal, and close."""
        if self.reading == "body":
            self._drop_unfinished()
        text = f"{refused}\n".encode()
        head = (
            f"HTTP/1.1 {refused.status.value} {refused.status.phrase}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(text)}",
            "connection: close",
        )
        self.last_answer = "\r\n".join((*head, "", "")).encode() + text
        if not self.unanswered:
            self._end()

    def _drop_unfinished(self) -> None:
        """Drop the request whose body is incomplete, without an answer."""
        self.reading = "nothing"
        if self.cycle.response_complete:
            return
        self.unanswered -= 1
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _end(self) -> None:
        self._unset_keepalive_if_required()
        self._end_deadline()
        if not self.last_answer or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write(self.last_answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _start_deadline(self) -> None:
        if self.deadline is None:
            self.deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def _too_slow(self) -> None:
        self.deadline = None
        if self.reading == "head":
            reason = f"the head of the request was not complete within {HEAD_SECONDS:g} seconds"
            self._refuse(_RefusedError(HTTPStatus.REQUEST_TIMEOUT, reason))
        else:
            self.transport.close()


def _too_large() -> _RefusedError:
    reason = f"the head of the request has more than {HEAD_BYTES} bytes or {HEAD_FIELDS} fields"
    return _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
