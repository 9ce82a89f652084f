"""The table of routes: which handler a method and a path mean, and in which format its clients speak.

Owns: finding the route of a path. Must never know: what a route does, or who may use it.
Invariants: a path is of one row, the exact one or else the one whose pattern says most; a table in which two patterns
could both say most of a path is refused when it is made. Finding costs a lookup for a path without parameters, and for
others a lookup for each slash and a look at the few patterns that begin alike.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import TypeAlias

from msgspec import Struct

from renga.domain.keys import KeyScope
from renga.errors import MethodNotAllowed, NotFound
from renga.http.exchange.http_exchange import NO_PARAMETERS, HttpExchange
from renga.http.exchange.surface import Surface
from renga.http.http_services import HttpServices
from renga.http.messages.surface import MESSAGES
from renga.http.path_patterns import PathPattern, has_parameters, parse_pattern

Handler: TypeAlias = Callable[[HttpExchange, HttpServices], Awaitable[None]]

_PARAMETER = re.compile(r"\{[^}]*\}")
_OF_OTHER_APIS = ("/v1/chat/completions", "/chat/completions", "/v1/responses", "/v1/completions", "/v1/complete")


class Route(Struct, frozen=True):
    """One row of the route table.

    In its path, `{name}` stands for one segment or a part of one, and `{name*}` for whatever stands there, slashes
    included. What stands there is `exchange.parameters["name"]`.
    """

    method: str
    path: str
    handler: Handler
    scope: KeyScope | None = "messages"
    """What the key must be good for; None: any key will do."""
    surface: Surface = MESSAGES
    """The format of requests, answers and errors. All routes of one path have the same."""


class RouteMatch(Struct, frozen=True):
    """What a path means: its routes by method, and what stands for the parameters in it."""

    routes: Mapping[str, Route]
    surface: Surface
    label: str
    """The path with `{}` for every parameter, as metrics and the audit name it: dashboards and old entries stay."""
    parameters: Mapping[str, str] = NO_PARAMETERS

    def choose(self, exchange: HttpExchange, path: str) -> Route:
        """The route of a request; its parameters and its label are noted on the exchange.

        Raises: MethodNotAllowed.
        """
        method, routes = exchange.method, self.routes
        route = routes.get(method) or (routes.get("GET") if method == "HEAD" else None)
        if route is None:
            exchange.allowed = ", ".join(routes)
            raise MethodNotAllowed(f"{method} is not a method of {path[:200]}.", hint=f"use {exchange.allowed}")
        exchange.parameters = self.parameters
        exchange.route = self.label
        return route


class RouteTable:
    """Finds the route of a path and a method."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises: ValueError for routes that contradict each other."""
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = by_path.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.path} stands twice in the table")
            methods[route.method] = route
        matches = {
            path: RouteMatch(methods, _common_surface(path, methods), _PARAMETER.sub("{}", path))
            for path, methods in by_path.items()
        }
        self._exact = {path: match for path, match in matches.items() if not has_parameters(path)}
        patterns = sorted((parse_pattern(path) for path in by_path.keys() - self._exact.keys()), key=_sort_key)
        _refuse_ambiguous(patterns)
        self._by_prefix: dict[str, list[tuple[PathPattern, RouteMatch]]] = {}
        """Patterns by what stands before their first parameter; of two that fit a path the first says more."""
        for pattern in patterns:
            self._by_prefix.setdefault(pattern.prefix, []).append((pattern, matches[pattern.path]))

    def match(self, path: str) -> RouteMatch | None:
        """What a path means; None where it means nothing."""
        return self._exact.get(path) or self._match_pattern(path)

    def _match_pattern(self, path: str) -> RouteMatch | None:
        # The longest beginning first: a pattern that says more never has a shorter one.
        end = path.rfind("/")
        while end >= 0:
            for pattern, match in self._by_prefix.get(path[: end + 1], ()):
                parameters = pattern.match(path)
                if parameters is not None:
                    return RouteMatch(match.routes, match.surface, match.label, MappingProxyType(parameters))
            end = path.rfind("/", 0, end)
        return None

    def refuse(self, path: str) -> NotFound:
        """What whoever asks for a path that is not there is told."""
        return NotFound(f"There is no {path[:200]} here.", hint=self._advise(path))

    def _advise(self, path: str) -> str | None:
        """Suggest the path that a client may have meant instead of an unknown one."""
        clean = "/" + "/".join(part for part in path.split("/") if part)
        if clean.startswith("/v1/v1/"):
            return "the base URL of an SDK ends before /v1"
        if clean in _OF_OTHER_APIS:
            return "this server speaks the Messages API: POST /v1/messages"
        return f"there is {clean}" if clean != path and clean in self._exact else None


def _sort_key(pattern: PathPattern) -> tuple[tuple[bool, int, int], str]:
    return pattern.rank, pattern.path


def _common_surface(path: str, routes: Mapping[str, Route]) -> Surface:
    """The surface of all routes of one path: an error may have to be told before its method is looked at."""
    first, *others = routes.values()
    if any(other.surface is not first.surface for other in others):
        raise ValueError(f"{path}: the routes of one path speak the same format")
    return first.surface


def _refuse_ambiguous(patterns: Iterable[PathPattern]) -> None:
    """Raises: ValueError where a path could be of two patterns neither of which covers the other, or both do."""
    for one, other in combinations(patterns, 2):
        if one.overlaps(other) and one.covers(other) == other.covers(one):
            raise ValueError(f"a path could be both {one.path} and {other.path}, and neither says more")
