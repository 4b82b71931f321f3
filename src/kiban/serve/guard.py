"""The guard before every route: it checks path, method, API key and limits, and counts the answers."""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kiban.core.errors import KibanError
from kiban.request.refusal import RefusedError, finding
from kiban.serve import answer, counters
from kiban.serve.settings import Serving
from kiban.serve.watch import Answering

KEYS = "KIBAN_API_KEYS"
"""The environment variable of the API keys, separated by commas or white space. Without it no key is needed."""

SHORTEST_KEY = 16  # characters; a shorter key can be guessed
KEYED = frozenset({"/predict", "/invocations"})  # the paths that need a key if there are keys
ALWAYS_ANSWERED = frozenset({"/livez", "/readyz", "/ping", "/metrics"})  # never refused with 429
CLOSED = "the handler is closed"  # in uvloop's message about a connection that the caller has reset
OTHER = "other"  # stands for every unknown path in the counters
READ = (b"content-type", b"content-encoding", b"accept")
"""The headers that predictions are read and written by."""

ALIASES = {"AIP_PREDICT_ROUTE": "/invocations", "AIP_HEALTH_ROUTE": "/ping"}
"""The environment variables in which Vertex AI gives paths other names, and the paths.
Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements"""

PORT = "AIP_HTTP_PORT"
"""The environment variable in which Vertex AI gives the port."""

Direct = Callable[[Mapping[str, str], bytes, Answering, str], Response]
"""What answers a request without the application: from its headers READ, its body, the model and the request's id."""

ANSWERING = "kiban.answering"
"""The key of a request's scope with the model that answers it."""

_MODEL_ID, _REQUEST_ID = (name.lower().encode() for name in (answer.MODEL_ID, answer.REQUEST_ID))
_MAY_BE_REPEATED = re.compile(rb"[A-Za-z0-9._:-]{1,100}")  # a caller's id that is safe in headers and logs


