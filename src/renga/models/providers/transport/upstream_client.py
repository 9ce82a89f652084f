"""The way to an upstream over HTTP: a pool of connections, timeouts, and transport errors as Renga's own.

Owns: base URL, pool, TLS, and the table that turns a failed transport into a RengaError.
Must never know: which API the upstream speaks.
Invariants: a response is closed exactly once; one that was not read to its end closes its connection, so that a client
who leaves stops the upstream; bodies are bounded; redirects are never followed (a key must not travel to another host);
proxies of the environment are not used. Bodies are asked for unencoded: compressing a stream delays its events.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from functools import lru_cache
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from renga import __version__
from renga.errors import ApiError, InvalidRequest, Overloaded, RengaError, UpstreamTimedOut
from renga.models.providers.transport.endpoint import Endpoint, parse_base_url
from renga.models.providers.transport.upstream_connection import ConnectionLost, Silent, UpstreamConnection

Headers: TypeAlias = tuple[tuple[str, str], ...]

MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""A whole response beyond this is given up. Streams are bounded by frame, in `protocols/messages/sse.py`."""

KEEP_IDLE_S = 55.0
"""An idle connection older than this is not used again: common load balancers close theirs after 60 s."""

HEADS_MAX = 256
"""Heads of requests that are kept rendered: they differ by version, betas and the headers that are forwarded."""

DRAIN_TIMEOUT_S = 1.0
"""How long the end of the framing may come after the end of the meaning for its connection to be kept."""

WHOLE_ANSWER_TIMEOUT_S = 600.0
"""How long an answer that is not streamed may take: the SDKs' own read timeout.

Source: docs/reference/messages-api.md, "Retries, timeouts and pages".
"""


class UpstreamUnreachable(Overloaded):
    """No connection could be made. Nothing was sent, so another try is safe."""


class UpstreamLost(ApiError):
    """The connection ended in the middle of an answer."""


class TransferProgress(Protocol):
    """Hears how far a response is."""

    def begin(self) -> None:
        """Some of its body is there. Called more than once."""
        ...

    def end(self) -> None:
        """The response is closed, read to its end or not."""
        ...


