"""Counters and histograms of requests: one collector for a registry of prometheus-client.

Owns: the names, labels and buckets of every metric.
Must never know: where its numbers come from beyond a ledger row.
Invariant: counting and `collect` run on one thread, the event loop's. Counting is plain integers, about 2 us a row,
where prometheus-client's own counters and histograms take 12; its types appear only when `/metrics` is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from renga.domain.ledger import LedgerRow

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_LATENCY_BOUNDS_US = (
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 300_000_000,
)  # fmt: skip
_OVERHEAD_BOUNDS_US = (50, 100, 200, 300, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000)

_CLASSES = ("input", "cache_creation_5m", "cache_creation_1h", "cache_read", "output", "thinking")

_SERIES_MAX = 2_000
"""Clients may name models; beyond this many label sets, new targets are counted together as `other`."""


class _Histogram:
    __slots__ = ("bounds", "counts", "sum_us")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_us = 0

    def observe(self, value_us: int) -> None:
        self.counts[bisect_left(self.bounds, value_us)] += 1
        self.sum_us += value_us

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound in seconds, as the text format wants them."""
        total = 0
        rows: list[tuple[str, float]] = []
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            total += count
            rows.append(("+Inf" if bound is None else repr(bound / 1_000_000), float(total)))
        return rows


class _Series:
    """What is counted for one combination of labels."""

    __slots__ = ("cost_nano_usd", "first_event", "overhead", "requests", "tokens", "total", "unpriced")

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = [0] * len(_CLASSES)
        self.cost_nano_usd = 0
        self.unpriced = 0
        self.first_event = _Histogram(_LATENCY_BOUNDS_US)
        self.total = _Histogram(_LATENCY_BOUNDS_US)
        self.overhead = _Histogram(_OVERHEAD_BOUNDS_US)


_Labels = tuple[str, str | None, str | None, str]
_LABEL_NAMES = ("surface", "tier", "target", "status")


class RequestMetrics:
    """What `/metrics` shows of requests. Give it to a registry: `registry.register(metrics)`."""

    def __init__(self) -> None:
        self._series: dict[_Labels, _Series] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._warnings: dict[str, int] = {}
        self._gauges: list[tuple[str, str, Literal["gauge", "counter"], Callable[[], float]]] = []

    def observe(self, row: LedgerRow) -> None:
        """Count a request that the ledger has settled."""
        labels = (row.surface, row.tier, row.target, row.status)
        series = self._series.get(labels)
        if series is None:
            series = self._add_series(labels)
        series.requests += 1
        series.total.observe(row.total_us)
        series.overhead.observe(row.overhead_us)
        if row.first_event_us is not None:
            series.first_event.observe(row.first_event_us)
        if row.cost_nano_usd is None:
            series.unpriced += 1
        else:
            series.cost_nano_usd += row.cost_nano_usd
        tokens = series.tokens
        tokens[0] += row.input_tokens
        tokens[1] += row.cache_creation_5m_tokens
        tokens[2] += row.cache_creation_1h_tokens
        tokens[3] += row.cache_read_tokens
        tokens[4] += row.output_tokens
        tokens[5] += row.thinking_tokens

    def count_refusal(self, limit: str, owner: str) -> None:
        """Count a request that a limit or budget of a key or a workspace kept out."""
        self._refusals[limit, owner] = self._refusals.get((limit, owner), 0) + 1

    def count_warning(self, period: str) -> None:
        """Count a soft budget that was passed."""
        self._warnings[period] = self._warnings.get(period, 0) + 1

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Show a number that somebody else keeps. A name that ends in `_total` is a counter, any other a gauge."""
        kind: Literal["gauge", "counter"] = "counter" if name.endswith("_total") else "gauge"
        self._gauges.append((name, help_text, kind, read))

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: the registry would otherwise call `collect` when it registers this."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The numbers, as prometheus-client wants them."""
        yield from self._collect_counters()
        yield from self._collect_histograms()
        yield from self._collect_limits()
        yield from self._collect_watched()

    def _add_series(self, labels: _Labels) -> _Series:
        if len(self._series) >= _SERIES_MAX:
            surface, tier, _, status = labels
            return self._series.setdefault((surface, tier, "other", status), _Series())
        series = self._series[labels] = _Series()
        return series

    def _collect_counters(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        requests = CounterMetricFamily("renga_requests", "Requests settled.", labels=_LABEL_NAMES)
        tokens = CounterMetricFamily(
            "renga_tokens", "Tokens by class; thinking is part of output.", labels=(*_LABEL_NAMES, "class")
        )
        cost = CounterMetricFamily("renga_cost_usd", "Dollars, where the price is known.", labels=_LABEL_NAMES)
        unpriced = CounterMetricFamily(
            "renga_unpriced_requests", "Requests without a known price.", labels=_LABEL_NAMES
        )
        for labels, series in self._series.items():
            names = _render_labels(labels)
            requests.add_metric(names, series.requests)
            cost.add_metric(names, series.cost_nano_usd / 1_000_000_000)
            if series.unpriced:
                unpriced.add_metric(names, series.unpriced)
            for name, count in zip(_CLASSES, series.tokens, strict=True):
                if count:
                    tokens.add_metric([*names, name], count)
        yield from (requests, tokens, cost, unpriced)

    def _collect_histograms(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        first = HistogramMetricFamily("renga_first_event_seconds", "Arrival to first event.", labels=_LABEL_NAMES)
        total = HistogramMetricFamily("renga_request_seconds", "Arrival to the end.", labels=_LABEL_NAMES)
        overhead = HistogramMetricFamily(
            "renga_overhead_seconds", "Arrival to sending it on: what Renga itself took.", labels=_LABEL_NAMES
        )
        for labels, series in self._series.items():
            names = _render_labels(labels)
            for family, histogram in (
                (first, series.first_event),
                (total, series.total),
                (overhead, series.overhead),
            ):
                family.add_metric(names, histogram.buckets(), sum_value=histogram.sum_us / 1_000_000)
        yield from (first, total, overhead)

    def _collect_limits(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        refused = CounterMetricFamily(
            "renga_limited_requests", "Requests that a limit kept out.", labels=("limit", "owner")
        )
        for labels, count in self._refusals.items():
            refused.add_metric(labels, count)
        warned = CounterMetricFamily(
            "renga_budget_warnings", "Soft budgets passed, once a key or workspace and period.", labels=("period",)
        )
        for period, count in self._warnings.items():
            warned.add_metric((period,), count)
        yield from (refused, warned)

    def _collect_watched(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, help_text, kind, read in self._gauges:
            if kind == "counter":
                yield CounterMetricFamily(name.removesuffix("_total"), help_text, value=read())
            else:
                yield GaugeMetricFamily(name, help_text, value=read())


def _render_labels(labels: _Labels) -> list[str]:
    return [label or "none" for label in labels]
