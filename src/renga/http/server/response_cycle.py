"""One request on a connection and its response: ASGI messages on one side, bytes on the other.

Owns: what uvicorn's `RequestResponseCycle` does, in fewer steps: the head of a response leaves with the first piece of
its body in one write, and its headers are looked at together and not one by one.
Must never know: what the messages say.
Invariants: what is written is byte for byte what uvicorn writes (`tests/http/server/test_response_cycle.py` holds both
side by side); no header can hold a line end, whatever the application passes.

Source: ASGI specification 3.0, HTTP 2.3, which has the head wait for the first piece of the body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec import Struct
from uvicorn.protocols.http.flow_control import FlowControl

_log = logging.getLogger(__name__)

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Application: TypeAlias = Callable[..., Awaitable[None]]

JOINED_BODY_BYTES = 64 * 1024
"""Up to here a body is copied behind its head, so that both leave in one write."""

_BODILESS = (204, 304)
_PHRASES = {each.value: each.phrase for each in HTTPStatus}
_STATUS_LINES = {status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(200, 600)}
_FAILURE = b"Internal Server Error"


def render_headers(headers: Headers) -> bytes:
    """Headers as they stand in a head.

    Raises: RuntimeError where one holds a line end or NUL, with which it would be more than one.
    """
    lines = [b"%b: %b\r\n" % header for header in headers]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        raise RuntimeError("A header of the response holds a line end or NUL.")
    return block


class CycleConnection(Struct, frozen=True, eq=False):
    """What all cycles of one connection share."""

    transport: asyncio.Transport
    flow: FlowControl
    answered: Callable[[], None]
    """Called when a response is complete."""


class ResponseTerms(Struct, frozen=True):
    """What a request's head says, beyond its scope, that its response hangs on."""

    keep_alive: bool
    wants_continue: bool
    common: bytes
    """Headers of every response of the server, rendered."""


class ResponseCycle:
    """A request and its response. The names without an underscore are those that uvicorn's protocol uses."""

    __slots__ = (
        "_head",
        "_is_chunked",
        "_is_until_close",
        "_left_bytes",
        "_link",
        "_opening",
        "_pieces",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "unread_bytes",
        "waiting_for_100_continue",
    )

    def __init__(self, scope: Mapping[str, Any], link: CycleConnection, opening: ResponseTerms) -> None:
        self.scope = scope
        self.disconnected = False
        self.keep_alive = opening.keep_alive
        self.waiting_for_100_continue = opening.wants_continue
        self.message_event = asyncio.Event()
        """There is something to receive."""
        self.more_body = True
        self.unread_bytes = 0
        """Of the request's body, that nobody has received."""
        self.response_started = False
        self.response_complete = False
        self._link = link
        self._opening = opening
        self._pieces: list[bytes] = []
        self._head = b""
        """Waits for the first piece of the body."""
        self._is_chunked = False
        self._is_until_close = False
        """An HTTP/1.0 client knows no chunks: a body of unknown length ends with its connection."""
        self._left_bytes = 0
        """Of a body whose length was announced."""

    def feed(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self.message_event.set()

    async def run_asgi(self, application: Application) -> None:
        """Run the application; if it ends without a whole response, close the connection."""
        try:
            await application(self.scope, self.receive, self.send)
        except BaseException as error:
            _log.error("the application failed", exc_info=error)
        if not self.response_complete and not self.disconnected:
            await self._break_off()

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the request's body, or a disconnect."""
        link = self._link
        if self.waiting_for_100_continue and not link.transport.is_closing():
            link.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not (self.disconnected or self.response_complete):
            link.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        pieces, self._pieces, self.unread_bytes = self._pieces, [], 0
        return {"type": "http.request", "body": b"".join(pieces), "more_body": self.more_body}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take the next message of the response.

        Raises: RuntimeError for one that is out of order, or does not fit what the head announced.
        """
        flow = self._link.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), is_last=not message.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            self._begin(message["status"], list(message.get("headers", ())))
        else:
            raise RuntimeError(f"The message {kind!r} is out of order.")

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Render the head, and settle how the body is framed."""
        block = render_headers(headers)
        given = dict(headers)
        if b"close" in given.get(b"connection", b""):
            self.keep_alive = False
        elif not self.keep_alive:
            block += b"connection: close\r\n"
        length = given.get(b"content-length")
        if length is not None:
            self._left_bytes = int(length)
        elif self.scope["method"] != "HEAD" and status not in _BODILESS:
            if self.scope.get("http_version") == "1.0":
                self._is_until_close = True
            else:
                self._is_chunked = True
                block += b"transfer-encoding: chunked\r\n"
        self._head = b"%b%b%b\r\n" % (_STATUS_LINES[status], self._opening.common, block)
        self.response_started = True
        self.waiting_for_100_continue = False

    def _write(self, body: bytes, *, is_last: bool) -> None:
        """Write a piece of the body, behind the head if that still waits."""
        transport = self._link.transport
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            body, self._left_bytes = b"", 0
        elif self._is_chunked:
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = framed + b"0\r\n\r\n" if is_last else framed
        elif self._is_until_close:
            pass
        elif len(body) > self._left_bytes:
            raise RuntimeError("The response is longer than its content-length.")
        else:
            self._left_bytes -= len(body)
        if head and len(body) > JOINED_BODY_BYTES:
            transport.write(head)
        elif head:
            body = head + body
        if body:
            transport.write(body)
        if is_last:
            self._end()

    def _end(self) -> None:
        if self._left_bytes:
            raise RuntimeError("The response is shorter than its content-length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._link.transport.close()
        self._link.answered()

    async def _break_off(self) -> None:
        """End a response that has no end of its own. One that has not begun says so."""
        if self.response_started:
            self._link.transport.close()
            return
        length = b"%d" % len(_FAILURE)
        headers = ((b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILURE})