class UpstreamResponse:
    """A response whose head has arrived. Use as `async with`, or call `close`."""

    def __init__(
        self, upstream: Upstream, connection: UpstreamConnection, first_timeout_s: float, idle_timeout_s: float
    ) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self._upstream = upstream
        self._connection: UpstreamConnection | None = connection
        # A server may send the head at once and think then: the first bytes may take as long as the head.
        self._timeout_s = first_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self.progress: TransferProgress | None = None
        """Who wants to know how far it is."""

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self.headers.get(name)

    async def read_some(self) -> bytes:
        """All that has arrived since the last call; b"" at the end, when the connection has gone back to the pool.

        Raises: UpstreamTimedOut, UpstreamLost; the response is closed then.
        """
        if self._connection is None:
            return b""
        try:
            data = await self._connection.read(self._timeout_s)
        except (Silent, ConnectionLost) as error:
            self.close()
            raise self._upstream.translate(error) from error
        except BaseException:
            self.close()
            raise
        self._timeout_s = self._idle_timeout_s
        if not data:
            self.close()
        elif self.progress is not None:
            self.progress.begin()
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item a read of the socket.

        Raises: as `read_some`.
        """
        while data := await self.read_some():
            yield data

    async def read(self, max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
        """The whole body.

        Raises: as `read_some`; ApiError when it is longer than `max_bytes`.
        """
        parts: list[bytes] = []
        total = 0
        while data := await self.read_some():
            parts.append(data)
            total += len(data)
            if total > max_bytes:
                self.close()
                raise ApiError(f"{self._upstream.name} sent an answer of more than {max_bytes} bytes.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._upstream.give_back(connection)
            if self.progress is not None:
                self.progress.end()

    def finish(self) -> None:
        """Close a response whose meaning has ended: what may still come is framing, and nobody waits for it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._upstream.drain(connection)
            if self.progress is not None:
                self.progress.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Upstream:
    """A pool of connections to one base URL."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._url = parse_base_url(endpoint)
        self._idle: list[UpstreamConnection] = []
        self._busy: set[UpstreamConnection] = set()
        self._draining: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(endpoint.max_connections)
        self._tls: ssl.SSLContext | None = None
        self._closed = True
        host = self._url.netloc.rpartition("@")[2]
        common = f"host: {host}\r\nuser-agent: renga/{__version__}\r\naccept-encoding: identity\r\n"
        prefix = self._url.path.rstrip("/")

        @lru_cache(maxsize=HEADS_MAX)
        def render(method: str, path: str, headers: Headers) -> bytes:
            return render_head(f"{method} {prefix}{path} HTTP/1.1\r\n{common}", headers)

        self._render = render
        """Of most clients all requests have the same head."""

    def open(self) -> None:
        """Make ready; connects to nobody yet."""
        self._closed = False
        if self._url.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()

    def close(self) -> None:
        """Close every connection; responses in flight end in UpstreamLost. Idempotent."""
        self._closed = True
        for connection in (*self._idle, *self._busy):
            connection.abort()
        for task in tuple(self._draining):
            task.cancel()
        self._idle.clear()

    @property
    def open_connections(self) -> int:
        return len(self._idle) + len(self._busy)

    async def wait_drained(self) -> None:
        """Return when no finished response waits for the end of its framing any more."""
        while self._draining:
            await asyncio.wait(self._draining)

    async def post(
        self,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        first_event_timeout_s: float | None = None,
        method: Literal["POST", "GET"] = "POST",
    ) -> UpstreamResponse:
        """Send a request and wait for the head of its response.

        Raises: UpstreamUnreachable, UpstreamTimedOut, UpstreamLost; InvalidRequest for a header with a line end.
        """
        head = self._render(method, path, headers)
        head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body)) if method == "POST" else head + b"\r\n"
        timeout_s = first_event_timeout_s or self._endpoint.first_event_timeout_s
        while True:
            connection = await self._take()
            reused = connection.used
            connection.used = True
            try:
                connection.start(head, body)
                await connection.head(timeout_s)
            except (Silent, ConnectionLost) as error:
                self.give_back(connection)
                if reused and isinstance(error, ConnectionLost) and not error.began and not self._closed:
                    # An idle connection that the upstream had just closed: nothing was lost, so ask on another.
                    continue
                raise self.translate(error) from error
            except BaseException:
                self.give_back(connection)
                raise
            return UpstreamResponse(self, connection, timeout_s, self._endpoint.idle_timeout_s)

    async def get(self, path: str, headers: Headers) -> UpstreamResponse:
        """Send a GET request, and wait as `post` does."""
        return await self.post(path, headers, b"", method="GET")

    async def _take(self) -> UpstreamConnection:
        """An idle connection, the freshest first, or a new one."""
        if self._closed:
            raise UpstreamUnreachable(f"{self.name} is not open.")
        if self._slots.locked():
            await self._wait_slot()
        else:
            await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if connection.reusable and connection.idle_s < KEEP_IDLE_S:
                    self._busy.add(connection)
                    return connection
                connection.abort()
            connection = await self._connect()
            if self._closed:
                connection.abort()
                raise UpstreamUnreachable(f"{self.name} was closed.")
        except BaseException:
            self._slots.release()
            raise
        connection.on_closed = self._forget
        self._busy.add(connection)
        return connection

    async def _wait_slot(self) -> None:
        try:
            async with asyncio.timeout(self._endpoint.first_event_timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            limit = self._endpoint.max_connections
            raise Overloaded(f"All {limit} connections to {self.name} were busy.") from error

    def _forget(self, connection: UpstreamConnection) -> None:
        """An idle connection that its upstream closed need not be kept."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        url = self._url
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self._endpoint.connect_timeout_s):
                transport, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop),
                    host,
                    port,
                    ssl=self._tls,
                    server_hostname=host if self._tls else None,
                )
        except TimeoutError as error:
            raise UpstreamTimedOut(
                f"{self.name} could not be reached within {self._endpoint.connect_timeout_s:g} s.",
            ) from error
        except OSError as error:
            raise UpstreamUnreachable(
                f"{self.name} cannot be reached: {error.strerror or error}.",
                hint=f"check that {url.scheme}://{host}:{port} is right and running",
            ) from error
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            # A generation can be silent for minutes: keep-alive probes find a peer that is gone.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """End an exchange: keep the connection when it may be used again, else close it."""
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        self._slots.release()
        if connection.reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()

    def drain(self, connection: UpstreamConnection) -> None:
        """End an exchange whose last framing bytes may still be under way."""
        if connection.complete:
            self.give_back(connection)
            return
        task = asyncio.get_running_loop().create_task(self._drain(connection))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drain(self, connection: UpstreamConnection) -> None:
        try:
            await connection.read(DRAIN_TIMEOUT_S)
        except (Silent, ConnectionLost):
            pass
        finally:
            self.give_back(connection)

    def translate(self, error: Silent | ConnectionLost) -> RengaError:
        """A failure of the transport, as clients read it."""
        if isinstance(error, Silent):
            return UpstreamTimedOut(f"{self.name} fell silent.")
        return UpstreamLost(f"{self.name} broke off its answer: {error}")


def render_head(opening: str, headers: Headers) -> bytes:
    """The head of a request but for its end: the lines that open it, and headers.

    Raises: InvalidRequest when a header holds a line end or NUL, which would let a client write headers of its own.
    """
    lines = [opening]
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value:
            raise InvalidRequest(f"The header {name} holds a line end.")
        lines.append(f"{name}: {value}\r\n")
    try:
        return "".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise InvalidRequest("A header holds a character beyond Latin-1.") from error
