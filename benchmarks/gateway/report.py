"""The report of `benchmarks.gateway`: medians over rounds, ratios, budgets kept or missed; as Markdown and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.gateway.load import Sample

MIB = 1024 * 1024


def percentile(values: Sequence[int], share: float) -> float:
    """The value below which `share` of the sorted values lie, in microseconds from nanoseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000


@dataclass(frozen=True)
class Figure:
    """One segment: one system, one load, one round. Added figures are relative to the direct path of the same round."""

    requests: int
    requests_per_s: float
    events_per_s: float
    p50_us: float
    p99_us: float
    first_byte_p50_us: float
    added_p50_us: float
    added_p99_us: float
    added_first_byte_p50_us: float
    cpu_us_per_request: float
    busy_ratio: float
    """CPU seconds of the server per second: 1 is one whole core."""
    generator_busy_ratio: float

    @classmethod
    def from_samples(cls, sample: Sample, baseline: Sample, events: int) -> Figure:
        rate = sample.requests / sample.wall_s
        p50, p99 = percentile(sample.latencies_ns, 0.5), percentile(sample.latencies_ns, 0.99)
        first = percentile(sample.first_byte_ns, 0.5)
        return cls(
            requests=sample.requests,
            requests_per_s=rate,
            events_per_s=rate * events,
            p50_us=p50,
            p99_us=p99,
            first_byte_p50_us=first,
            added_p50_us=p50 - percentile(baseline.latencies_ns, 0.5),
            added_p99_us=p99 - percentile(baseline.latencies_ns, 0.99),
            added_first_byte_p50_us=first - percentile(baseline.first_byte_ns, 0.5),
            cpu_us_per_request=sample.server_cpu_s * 1e6 / sample.requests,
            busy_ratio=sample.server_cpu_s / sample.wall_s,
            generator_busy_ratio=sample.generator_cpu_s / sample.wall_s,
        )


@dataclass
class Measured:
    """Everything about one system."""

    name: str
    work: str
    cold_start_s: list[float] = field(default_factory=list[float])
    resident_bytes: int = 0
    figures: dict[str, list[Figure]] = field(default_factory=dict[str, "list[Figure]"])

    def median(self, scenario: str, read: Callable[[Figure], float]) -> float:
        """The median over the rounds."""
        return median(read(figure) for figure in self.figures[scenario])

    def per_core(self, scenario: str) -> float:
        """Requests a second of one saturated core: what one CPU second of the server was enough for."""
        return 1e6 / self.median(scenario, lambda figure: figure.cpu_us_per_request)

    def events_per_core(self, scenario: str) -> float:
        """Stream events a second of one saturated core."""
        one = self.figures[scenario][0]
        return self.per_core(scenario) * one.events_per_s / one.requests_per_s


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def scenario_row(one: Measured, scenario: str) -> list[str]:
    def read(value: Callable[[Figure], float]) -> float:
        return one.median(scenario, value)

    direct = one.name.startswith("direct")
    return [
        one.name,
        f"{read(lambda figure: figure.p50_us) / 1000:.3f}",
        "" if direct else f"{read(lambda figure: figure.added_p50_us) / 1000:.3f}",
        "" if direct else f"{read(lambda figure: figure.added_p99_us) / 1000:.3f}",
        "" if direct else f"{read(lambda figure: figure.added_first_byte_p50_us) / 1000:.3f}",
        f"{read(lambda figure: figure.requests_per_s):,.0f}",
        f"{read(lambda figure: figure.events_per_s):,.0f}" if "SSE" in scenario else "",
        "" if direct else f"{read(lambda figure: figure.cpu_us_per_request):,.0f}",
        "" if direct else f"{one.per_core(scenario):,.0f}",
        "" if direct or "SSE" not in scenario else f"{one.events_per_core(scenario):,.0f}",
        "" if direct else f"{read(lambda figure: figure.busy_ratio):.2f}",
        f"{read(lambda figure: figure.generator_busy_ratio):.2f}",
    ]


