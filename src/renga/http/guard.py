"""The server as one ASGI application: everything that holds for every request.

Owns: authentication by default, limits, and that errors have the format of whoever asks.
Must never know: what a route does, which routes there are (`http/public_routes.py`), or how a format looks.
Invariants: every request gets exactly one response, in its surface's shape, with a request id; no route works without
a key but those in `OPEN_PATHS`; a log line never holds what a client sent.

Source: docs/reference/messages-api.md, "Endpoints", "Errors" and "Claude Code as a client".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from renga.errors import ApiError, MethodNotAllowed, RengaError, RequestTimedOut, RequestTooLarge
from renga.http.exchange.asgi import Header, Receive, Scope, Send
from renga.http.exchange.authentication import check_scope, identify_key, seek_key
from renga.http.exchange.http_exchange import HttpExchange, log_unexpected, stopping
from renga.http.exchange.request_watchdog import ClientLeft, WatchdogTimer
from renga.http.exchange.surface import Surface, SurfaceReply, SurfaceTable
from renga.http.http_services import HttpServices
from renga.http.public_routes import OPEN_PATHS, PUBLIC_ROUTES, SURFACES
from renga.http.route_table import Route, RouteTable
from renga.metrics.http_metrics import HttpMetrics

_log = logging.getLogger(__name__)

MOUNT = "/anthropic"
"""Where clients of other clouds look for the same routes (docs/reference/messages-api.md, "Other clouds")."""

_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024 * 1024


class Guard:
    """The ASGI application: it authenticates, routes, and turns every failure into a response."""

    def __init__(
        self,
        parts: HttpServices,
        routes: Iterable[Route] = PUBLIC_ROUTES,
        surfaces: SurfaceTable = SURFACES,
        http_metrics: HttpMetrics | None = None,
    ) -> None:
        self._parts = parts
        self._metrics = http_metrics or HttpMetrics(parts.metrics)
        self._routes = RouteTable(routes)
        self._surfaces = surfaces
        self._watchdogs: WatchdogTimer | None = None
        """Over the requests of the loop that serves; made with the first of them."""

    def with_routes(self, routes: Iterable[Route]) -> Guard:
        """The same application for another port, with other routes and shared metrics."""
        return Guard(self._parts, routes, self._surfaces, self._metrics)

    def surface_of(self, path: str) -> Surface:
        """The format in which whoever asks for a path wants to be answered, also where there is no such path."""
        match = self._routes.match(_without_mount(path))
        return self._surfaces.find(path) if match is None else match.surface

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "This server speaks HTTP only."})
            return
        watchdogs = self._watchdogs
        if watchdogs is None:
            watchdogs = self._watchdogs = WatchdogTimer()
        watchdog = watchdogs.start_watchdog(receive, self._parts.settings.body_timeout_s)
        exchange = HttpExchange(scope, receive, send, watchdog, self._surfaces.default)
        exchange.arrived_ns = self._parts.answering.clock.monotonic_ns()
        self._metrics.in_flight += 1
        try:
            await self._serve(exchange)
        except asyncio.CancelledError:
            await self._after_cancel(exchange)
        finally:
            watchdog.stop()
            self._metrics.count(exchange.route, exchange.status)

    async def _serve(self, exchange: HttpExchange) -> None:
        """Find the route, authenticate, and turn whatever goes wrong into a response."""
        path = _without_mount(exchange.path)
        match = self._routes.match(path)
        exchange.surface = self._surfaces.find(path) if match is None else match.surface
        try:
            if path not in OPEN_PATHS:
                # Before anything else is said: which paths there are is nothing for strangers.
                exchange.identity = identify_key(exchange, self._parts.keys) or await seek_key(
                    exchange, self._parts.keys
                )
            if match is None:
                raise self._routes.refuse(path)
            route = match.choose(exchange, path)
            if route.scope is not None:
                check_scope(exchange.identity, route.scope)
            await route.handler(exchange, self._parts)
        except RengaError as error:
            await self._fail(exchange, error)
        except ClientLeft:
            pass
        except Exception as error:
            log_unexpected(exchange, error)
            await self._fail(exchange, ApiError("Internal error."))

    async def _fail(self, exchange: HttpExchange, error: RengaError) -> None:
        """Tell the client, if it can still be told."""
        exchange.watchdog.stop()
        if exchange.status:
            # The response had begun, and a handler that begins one ends it. The server closes the connection.
            return
        reply = exchange.surface.encode_error(error, exchange.request_id)
        headers: list[Header] = []
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", exchange.allowed.encode("ascii")))
        if isinstance(error, RequestTooLarge | RequestTimedOut):
            await _respond_and_linger(exchange, reply)
        else:
            await exchange.reply(reply, headers)

    async def _after_cancel(self, exchange: HttpExchange) -> None:
        """The client is gone, its body did not come, or the server is stopping. The task ends here in any case."""
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        if exchange.watchdog.cancel_reason is None:
            await self._fail(exchange, stopping())
        elif exchange.watchdog.cancel_reason == "slow":
            await self._fail(
                exchange,
                RequestTimedOut(
                    f"The body did not come within {self._parts.settings.body_timeout_s:g} seconds.",
                    error_code="request_body_timeout",
                ),
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        """Frame the server's life with the hooks it was given."""
        while True:
            try:
                kind: str = (await receive())["type"]
            except asyncio.CancelledError:
                return  # a second Ctrl-C: the loop ends, and nobody says so here
            hook = self._parts.startup if kind == "lifespan.startup" else self._parts.shutdown
            try:
                await hook()
            except Exception as error:
                _log.exception("%s failed", kind)
                message = error.sentence() if isinstance(error, RengaError) else f"{type(error).__name__}: {error}"
                await send({"type": f"{kind}.failed", "message": message})
                return
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


def _without_mount(path: str) -> str:
    """A path as the route table has it."""
    if path.startswith(MOUNT) and path[len(MOUNT) : len(MOUNT) + 1] in ("", "/"):
        return path[len(MOUNT) :] or "/"
    return path


async def _respond_and_linger(exchange: HttpExchange, reply: SurfaceReply) -> None:
    """Answer a client that is still sending, and read on for a while.

    Closing at once would reset the connection, and the client would lose the answer along with it.
    """
    length = b"%d" % len(reply.body)
    headers = (*reply.headers, (b"connection", b"close"), (b"content-length", length))
    await exchange.start_stream(headers, status=reply.status)
    await exchange.write(reply.body)
    left_bytes = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while left_bytes > 0:
                message = await exchange.receive()
                left_bytes -= len(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        pass
    await exchange.end()
