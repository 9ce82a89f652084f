"""One HTTP/1.1 connection to an upstream: asyncio moves the bytes, httptools parses them.

Owns: framing of requests, parsing of responses, flow control, and the moment a connection may be used again.
Must never know: pools, retries, or which API is spoken.
Invariants: one exchange at a time; `read` returns everything that has arrived, so that one read of the socket becomes
one batch; `abort` closes the socket now, whatever is in flight; a connection that saw anything odd is never used again.

Why not a ready-made client: a request that is given up before its response began must close its connection within
200 ms, or the upstream goes on generating. pyreqwest 0.15.1 leaves such a request running to its end (its task is
detached, not aborted), and hands over an SSE stream one HTTP chunk at a time, which costs 5 us a chunk against 0.7 us.

Source: RFC 9112 (message framing, section 6; persistence, section 9.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

HIGH_WATER_BYTES = 256 * 1024
"""Reading pauses while this much waits to be taken: what uvloop reads at most at once."""


JOINED_BODY_BYTES = 64 * 1024
"""Up to here a body is copied behind its head, so that both leave in one packet."""


class ConnectionLost(Exception):
    """The connection ended before its response did. `began`: some of the response had arrived."""

    def __init__(self, detail: str, *, began: bool) -> None:
        super().__init__(detail)
        self.began = began


class Silent(Exception):
    """Raised when nothing arrived within the time that the reader would wait."""


class UpstreamConnection(asyncio.Protocol):
    """A socket and the response that is arriving on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = True
        self._idle_since_s = 0.0
        self.on_closed: Callable[[UpstreamConnection], None] | None = None
        """Told when the socket is gone."""
        self.used = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._paused = False
        self._head_done = False
        self._until_eof = False
        self._keep_alive = True
        self._began = False
        self._lost: ConnectionLost | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0

    # What the pool asks

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on it."""
        return (
            self.complete
            and self._keep_alive
            and self._lost is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def idle_s(self) -> float:
        """Since its last response was complete."""
        return self._loop.time() - self._idle_since_s

    def start(self, head: bytes, body: bytes) -> None:
        """Send a whole request; its response is read next."""
        assert self._transport is not None
        assert self.complete
        self.status = 0
        self.headers = {}
        self.complete = False
        self._chunks = []
        self._buffered_bytes = 0
        self._head_done = self._until_eof = self._keep_alive = self._began = False
        self._parser = httptools.HttpResponseParser(self)
        if len(body) <= JOINED_BODY_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def head(self, timeout_s: float) -> None:
        """Wait until status and headers are there.

        Raises: ConnectionLost, Silent; the connection is to be aborted then.
        """
        while not self._head_done:
            if self._lost is not None:
                raise self._lost
            await self._wait(timeout_s)

    async def read(self, timeout_s: float) -> bytes:
        """Everything of the body that has arrived since the last read; b"" at its end.

        Raises: ConnectionLost, Silent; the connection is to be aborted then.
        """
        while not self._chunks:
            if self.complete:
                return b""
            if self._lost is not None:
                raise self._lost
            await self._wait(timeout_s)
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        self._buffered_bytes = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close the socket now, whatever is in flight."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # Waiting. One timer a connection, moved only when it fires: a cancelled and remade timer a read costs 1 us.

    async def _wait(self, timeout_s: float) -> None:
        loop = self._loop
        self._deadline_s = loop.time() + timeout_s
        if self._timer is None or self._timer.when() > self._deadline_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(self._deadline_s, self._on_timer)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._deadline_s:
            self._waiter.set_exception(Silent())
        else:
            self._timer = self._loop.call_at(self._deadline_s, self._on_timer)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.complete or self._parser is None:
            self._fail("The upstream sent bytes that nobody asked for.")
            return
        self._began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"The upstream's response is not HTTP: {error}")
            return
        if self._buffered_bytes > HIGH_WATER_BYTES and not self._paused and not self.complete:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until_eof and exc is None and self._lost is None:
            self.complete = True
        elif self._lost is None:
            detail = "reset" if isinstance(exc, ConnectionResetError) else "closed"
            self._lost = ConnectionLost(f"The connection was {detail}.", began=self._began)
        self._wake()
        if self.on_closed is not None:
            self.on_closed(self)

    def _fail(self, detail: str) -> None:
        self._lost = ConnectionLost(detail, began=True)
        self.abort()
        self._wake()

    # What httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
            return
        self.status = status
        self._head_done = True
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._until_eof = not framed and status not in (204, 304)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        # An interim response (1xx) completes too, and the real one follows.
        if self._head_done:
            assert self._parser is not None
            self.complete = True
            # Asked here, because the parser forgets it with the next byte.
            self._keep_alive = self._parser.should_keep_alive()
            self._idle_since_s = self._loop.time()
