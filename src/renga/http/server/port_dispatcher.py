"""Which application a connection meets: by the port that it came in at.

Must never know: what the applications do.
Invariant: the port is that of the socket which took the connection; nothing that a client sends can choose it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from renga.http.exchange.http_exchange import Receive, Scope, Send

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class PortDispatcher:
    """An ASGI application with others behind it. The first also gets the server's life."""

    def __init__(self, front: Application, others: Mapping[int, Application]) -> None:
        """`others` by port."""
        self._front = front
        self._others = dict(others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope.get("server")
        other = None if address is None else self._others.get(address[1])
        await (other or self._front)(scope, receive, send)
