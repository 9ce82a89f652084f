"""One request and its response, as handlers see them.

Owns: reading headers and query, and writing a response in as few sends as there are writes.
Must never know: what a route does with it.
Invariants: a response is started once; every response carries the request's id.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from renga import ids
from renga.accounting.keys.key_ring import NOBODY
from renga.errors import InvalidRequest, Overloaded
from renga.http.server.request_watchdog import RequestWatchdog

_log = logging.getLogger(__name__)

Scope: TypeAlias = Mapping[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]
"""The ASGI interface. Source: ASGI specification 3.0, HTTP 2.3."""

JSON: Header = (b"content-type", b"application/json")


class HttpExchange:
    """A request on its way to becoming a response."""

    __slots__ = (
        "allowed",
        "arrived_ns",
        "headers",
        "identity",
        "method",
        "parameter",
        "path",
        "receive",
        "request_id",
        "route",
        "scope",
        "send",
        "status",
        "vigil",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, vigil: RequestWatchdog) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.vigil = vigil
        self.arrived_ns = 0
        """Monotonic, from the server's clock; set as the request comes in."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """By lower-case name; of a repeated header the last."""
        self.request_id = ids.request_id()
        self.identity = NOBODY
        """Set by authentication; nobody on the open routes."""
        self.parameter = ""
        """What stands in the route's `{}`."""
        self.route = "other"
        """The path of the route that was found."""
        self.allowed = ""
        """The methods of the path, where the request's is none of them."""
        self.status = 0
        """Of the response; 0 until it has begun."""

    @property
    def key_id(self) -> str:
        """The key's; "" on the open routes."""
        return self.identity.key_id

    def header_values(self, name: bytes) -> list[bytes]:
        """Every value of a header that may be repeated."""
        return [value for header, value in self.scope["headers"] if header == name]

    def query(self) -> dict[str, list[str]]:
        """The query's values by name.

        Raises: InvalidRequest when it is not one.
        """
        text: bytes = self.scope["query_string"]
        try:
            return parse_qs(text.decode("ascii"), keep_blank_values=True, max_num_fields=128) if text else {}
        except (UnicodeDecodeError, ValueError):
            raise InvalidRequest("The query string cannot be read.") from None

    async def respond(self, status: int, body: bytes, headers: Iterable[Header] = (JSON,)) -> None:
        """Send the whole response. The body of an answer to HEAD is counted and left out."""
        length = b"%d" % len(body)
        await self._start(status, [*headers, (b"content-length", length)])
        self._finish()
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def start_stream(self, headers: Iterable[Header], *, status: int = 200) -> None:
        """Begin a response whose body follows piece by piece."""
        await self._start(status, list(headers))

    async def write(self, data: bytes) -> None:
        """Send one piece of a stream."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece of a stream."""
        self._finish()
        await self.send({"type": "http.response.body", "body": data})

    async def _start(self, status: int, headers: list[Header]) -> None:
        self.status = status
        headers.append((b"request-id", self.request_id.encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    def _finish(self) -> None:
        # From here on the server reports a disconnect because the response is complete, not because the client left.
        self.vigil.stop()


def stopping() -> Overloaded:
    """What a client is told whose request outlives the server."""
    return Overloaded("The server is stopping.", hint="send the request again", retry_after_s=1.0)


def log_unexpected(exchange: HttpExchange, error: Exception) -> None:
    """Log where something went wrong that should not, without the error's own words: they may quote the request."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("request %s: %s\n%s", exchange.request_id, type(error).__name__, where)
