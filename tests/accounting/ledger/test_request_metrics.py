"""What `/metrics` shows is what was settled."""

from __future__ import annotations

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.accounting.conftest import PRICED, make_outcome, make_request_of

from renga.accounting.ledger.request_ledger import Ledger
from renga.metrics import request_metrics as metrics_module
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import OutputTokensDetails, Usage
from renga.testing.suites.store_suite import make_row

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(metrics: RequestMetrics) -> Samples:
    """Every sample, by name and labels, from the text as a scraper sees it."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def labels(target: str, status: str = "succeeded", **more: str) -> tuple[tuple[str, str], ...]:
    found = {"surface": "messages", "tier": "haiku", "target": target, "status": status, **more}
    return tuple(sorted(found.items()))


def test_requests_tokens_and_cost(ledger: Ledger, metrics: RequestMetrics) -> None:
    usage = Usage(100, 0, 30, output_tokens=20, output_tokens_details=OutputTokensDetails(7))
    for number in range(3):
        ledger.settle(ledger.reserve(make_request_of(f"req_{number}")), make_outcome(usage))
    ledger.settle(ledger.reserve(make_request_of("req_x")), make_outcome(usage, "vllm/unknown", "partial"))
    ledger.reserve(make_request_of("req_open"))
    samples = read(metrics)
    assert samples["renga_requests_total", labels(PRICED)] == 3
    assert samples["renga_tokens_total", (("class", "input"), *labels(PRICED))] == 300
    assert samples["renga_tokens_total", (("class", "cache_read"), *labels(PRICED))] == 90
    assert samples["renga_tokens_total", (("class", "thinking"), *labels(PRICED))] == 21
    assert samples["renga_cost_usd_total", labels(PRICED)] == 3 * (100 * 1000 + 30 * 100 + 20 * 5000) / 1e9
    assert samples["renga_unpriced_requests_total", labels("vllm/unknown", "partial")] == 1
    assert samples["renga_open_leases", ()] == 1
    assert samples["renga_ledger_queue_rows", ()] == 4
    assert samples["renga_ledger_lost_rows_total", ()] == 0


def test_histograms_are_cumulative_and_in_seconds(metrics: RequestMetrics) -> None:
    for total_us in (500, 1_000, 1_001, 20_000_000, 900_000_000):
        metrics.observe(replace(make_row("req_1"), total_us=total_us, first_event_us=None))
    samples = read(metrics)
    target = "local/hokku"

    def bucket(bound: str) -> float:
        return samples["renga_request_seconds_bucket", labels(target, le=bound)]

    assert [bucket("0.001"), bucket("0.0025"), bucket("30.0"), bucket("300.0"), bucket("+Inf")] == [2, 3, 4, 4, 5]
    assert samples["renga_request_seconds_count", labels(target)] == 5
    assert samples["renga_request_seconds_sum", labels(target)] == 920.002501
    assert samples["renga_first_event_seconds_count", labels(target)] == 0


def test_names_of_clients_cannot_fill_the_memory(metrics: RequestMetrics, monkeypatch) -> None:
    monkeypatch.setattr(metrics_module, "_SERIES_MAX", 3)
    for number in range(10):
        metrics.observe(replace(make_row("req_1"), target=f"vllm/{number}"))
    samples = read(metrics)
    assert samples["renga_requests_total", labels("other")] == 7
    assert samples["renga_requests_total", labels("vllm/2")] == 1
