"""Figures of targets, floors and shadow traffic for `/metrics`.

Owns: their names. Must never know: how they come about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import Metric

from renga.routing.monitoring.guarantee_monitor import FloorReading
from renga.routing.monitoring.sampler import Sampler
from renga.routing.targets.target_health import TargetHealth

_NANO = 1_000_000_000


class RoutingMetrics:
    """Give it to a registry: `registry.register(metrics)`. Asked on the event loop's thread."""

    def __init__(
        self, health: TargetHealth, readings: Callable[[], Sequence[FloorReading]], samplers: Sequence[Sampler]
    ) -> None:
        self._health = health
        self._readings = readings
        self._samplers = samplers

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: the registry would otherwise call `collect` when it registers this."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The numbers, as prometheus-client wants them."""
        yield from self._collect_targets()
        yield from self._collect_floors()
        yield from self._collect_shadow()

    def _collect_targets(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        label = ("target",)
        working = GaugeMetricFamily("renga_target_working", "1: asked; 0: cooling down or being probed.", labels=label)
        errors = GaugeMetricFamily("renga_target_error_ratio", "Recent failures, weighted by age.", labels=label)
        first = GaugeMetricFamily("renga_target_first_event_seconds", "Mean, weighted by age.", labels=label)
        running = GaugeMetricFamily("renga_target_running", "Requests that it has now.", labels=label)
        downs = CounterMetricFamily("renga_target_cool_downs", "Cool-downs since the start.", labels=label)
        for state in self._health.describe():
            name = (state.target,)
            working.add_metric(name, float(state.standing == "working"))
            running.add_metric(name, state.running)
            downs.add_metric(name, state.cool_downs)
            if state.error_ratio is not None:
                errors.add_metric(name, state.error_ratio)
            if state.first_event_ms is not None:
                first.add_metric(name, state.first_event_ms / 1000.0)
        yield from (working, errors, first, running, downs)

    def _collect_floors(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for source, prefix, label in (("shadow", "renga_floor", "policy"), ("canary", "renga_canary", "target")):
            broken = GaugeMetricFamily(f"{prefix}_broken", "1: it keeps nothing more.", labels=(label,))
            loss = GaugeMetricFamily(f"{prefix}_loss_points", "Mean loss of its labels.", labels=(label,))
            labels = CounterMetricFamily(f"{prefix}_labels", "Labels that were compared.", labels=(label,))
            for reading in self._readings():
                if reading.source == source:
                    broken.add_metric((reading.subject,), float(reading.broken_us is not None))
                    loss.add_metric((reading.subject,), reading.loss_points)
                    labels.add_metric((reading.subject,), reading.labels)
            yield from (broken, loss, labels)

    def _collect_shadow(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        label = ("source", "subject")
        running = GaugeMetricFamily("renga_shadow_running", "Drawn requests that have not ended.", labels=label)
        spent = GaugeMetricFamily("renga_shadow_spent_usd", "On second answers, today (UTC).", labels=label)
        for sampler in self._samplers:
            name = (sampler.terms.source, sampler.terms.subject)
            running.add_metric(name, sampler.running)
            spent.add_metric(name, sampler.spent_nano_usd / _NANO)
        yield from (running, spent)
