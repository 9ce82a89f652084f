"""How many connections there may be, in all and of one address.

Owns: the counts, and what a connection too many is told. Must never know: requests, sockets.
Invariants: whoever was let in leaves once; each port has its own count, so that clients never keep administrators out.
"""

from __future__ import annotations

import ipaddress
import logging
import time

from renga.errors import Overloaded, RateLimited, RengaError

_log = logging.getLogger("renga.start")

_TELL_EVERY_S = 60.0
_NETWORK_BITS = 64
"""Of an IPv6 address: one customer has at least so large a network. Source: RFC 6177."""


class ConnectionLimiter:
    """Counts connections. Used from one event loop."""

    def __init__(self, most: int, most_of_address: int = 0) -> None:
        """0: no bound."""
        self._most = most
        self._most_of_address = most_of_address
        self._open: dict[int, int] = {}
        self._open_of_address: dict[tuple[int, str], int] = {}
        self._told_s = -_TELL_EVERY_S
        self.refusing = 0
        """Connections that still hear that there is no room."""

    def enter(self, port: int, address: str) -> RengaError | None:
        """Let a connection in; what to tell it where there is no room."""
        count = self._open.get(port, 0)
        if self._most and count >= self._most:
            self._tell(f"all {self._most} connections are taken (server.max_connections)")
            return Overloaded("The server has as many connections as it may.", retry_after_s=1.0)
        if self._most_of_address:
            key = (port, _name_network(address))
            own = self._open_of_address.get(key, 0)
            if own >= self._most_of_address:
                self._tell(f"{key[1]} has {own} connections (server.max_connections_per_address)")
                return RateLimited(
                    f"Your address has {own} connections already.", hint="use them again", retry_after_s=1.0
                )
            self._open_of_address[key] = own + 1
        self._open[port] = count + 1
        return None

    def leave(self, port: int, address: str) -> None:
        """A connection that was let in has ended."""
        self._open[port] -= 1
        if self._most_of_address:
            key = (port, _name_network(address))
            self._open_of_address[key] -= 1
            if not self._open_of_address[key]:
                del self._open_of_address[key]

    def _tell(self, why: str) -> None:
        """Log it, not for every connection."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            _log.warning("a connection was refused: %s", why)


def _name_network(address: str) -> str:
    """An IPv4 address as it is, an IPv6 address as its network."""
    if ":" not in address:
        return address
    plain = ipaddress.IPv6Address(address)
    mapped = plain.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.IPv6Network((plain, _NETWORK_BITS), strict=False))
