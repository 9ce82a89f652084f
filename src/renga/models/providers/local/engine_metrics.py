"""The load of local models' engines, for `/metrics`: one row for each model.

Must never know: where the page is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from renga.models.providers.local.local_model import LocalModel
from renga.models.providers.local.model_pool import ModelPool

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_GAUGES: tuple[tuple[str, str, Callable[[LocalModel], float]], ...] = (
    ("renga_engine_running", "Requests that the engine decodes.", lambda model: model.stats().running),
    ("renga_engine_waiting", "Requests that wait for the engine.", lambda model: model.stats().waiting),
    ("renga_engine_cache_ratio", "Key-value cache in use, 0 to 1.", lambda model: model.stats().cache_usage_ratio),
    ("renga_engine_loaded", "Whether the model is loaded: 1 or 0.", lambda model: float(model.client is not None)),
)


class EngineMetrics:
    """A collector for a registry of prometheus-client, whose types appear only when `/metrics` is asked for."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: the registry would otherwise call `collect` when it registers this."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The numbers, as prometheus-client wants them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, help_text, read in _GAUGES:
            gauge = GaugeMetricFamily(name, help_text, labels=("model",))
            for model in self._pool.models.values():
                gauge.add_metric((model.name,), read(model))
            yield gauge
        loads = CounterMetricFamily("renga_engine_loads", "How often the model was loaded.", labels=("model",))
        for model in self._pool.models.values():
            loads.add_metric((model.name,), model.loads)
        yield loads
