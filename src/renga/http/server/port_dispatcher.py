"""Which application a connection meets: by the port that it came in at.

Must never know: what the applications do.
Invariant: the port is that of the socket which took the connection; nothing that a client sends can choose it.
"""

from __future__ import annotations

from collections.abc import Mapping

from renga.http.exchange.asgi import Receive, Scope, Send
from renga.http.exchange.surface import Surface, SurfacedApplication


class PortDispatcher:
    """An ASGI application with others behind it. The first also gets the server's life."""

    def __init__(self, first: SurfacedApplication, others: Mapping[int, SurfacedApplication]) -> None:
        """Route by listening port: `others` maps ports to applications, `front` has the rest."""
        self._first = first
        self._others = dict(others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application of its port."""
        address = scope.get("server")
        other = None if address is None else self._others.get(address[1])
        await (other or self._first)(scope, receive, send)

    def surface_of(self, path: str) -> Surface:
        """The format of whoever asks for a path, as the first application says."""
        return self._first.surface_of(path)