SCENARIO_HEAD = (
    "system",
    "p50 ms",
    "added p50 ms",
    "added p99 ms",
    "added first byte p50 ms",
    "requests/s",
    "events/s",
    "CPU us/request",
    "requests/s per core",
    "events/s per core",
    "server busy",
    "generator busy",
)


def ratio_rows(measured: list[Measured]) -> list[list[str]]:
    """Renga's rate and latency as ratios to each of the others, by scenario."""
    renga = next((one for one in measured if one.name == "renga"), None)
    rows: list[list[str]] = []
    if renga is None:
        return rows
    for scenario in renga.figures:
        for other in measured:
            if other is renga or other.name == "direct-chat":
                continue
            rate = renga.median(scenario, lambda figure: figure.requests_per_s)
            rate /= other.median(scenario, lambda figure: figure.requests_per_s)
            latency = renga.median(scenario, lambda figure: figure.p50_us)
            latency /= other.median(scenario, lambda figure: figure.p50_us)
            cpu = ""
            if other.name != "direct":
                mine = renga.median(scenario, lambda figure: figure.cpu_us_per_request)
                theirs = other.median(scenario, lambda figure: figure.cpu_us_per_request)
                cpu = f"{mine / theirs:.3f}"
            rows.append([scenario, other.name, f"{rate:.3f}", f"{latency:.3f}", cpu])
    return rows


def render(measured: list[Measured], text_deltas: int, elapsed_s: float) -> str:
    """The run as Markdown."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        f"# Gateway benchmark, {now}",
        f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"uvloop {version('uvloop')}; {text_deltas} text deltas a stream; run took {elapsed_s:.0f} s; "
        f"load average of the last minute {os.getloadavg()[0]:.1f} (this benchmark alone makes about 2).",
        "\n".join(f"- **{one.name}**: {one.work}" for one in measured),
    ]
    scenarios = list(measured[0].figures)
    for scenario in scenarios:
        parts.append(f"## {scenario}\n\n" + table(SCENARIO_HEAD, [scenario_row(one, scenario) for one in measured]))
    rows = [
        [one.name, f"{median(one.cold_start_s):.2f}", f"{one.resident_bytes / MIB:.0f}"]
        for one in measured
        if one.cold_start_s
    ]
    parts.append("## Start and memory\n\n" + table(("system", "first 200, s", "resident MiB after load"), rows))
    head = ("scenario", "Renga against", "rate ratio", "p50 latency ratio", "CPU per request ratio")
    parts.append("## Renga as ratios\n\n" + table(head, ratio_rows(measured)))
    return "\n\n".join(parts)


def conclude(measured: list[Measured]) -> str:
    """Each budget of the design, the figure, and whether it was kept."""
    renga = next((one for one in measured if one.name == "renga"), None)
    if renga is None:
        return ""
    added_ms = renga.median("JSON c1", lambda figure: figure.added_p50_us) / 1000
    lines = [
        ("added p50, JSON c1, ms", added_ms, 0.3, "at most"),
        ("JSON requests/s per core, c32", renga.per_core("JSON c32"), 5_000, "at least"),
        ("SSE events/s per core, c32", renga.events_per_core("SSE c32"), 80_000, "at least"),
        ("resident MB after load", renga.resident_bytes / 1e6, 100, "at most"),
        ("first 200, s", median(renga.cold_start_s), 1.0, "at most"),
    ]
    rows = [
        [name, f"{value:,.3f}", f"{kind} {limit:,}", "kept" if (value <= limit) == (kind == "at most") else "MISSED"]
        for name, value, limit, kind in lines
    ]
    return "\n## Budgets\n\n" + table(("budget", "measured", "limit", "verdict"), rows)


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def write_json(path: Path, measured: list[Measured], settings: dict[str, float]) -> None:
    """Every figure of every round, for comparison over time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "taken_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": os.getloadavg(),
        "settings": settings,
        "systems": [asdict(one) for one in measured],
    }
    path.write_text(json.dumps(body, indent=1) + "\n")
