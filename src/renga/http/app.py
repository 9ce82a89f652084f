"""The server as one ASGI application: everything that holds for every request.

Owns: which routes there are, authentication by default, limits, and errors as JSON.
Must never know: what a route does.
Invariants: every request gets exactly one response, in the API's shape, with a request id; no route works without a key
but those in `OPEN_ROUTES`; a log line never holds what a client sent.

Source: messages-api notes, sections 1.3, 1.10 and 2.5.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable

from renga.accounting.limits.token_buckets import BudgetSpent, LimitReached
from renga.errors import (
    ApiError,
    MethodNotAllowed,
    Overloaded,
    RateLimited,
    RengaError,
    RequestTimedOut,
    RequestTooLarge,
    Unauthenticated,
)
from renga.http.authentication import check_scope, identify_key, seek_key
from renga.http.exchange.http_exchange import JSON, Header, HttpExchange, Receive, Scope, Send, log_unexpected, stopping
from renga.http.health import health, metrics, ready, root, take_telemetry
from renga.http.http_services import HttpServices
from renga.http.messages.limit_headers import render_limits
from renga.http.messages.routes import count_tokens, create
from renga.http.resources.batches import ROUTES as BATCH_ROUTES
from renga.http.resources.feedback import ROUTES as FEEDBACK_ROUTES
from renga.http.resources.files import ROUTES as FILE_ROUTES
from renga.http.resources.models import get_model, list_models
from renga.http.resources.routing_report import ROUTES as ROUTING_ROUTES
from renga.http.route_table import Route, RouteTable
from renga.http.server.request_watchdog import ClientLeft, WatchdogTimer
from renga.metrics.http_metrics import HttpMetrics
from renga.protocols.messages.errors import encode_error

__all__ = ["ROUTES", "Guard", "HttpServices"]

_log = logging.getLogger(__name__)

OPEN_ROUTES = ("/", "/health", "/ready")
"""The only routes that work without a key."""


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/messages", create),
    Route("POST", "/v1/messages/count_tokens", count_tokens),
    Route("GET", "/v1/models", list_models, scope=None),
    Route("GET", "/v1/models/{}", get_model, scope=None),
    *BATCH_ROUTES,
    *FILE_ROUTES,
    *FEEDBACK_ROUTES,
    *ROUTING_ROUTES,
    Route("GET", "/", root, scope=None),
    Route("GET", "/health", health, scope=None),
    Route("GET", "/ready", ready, scope=None),
    Route("GET", "/metrics", metrics, scope=None),
    Route("POST", "/api/event_logging/batch", take_telemetry, scope=None),
)

MOUNT = "/anthropic"
"""Where clients of other clouds look for the same routes (messages-api notes, section 6.3)."""

_RETRY_AFTER_S = 1.0
"""What a client is told when nobody knows better."""
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024 * 1024


class Guard:
    """The ASGI application."""

    def __init__(
        self, parts: HttpServices, routes: Iterable[Route] = ROUTES, http_metrics: HttpMetrics | None = None
    ) -> None:
        self._parts = parts
        self._metrics = http_metrics or HttpMetrics(parts.metrics)
        self._routes = RouteTable(routes)
        self._watch: WatchdogTimer | None = None
        """Over the requests of the loop that serves; made with the first of them."""

    def with_routes(self, routes: Iterable[Route]) -> Guard:
        """The same for another port: other routes over the same parts, counted together."""
        return Guard(self._parts, routes, self._metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "This server speaks HTTP only."})
            return
        watch = self._watch
        if watch is None:
            watch = self._watch = WatchdogTimer()
        vigil = watch.begin(receive, self._parts.settings.body_timeout_s)
        exchange = HttpExchange(scope, receive, send, vigil)
        exchange.arrived_ns = self._parts.answering.clock.monotonic_ns()
        self._metrics.in_flight += 1
        try:
            await self._serve(exchange)
        except asyncio.CancelledError:
            await self._after_cancel(exchange)
        finally:
            vigil.stop()
            self._metrics.count(exchange.route, exchange.status)

    async def _serve(self, exchange: HttpExchange) -> None:
        """Authenticate, find the route, and turn whatever goes wrong into a response."""
        path = exchange.path
        if path.startswith(MOUNT) and path[len(MOUNT) : len(MOUNT) + 1] in ("", "/"):
            path = path[len(MOUNT) :] or "/"
        try:
            if path not in OPEN_ROUTES:
                identity = identify_key(exchange.headers, self._parts.keys)
                exchange.identity = identity or await seek_key(exchange.headers, self._parts.keys)
            route = self._routes.find(path, exchange)
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
        exchange.vigil.stop()
        if exchange.status:
            # The response had begun, and a handler that begins one ends it. The server closes the connection.
            return
        headers = _error_headers(exchange, error)
        body = encode_error(error, exchange.request_id)
        if isinstance(error, RequestTooLarge | RequestTimedOut):
            await _respond_and_linger(exchange, error.status, body, headers)
        else:
            await exchange.respond(error.status, body, headers)

    async def _after_cancel(self, exchange: HttpExchange) -> None:
        """The client is gone, its body did not come, or the server is stopping. The task ends here in any case."""
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        if exchange.vigil.reason is None:
            await self._fail(exchange, stopping())
        elif exchange.vigil.reason == "slow":
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


def _error_headers(exchange: HttpExchange, error: RengaError) -> list[Header]:
    headers = [JSON]
    retry_after_s = error.retry_after_s
    if retry_after_s is None and isinstance(error, RateLimited | Overloaded):
        retry_after_s = _RETRY_AFTER_S
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
    if isinstance(error, LimitReached):
        headers += render_limits(error.state)
        if retry_after_s is not None:
            # SDKs prefer it, and so wait no longer than they must.
            headers.append((b"retry-after-ms", b"%d" % math.ceil(retry_after_s * 1000)))
    if isinstance(error, BudgetSpent):
        # SDKs would otherwise sleep until the next day or month: they obey any retry-after.
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", exchange.allowed.encode("ascii")))
    return headers


async def _respond_and_linger(exchange: HttpExchange, status: int, body: bytes, headers: list[Header]) -> None:
    """Answer a client that is still sending, and read on for a while.

    Closing at once would reset the connection, and the client would lose the answer along with it.
    """
    headers += [(b"connection", b"close"), (b"content-length", b"%d" % len(body))]
    await exchange.start_stream(headers, status=status)
    await exchange.write(body)
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
