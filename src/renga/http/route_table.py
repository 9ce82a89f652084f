"""The table of routes: which handler a method and a path mean.

Owns: matching a path. Must never know: what a route does, or who may use it.
Invariants: a path matches at most one pattern, the most specific one; finding costs a lookup for a path without a
parameter, and a walk over the few patterns for one with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from msgspec import Struct

from renga.domain.keys import KeyScope
from renga.errors import MethodNotAllowed, NotFound
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.http_services import HttpServices

Handler: TypeAlias = Callable[[HttpExchange, HttpServices], Awaitable[None]]


_OF_OTHER_APIS = ("/v1/chat/completions", "/chat/completions", "/v1/responses", "/v1/completions", "/v1/complete")


class Route(Struct, frozen=True):
    """One row of the route table.

    `{}` stands for the parameter. At the end of a path it takes whatever follows, for model ids may have slashes;
    before a suffix, as in `/v1/messages/batches/{}/cancel`, it takes one segment.
    """

    method: str
    path: str
    handler: Handler
    scope: KeyScope | None = "messages"
    """What the key must be good for; None: any key will do."""


class _Pattern(Struct, frozen=True):
    prefix: str
    suffix: str
    methods: dict[str, Route]

    def match(self, path: str) -> str:
        """The parameter; "" where the path is not this pattern's."""
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return ""
        parameter = path[len(self.prefix) : len(path) - len(self.suffix)]
        return "" if self.suffix and "/" in parameter else parameter


class RouteTable:
    """Routes by path and method."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = patterns if "{}" in route.path else self._exact
            table.setdefault(route.path, {})[route.method] = route
        found = [
            _Pattern(prefix, suffix, methods)
            for (prefix, _, suffix), methods in ((path.partition("{}"), methods) for path, methods in patterns.items())
        ]
        self._patterns = sorted(found, key=lambda pattern: (-len(pattern.prefix), -len(pattern.suffix)))

    def find(self, path: str, exchange: HttpExchange) -> Route:
        """The route of a request; its parameter and its route's path are noted on the exchange.

        Raises: NotFound, MethodNotAllowed.
        """
        methods = self._exact.get(path) or self._match(path, exchange)
        method = exchange.method
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            exchange.allowed = ", ".join(methods)
            raise MethodNotAllowed(f"{method} is not a method of {path[:200]}.", hint=f"use {exchange.allowed}")
        exchange.route = route.path
        return route

    def _match(self, path: str, exchange: HttpExchange) -> dict[str, Route]:
        for pattern in self._patterns:
            parameter = pattern.match(path)
            if parameter:
                exchange.parameter = parameter
                return pattern.methods
        raise NotFound(f"There is no {path[:200]} here.", hint=self._advise(path))

    def _advise(self, path: str) -> str | None:
        """What whoever asks for a path that is not there may have meant."""
        clean = "/" + "/".join(part for part in path.split("/") if part)
        if clean.startswith("/v1/v1/"):
            return "the base URL of an SDK ends before /v1"
        if clean in _OF_OTHER_APIS:
            return "this server speaks the Messages API: POST /v1/messages"
        return f"there is {clean}" if clean != path and clean in self._exact else None
