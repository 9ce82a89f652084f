"""uvicorn's HTTP/1.1 protocol, with what is ours at the level of bytes.

Owns: errors for what never becomes a request, in the format of the path as far as it has come; connections too many
(`http/server/connection_limiter.py` counts them), the limits of a request's head in size and time, the end of idle
connections, giving up clients that take nothing of what they are sent, and passing over offers to upgrade.
Must never know: requests and responses (`http/server/response_cycle.py`); how long a body may take
(`http/exchange/request_watchdog.py`).
Invariants: a connection without a request ends within `head_s` of its first byte, or of its beginning where none comes;
what a client does not take is dropped within `write_s`, closing connections included, by aborting the socket: closing
it would wait for the client.
Cost: one timer a connection, which looks every few seconds; none a request.

JDK clients offer HTTP/2 with every request (`Upgrade: h2c`). A server may pass over the offer (RFC 9110 section 7.8),
but the parser then drops the body as the other protocol's, so the offer is blotted out before it is parsed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

import httptools
from msgspec import Struct
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from renga import ids
from renga.errors import InvalidRequest, RengaError, RequestTimedOut
from renga.http.exchange.surface import Surface
from renga.http.server.connection_limiter import ConnectionLimiter
from renga.http.server.response_cycle import CycleConnection, ResponseCycle, ResponseTerms, render_headers

MAX_HEAD_BYTES = 64 * 1024
"""Source: the limit that h11 and most servers have; the parser itself has none."""

_UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)
_NOT_UPGRADE = b"\r\nx-ignor"
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_CHECKS = 8
"""How often a connection is checked in the time that its client has."""
_CHECK_INTERVAL_MAX_S = 5.0
_REFUSED_S = 2.0
"""How long a connection too many may take to ask and to hear why it is refused."""
_REFUSED_MAX = 256


class Timeouts(Struct, frozen=True):
    """How long a client may take, in seconds."""

    head_s: float = 10.0
    """For a request's head."""
    write_s: float = 60.0
    """Without taking anything of what there is for it."""


class ConnectionTerms(Struct, frozen=True):
    """What all connections of a server share."""

    timeouts: Timeouts
    limiter: ConnectionLimiter
    find_surface: Callable[[str], Surface]
    """In whose format an error is told, by the path that was asked for; "" where none has come."""


class _HeadTooLarge(InvalidRequest):
    status = 431


class HttpProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection: it parses requests and runs one cycle for each."""

    _is_in_head = True
    _head_bytes = 0
    _is_told = False
    url = b""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        terms: ConnectionTerms,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._terms = terms
        self._timeouts = timeouts = terms.timeouts
        self._counted_as: tuple[int, str] | None = None
        """Port and address under which it is counted; None: it is not."""
        self._refusal: RengaError | None = None
        """Why this connection is one too many; it is told to its first request."""
        shortest_s = min(timeouts.head_s, timeouts.write_s, config.timeout_keep_alive)
        self._check_interval_s = min(shortest_s / _CHECKS, _CHECK_INTERVAL_MAX_S)
        self._timer: asyncio.TimerHandle | None = None
        self._head_since = 0.0
        """When the head in hand began; 0 while there is none."""
        self._unread_bytes = 0
        """What the client had not taken at the last check."""
        self._unread_since = 0.0
        """When it last took something."""
        self._idle_since = 0.0
        """When the last response was complete; 0 since the next request began."""
        self._common: list[tuple[bytes, bytes]] = []
        self._common_block = b""
        """The headers of every response, as they were last rendered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._link = CycleConnection(transport, self.flow, self.on_response_complete)
        limiter = self._terms.limiter
        counted_as = (self.server[1] if self.server else 0) or 0, self.client[0] if self.client else ""
        self._refusal = limiter.admit(*counted_as)
        if self._refusal is not None:
            limiter.refusing += 1
            # A flood is not told: each that is waits with an open file.
            delay_s = _REFUSED_S if limiter.refusing <= _REFUSED_MAX else 0.0
            self._timer = self.loop.call_later(delay_s, transport.abort)
            return
        self._counted_as = counted_as
        self._head_since = self.loop.time()
        self._timer = self.loop.call_later(self._check_interval_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counted_as is not None:
            self._terms.limiter.release(*self._counted_as)
            self._counted_as = None
        elif self._refusal is not None:
            self._terms.limiter.refusing -= 1
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._unread_bytes = 0
        super().resume_writing()

    def _check(self) -> None:
        """Give up a client that takes too long."""
        now = self.loop.time()
        self._timer = self.loop.call_later(self._check_interval_s, self._check)
        transport = self.transport
        unread_bytes = transport.get_write_buffer_size()
        if unread_bytes < self._unread_bytes or not self._unread_bytes:
            self._unread_since = now
        self._unread_bytes = unread_bytes
        if unread_bytes:
            if now - self._unread_since >= self._timeouts.write_s:
                transport.abort()
        elif self._head_since and not transport.is_closing() and now - self._head_since >= self._timeouts.head_s:
            if self.cycle and not self.cycle.response_complete:
                # The head of a next request, which has time until this one is answered.
                self._head_since = now
            elif self._head_bytes or self.cycle:
                self._refuse(RequestTimedOut(f"The head did not come within {self._timeouts.head_s:g} seconds."))
            else:
                transport.close()
        elif self._idle_since and now - self._idle_since >= self.timeout_keep_alive:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            if not self._is_told:
                self._is_told = True
                self._write_error(self._refusal, _read_path(data))
                # Closing now would reset the connection while the client still sends, and the answer would be lost.
                self.transport.write_eof()
            return
        self._idle_since = 0.0
        if self._is_in_head:
            if not self._head_since:
                self._head_since = self.loop.time()
            end = data.find(b"\r\n\r\n")
            head = data if end < 0 else data[:end]
            self._head_bytes += len(head)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_HeadTooLarge(f"The head of the request is larger than {MAX_HEAD_BYTES} bytes."), data)
                return
            if b"pgrade" in head:
                data = _UPGRADE.sub(_NOT_UPGRADE, head) + data[len(head) :]
        super().data_received(data)

    def on_message_begin(self) -> None:
        # The head may have come together with the end of the body before it.
        self._head_since = self._head_since or self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin a request, or line it up behind the one that is being answered."""
        self._is_in_head = False
        self._head_bytes = 0
        self._head_since = 0.0
        parser, before = cast(httptools.HttpRequestParser, self.parser), cast("ResponseCycle | None", self.cycle)
        version = parser.get_http_version()
        target = _split_target(self.url)
        self.scope.update(
            method=parser.get_method().decode("ascii"),
            http_version=version,
            path=target.path,
            raw_path=target.raw_path,
            query_string=target.query,
        )
        keep_alive = version != "1.0" and parser.should_keep_alive()
        opening = ResponseTerms(keep_alive, self.expect_100_continue, self._render_common())
        cycle = ResponseCycle(self.scope, self._link, opening)
        self.cycle = cast(Any, cycle)
        application = cast(Any, self.app)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, application)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, application))

    def on_body(self, body: bytes) -> None:
        cycle = cast(ResponseCycle, self.cycle)
        if not cycle.response_complete:
            cycle.feed(body)
            if cycle.unread_bytes > HIGH_WATER_LIMIT:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on to the next request, if it is there already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()

    def _render_common(self) -> bytes:
        """The headers of every response. uvicorn makes a new list of them each second, with the date."""
        common = self.server_state.default_headers
        if common is not self._common:
            self._common, self._common_block = common, render_headers(common)
        return self._common_block

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest("This is not an HTTP request."))

    def _refuse(self, error: RengaError, data: bytes = b"") -> None:
        """Tell what is wrong, in the format of the path if that has come, and close."""
        self._write_error(error, _decode_path(self.url) if self.url else _read_path(data))
        self.transport.close()

    def _write_error(self, error: RengaError, path: str) -> None:
        request_id = ids.request_id()
        surface = self._terms.find_surface(path)
        reply = surface.encode_error(error, request_id)
        block = render_headers(
            (
                *reply.headers,
                (b"content-length", b"%d" % len(reply.body)),
                (surface.header_names.request_id, request_id.encode("ascii")),
                (b"connection", b"close"),
            )
        )
        line = f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, '')}\r\n".encode("ascii")
        self.transport.write(line + block + b"\r\n" + reply.body)


class _RequestTarget(Struct, frozen=True):
    """What a request asks for, in parts."""

    path: str
    raw_path: bytes
    query: bytes


@lru_cache(maxsize=512)
def _split_target(url: bytes) -> _RequestTarget:
    """Split a request target into its decoded path, raw path and query.

    Raises: HttpParserInvalidURLError.
    """
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return _RequestTarget(unquote(path) if "%" in path else path, parsed.path, parsed.query or b"")


_REQUEST_LINE = re.compile(rb"[A-Z]+ ([!-~]+)[ \r\n]")


def _read_path(data: bytes) -> str:
    """The path in the first line of a request that is not parsed; "" where there is none."""
    found = _REQUEST_LINE.match(data)
    return _decode_path(found[1]) if found is not None else ""


def _decode_path(url: bytes) -> str:
    try:
        return _split_target(url).path
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return ""