def read_keys(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """The digests of the API keys. Raises KibanError if the variable is set but is empty or has a weak key."""
    if KEYS not in environment:
        return ()
    keys = re.split(r"[,\s]+", environment[KEYS].strip(" \t\r\n,"))
    if not all(len(key) >= SHORTEST_KEY and key.isascii() for key in keys):
        raise KibanError(
            f"{KEYS}: each key must have at least {SHORTEST_KEY} ASCII characters; unset it to serve without keys"
        )
    return tuple(_digest(key.encode()) for key in keys)


def read_aliases(environment: Mapping[str, str]) -> dict[str, str]:
    """Paths by the other names that Vertex AI gives them. Raises KibanError if a name is no path."""
    aliases = {environment[name]: path for name, path in ALIASES.items() if environment.get(name)}
    given = [environment[name] for name in ALIASES if environment.get(name)]
    if wrong := [alias for alias in given if not alias.startswith("/")]:
        raise KibanError(f"{' and '.join(ALIASES)}: {wrong[0]!r} is not a path: it begins with /")
    if len(set(given)) < len(given):
        raise KibanError(f"{' and '.join(ALIASES)} are one path: {given[0]!r}")
    return {alias: path for alias, path in aliases.items() if alias != path}


def read_port(environment: Mapping[str, str]) -> int:
    """The port at which the service listens, if no option says another one. Raises KibanError if it is not a number."""
    given = environment.get(PORT, "") or "3000"
    if not given.isdecimal() or not 0 < int(given) < 65536:
        raise KibanError(f"{PORT}: {given!r} is not a port")
    return int(given)


logger = logging.getLogger("bentoml.kiban")  # BentoML sets up the loggers of its name


class Guard:
    """ASGI middleware. It passes on only requests with a known path and method, with a valid key if one is needed, and
    with a complete body within the limits.

    `methods` has the method of each path, and `aliases` the paths that have other names too. A request that is refused
    gets a Refusal. Every answer has the ids of the request and of the model, which is the current one at the time when
    the body is complete. `refused` is told of the predictions that are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        methods: Mapping[str, str],
        aliases: Mapping[str, str],
        limits: Serving,
        keys: tuple[bytes, ...],
        current: Callable[[], Answering],
        direct: Mapping[str, Direct],
        refused: Callable[[Answering, RefusedError], None],
    ) -> None:
        self.app = app
        self.methods = methods
        self.aliases = aliases
        self.limits = limits
        self.keys = keys
        self.current = current
        self.direct = direct
        self.refused = refused
        self.in_hand = 0  # requests with a complete body, whose answers have not begun
        self.waiting = 0  # requests whose bodies are incomplete
        self.waiting_bytes = 0  # of incomplete bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] in self.aliases:
            scope = {**scope, "path": self.aliases[scope["path"]]}
        if scope["method"] == "HEAD" and self.methods.get(scope["path"]) == "GET":
            scope = {**scope, "method": "GET"}  # the server has a scope of its own, and leaves the body out
        started = perf_counter()
        path = scope["path"] if scope["path"] in self.methods else OTHER
        status = 0
        place = 0
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(_REQUEST_ID, b""))
        answering = self.current()

        async def send_and_note(message: Message) -> None:
            nonlocal status, place
            if message["type"] == "http.response.start":
                status = message["status"]
                ids = ((_MODEL_ID, answering.model_id.encode()), (_REQUEST_ID, request_id))
                message["headers"] = [*message["headers"], *ids]
                self.in_hand -= place  # a caller that reads slowly does not count
                place = 0
            try:
                await send(message)
            except RuntimeError as error:
                if CLOSED not in str(error):  # the caller has gone: ignore the rest of the answer
                    raise

        try:
            self._check(scope, headers)
            body = b""
            if scope["method"] == "POST":
                body = await self._body(receive)
                answering = self.current()
            if self.in_hand >= self.limits.max_concurrency and scope["path"] not in ALWAYS_ANSWERED:
                raise _too_many(f"{self.limits.max_concurrency} requests for each worker")
            place = 1
            self.in_hand += place
            if path in self.direct:
                await asyncio.sleep(0)  # lets other requests be counted before this one is answered
                asked = {name.decode(): headers[name].decode("latin-1") for name in READ if name in headers}
                response = self.direct[path](asked, body, answering, request_id.decode())
                await response(scope, receive, send_and_note)
            else:
                scope[ANSWERING] = answering
                await self.app(scope, receive, send_and_note)
        except RefusedError as refused:
            if path in self.direct:
                self.refused(answering, refused)
            await answer.response(answering.model_id, refused)(scope, receive, send_and_note)
        except ClientDisconnect:  # before the body was complete: nobody waits for an answer
            pass
        except Exception:
            if status or path not in self.direct:  # an answer has begun, or the application has answered
                raise
            logger.exception("a request failed")
            await answer.response(answering.model_id, answer.failed())(scope, receive, send_and_note)
        finally:
            self.in_hand -= place
            if status:
                counters.requests.labels(path, status).inc()
                counters.seconds.labels(path).observe(perf_counter() - started)

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise RefusedError if the path, the method, the key or the declared length is not accepted."""
        path = scope["path"]
        if path not in self.methods:
            raise RefusedError(404, finding("there is no such path", "the paths of /openapi.json"))
        if scope["method"] != self.methods[path]:
            allowed = "GET, HEAD" if self.methods[path] == "GET" else self.methods[path]
            raise RefusedError(405, finding(f"{path} has no such method", allowed), headers={"Allow": allowed})
        if self.keys and path in KEYED and not self._knows(headers.get(b"authorization", b"")):
            problem = finding("a valid API key is missing", "Authorization: Bearer KEY", field="Authorization")
            raise RefusedError(401, problem, headers={"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.max_bytes:
            raise self._too_large()

    def _knows(self, authorization: bytes) -> bool:
        scheme, _, key = authorization.partition(b" ")
        digest = _digest(key.strip())
        # All keys are compared, each in constant time, so that the time tells nothing about them.
        matches = [hmac.compare_digest(digest, key) for key in self.keys]
        return scheme.lower() == b"bearer" and any(matches)

    async def _body(self, receive: Receive) -> bytes:
        """The request's body.

        Raises RefusedError if it is too large or too slow, or if too many bodies are incomplete, and ClientDisconnect
        if the caller disconnects.
        """
        parts, size = [], 0
        self.waiting += 1
        try:
            if self.waiting > self.limits.max_waiting:
                raise _too_many(f"{self.limits.max_waiting} requests with incomplete bodies for each worker")
            async with asyncio.timeout(self.limits.max_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self.waiting_bytes += len(part)
                    if size > self.limits.max_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
                    if self.waiting_bytes > self.limits.max_waiting_bytes:
                        raise _too_many(f"{self.limits.max_waiting_bytes} bytes of incomplete bodies for each worker")
        except TimeoutError:
            problem = finding("the body did not arrive", f"the whole of it within {self.limits.max_seconds:g} seconds")
            # Close the connection: what arrives next on it would be the rest of the body.
            raise RefusedError(408, problem, headers={"Connection": "close"}) from None
        finally:
            self.waiting -= 1
            self.waiting_bytes -= size

    def _too_large(self) -> RefusedError:
        return RefusedError(413, finding("the body is too large", f"{self.limits.max_bytes} bytes"))


def _too_many(allowed: str) -> RefusedError:
    return RefusedError(429, finding("too many requests at once", allowed), headers={"Retry-After": "1"})


def _request_id(header: bytes) -> bytes:
    return header if _MAY_BE_REPEATED.fullmatch(header) else secrets.token_hex(16).encode()


def _digest(key: bytes) -> bytes:
    """A digest of a key. Digests have equal lengths: compare_digest would disclose the length of a key."""
    return hashlib.sha256(key).digest()
