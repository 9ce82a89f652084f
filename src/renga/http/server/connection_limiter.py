"""How many connections there may be, in all and of one address.

Owns: the counts, and what a connection too many is told. Must never know: requests, sockets.
Invariants: whoever was admitted is released once; each port has its own count, so that clients never keep
administrators out.
"""

from __future__ import annotations

import ipaddress
import logging
import time

from renga.errors import Overloaded, RateLimited, RengaError

_log = logging.getLogger("renga.start")

_LOG_INTERVAL_S = 60.0
_NETWORK_BITS = 64
"""Of an IPv6 address: one customer has at least so large a network. Source: RFC 6177."""


class ConnectionLimiter:
    """Counts connections. Used from one event loop."""

    def __init__(self, max_connections: int, max_per_address: int = 0) -> None:
        """A maximum of 0 is none at all."""
        self._max = max_connections
        self._max_per_address = max_per_address
        self._open: dict[int, int] = {}
        self._open_by_address: dict[tuple[int, str], int] = {}
        self._logged_s = -_LOG_INTERVAL_S
        self.refusing = 0
        """Connections that are still being told that they are too many."""

    def admit(self, port: int, address: str) -> RengaError | None:
        """Count a connection in; what to tell it where it is one too many."""
        count = self._open.get(port, 0)
        if self._max and count >= self._max:
            self._log_refusal(f"all {self._max} connections are taken (server.max_connections)")
            return Overloaded("The server has as many connections as it may.", retry_after_s=1.0)
        if self._max_per_address:
            key = (port, _name_network(address))
            own = self._open_by_address.get(key, 0)
            if own >= self._max_per_address:
                self._log_refusal(f"{key[1]} has {own} connections (server.max_connections_per_address)")
                return RateLimited(
                    f"Your address has {own} connections already.", hint="use them again", retry_after_s=1.0
                )
            self._open_by_address[key] = own + 1
        self._open[port] = count + 1
        return None

    def release(self, port: int, address: str) -> None:
        """Count out a connection that was admitted and has ended."""
        self._open[port] -= 1
        if self._max_per_address:
            key = (port, _name_network(address))
            self._open_by_address[key] -= 1
            if not self._open_by_address[key]:
                del self._open_by_address[key]

    def _log_refusal(self, why: str) -> None:
        """Log why a connection was refused, though not for every one."""
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_INTERVAL_S:
            self._logged_s = now_s
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
