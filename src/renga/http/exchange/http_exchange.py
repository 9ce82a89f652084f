"""One request and its response, as handlers see them.

Owns: reading headers and query, and writing a response in as few sends as there are writes.
Must never know: what a route does with it.
Invariants: a response is started once; every response carries the request's id.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

from renga import ids
from renga.accounting.keys.key_ring import NOBODY
from renga.errors import InvalidRequest, Overloaded
from renga.http.exchange.asgi import JSON, Header, Receive, Scope, Send
from renga.http.exchange.request_watchdog import RequestWatchdog
from renga.http.exchange.surface import Surface, SurfaceReply
from renga.protocols.messages.inference_request import Caller

_log = logging.getLogger(__name__)

NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})
"""What stands in a path whose route has no parameters."""


class HttpExchange:
    """A request on its way to becoming a response."""

    __slots__ = (
        "allowed",
        "arrived_ns",
        "headers",
        "identity",
        "method",
        "parameters",
        "path",
        "receive",
        "request_id",
        "route",
        "scope",
        "send",
        "status",
        "surface",
        "watchdog",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, watchdog: RequestWatchdog, surface: Surface) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.watchdog = watchdog
        """Ends the request's task where the client leaves, or does not send its body."""
        self.surface = surface
        """The format of whatever is said to this client; the route's, once one is found."""
        self.arrived_ns = 0
        """Monotonic, from the server's clock; set as the request comes in."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """By lower-case name; of a repeated header the last."""
        self.request_id = ids.request_id()
        self.identity = NOBODY
        """Set by authentication; nobody on the open routes."""
        self.parameters = NO_PARAMETERS
        """What stands in the path for the names in the route's path, as `exchange.parameters["file_id"]`."""
        self.route = "other"
        """The path of the route that was found."""
        self.allowed = ""
        """The methods of the path, where the request's is none of them."""
        self.status = 0
        """Of the response; 0 until it has begun."""

    @property
    def caller(self) -> Caller:
        """Whose key the request carries, and what that key allows."""
        identity = self.identity
        terms = identity.terms
        return Caller(identity.key_id, identity.workspace_id, terms.tiers, terms.response_cache)

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

    async def reply(self, reply: SurfaceReply, headers: Iterable[Header] = ()) -> None:
        """Send a response that a surface has made, with headers besides its own."""
        await self.respond(reply.status, reply.body, (*reply.headers, *headers))

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
        headers.append((self.surface.header_names.request_id, self.request_id.encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    def _finish(self) -> None:
        # From here on the server reports a disconnect because the response is complete, not because the client left.
        self.watchdog.stop()


def stopping() -> Overloaded:
    """The error for clients whose requests are still running when the server stops."""
    return Overloaded("The server is stopping.", hint="send the request again", retry_after_s=1.0)


def log_unexpected(exchange: HttpExchange, error: Exception) -> None:
    """Log where something went wrong that should not, without the error's own words: they may quote the request."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("request %s: %s\n%s", exchange.request_id, type(error).__name__, where)
