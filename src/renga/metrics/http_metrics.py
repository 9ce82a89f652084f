"""Figures of the server itself. Tokens and money are the ledger's.

Owns: how many requests came, how they ended, and how many are being served.
Must never know: what a request asks for.
Invariant: counting is a look into a dictionary; prometheus-client's types appear only when `/metrics` is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class HttpMetrics:
    """Counts requests by route and status. Cost: about 0.2 us a request."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        """Requests being served now."""
        self._requests: dict[tuple[str, int], int] = {}
        registry.register(self)

    def count(self, route: str, status: int) -> None:
        """Count a request that has ended, under its route and status."""
        self.in_flight -= 1
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: the registry would otherwise call `collect` when it registers this."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The numbers, as prometheus-client wants them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        requests = CounterMetricFamily(
            "renga_http_requests", "Requests by route and status; 0: the client left.", labels=("route", "status")
        )
        for (route, status), count in self._requests.items():
            requests.add_metric((route, str(status)), count)
        yield requests
        yield GaugeMetricFamily("renga_http_requests_in_flight", "Requests being served now.", self.in_flight)
