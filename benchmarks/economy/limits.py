"""Limits and budgets: what they cost in the process, and what eight servers make of one that they share.

    python -m benchmarks.economy.limits [--quick] [--json runs/limits.json] [--servers 8]

Real `renga serve` processes in front of a zero-delay upstream, one Valkey or Redis between them. Measured: CPU of
limits in the process; how exactly the servers hold a limit of requests, of input and of output tokens a minute, and a
budget; what sharing adds to a request, in alternating segments; what clients see while the count is killed and back.
The full run takes about four minutes, `--quick` about one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import uvloop
from msgspec.structs import replace

from benchmarks.economy.limits_load import Record, load, probe
from benchmarks.needs import need_valkey
from renga.accounting.keys.key_ring import digest_secret
from renga.accounting.limits.quotas import Quotas
from renga.accounting.pricing.price_book import PriceBook
from renga.clock import SystemClock
from renga.config import LimitSettings, PriceSettings
from renga.domain.keys import KeyLimits, KeyRow
from renga.http.messages.limit_headers import render_limits
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.inference_request import Caller
from renga.store.database import open_database
from renga.testing.metering import make_request
from renga.testing.servers.scripted_upstream import echo_config, echo_upstream
from renga.testing.servers.valkey import ValkeyServer
from renga.testing.suites.store_suite import make_row

USD = 1_000_000_000
INPUT_TOKENS, OUTPUT_TOKENS = 12, 100
"""What the upstream says that an answer used."""
REQUEST_NANO_USD = USD + 12_000
RATE = 10
"""Requests a second that each limit comes to."""
MANY = 1_000_000_000
KEYS = {
    "requests": KeyLimits(requests_per_minute=RATE * 60),
    "input": KeyLimits(input_tokens_per_minute=RATE * 60 * INPUT_TOKENS),
    "output": KeyLimits(output_tokens_per_minute=RATE * 60 * OUTPUT_TOKENS),
    "budget": KeyLimits(budget_nano_usd_per_day=300 * USD),
    "outage": KeyLimits(requests_per_minute=MANY // 1000, budget_nano_usd_per_month=100_000 * USD),
    "four": KeyLimits(
        requests_per_minute=MANY, input_tokens_per_minute=MANY, output_tokens_per_minute=MANY, concurrent_requests=1000
    ),
}
CONFIG = """\
[store]
data_dir = "{folder}"
[server]
port = {port}
[files]
enabled = false
[batches]
run = false
[limits]
shared_url = "{shared}"
when_away = "{when_away}"
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    bar: str
    holds: bool | None


def told(row: Row) -> Row:
    """Say it at once: the run is long."""
    print(f"  {row.what}: {row.measured}", file=sys.stderr, flush=True)
    return row


class Fleet:
    """Servers on one count, each with a database of its own; the keys are the same in all."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.upstream = upstream
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folders: list[Path] = []
        self.ports: list[int] = []

    async def start(self, count: int, shared: str, when_away: str = "closed") -> list[int]:
        """Start so many; returns their ports when all answer."""
        first = len(self.folders)
        for number in range(first, first + count):
            folder = self.folder / str(number)
            folder.mkdir()
            with open_database(f"sqlite:///{folder / 'renga.db'}") as database:
                for name, limits in KEYS.items():
                    secret = f"sk-renga-{name}"
                    database.keys.create(KeyRow(f"key_{name}", name, digest_secret(secret), "", 0, limits=limits))
            port = free_port()
            own = CONFIG.format(folder=folder, port=port, shared=shared, when_away=when_away)
            text = own + echo_config(self.upstream, output_usd=10_000.0)
            (folder / "renga.toml").write_text(text)
            environment = {name: value for name, value in os.environ.items() if not name.startswith("RENGA_")}
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [Path(sys.executable).with_name("renga"), "serve", "--config", folder / "renga.toml"],
                    stdout=log, stderr=log, env=environment,
                )  # fmt: skip
            self.processes.append(process)
            self.folders.append(folder)
            self.ports.append(port)
        for port, folder in zip(self.ports[first:], self.folders[first:], strict=True):
            wait_ready(port, folder)
            # The first request waits for the database.
            await probe(port, "sk-renga-four", 0.01)
        return self.ports[first:]

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.processes = []

    def renew(self) -> None:
        """Stop them all and forget what they wrote."""
        self.stop()
        self.ports.clear()
        self.folders.clear()
        self.folder = self.folder / "next"
        self.folder.mkdir()

    def spent(self, key: str) -> tuple[int, int]:
        """Requests and nano-dollars of a key in all ledgers. The servers have stopped."""
        requests = nano_usd = 0
        for folder in self.folders:
            with open_database(f"sqlite:///{folder / 'renga.db'}") as database:
                rows = [row for row in database.ledger.read_rows(limit=1_000_000) if row.key_id == f"key_{key}"]
            requests += len(rows)
            nano_usd += sum(row.cost_nano_usd or 0 for row in rows)
        return requests, nano_usd


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_ready(port: int, folder: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text())


def measure_process(rounds: int) -> list[Row]:
    """CPU of reserve, hold, settle and headers in one process; the least of the rounds."""
    prices = PriceBook({}, {"echo/echo": PriceSettings(input_usd=1.0, output_usd=5.0)})
    four = {
        "requests_per_minute": MANY, "input_tokens_per_minute": MANY, "output_tokens_per_minute": MANY,
        "concurrent_requests": 100,
    }  # fmt: skip
    budgets = {
        "budget_usd_per_day": 1e6,
        "budget_usd_per_month": 1e6,
        "warn_usd_per_day": 1e6,
        "warn_usd_per_month": 1e6,
    }
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "no limit": ({}, ""),
        "one limit": ({"requests_per_minute": MANY}, ""),
        "four limits": (four, "8 us"),
        "four limits and four budgets": ({**four, **budgets}, "13 us"),
    }
    rows: list[Row] = []
    row = replace(make_row("req_1"), workspace_id=None)
    request = make_request("req_1", Caller("key_a"), input_bytes=400)
    for name, (limits, bar) in cases.items():
        quotas = Quotas(LimitSettings(**limits), prices, RequestMetrics(), SystemClock())
        taken: list[float] = []
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(10_000):
                hold = quotas.reserve(request)
                if hold is not None:
                    quotas.hold_price(hold, request, ("echo/echo",))
                quotas.settle(hold, row)
                if hold is not None:
                    render_limits(hold.read())
            taken.append((time.process_time() - began) * 100)
        rows.append(Row(f"in the process, CPU a request: {name}", f"{min(taken):.1f} us", bar, None))
    return rows


async def measure_accuracy(ports: list[int], seconds: float) -> list[Row]:
    """What the servers let in together against what one bucket may give in that time."""
    rows: list[Row] = []
    for name in ("requests", "input", "output"):
        record = await load(ports, f"sk-renga-{name}", seconds, 4)
        admitted = record.admitted()
        last_s = max(each.at_s for each in record.told)
        expected = RATE * 60 + RATE * last_s
        error = len(admitted) / expected - 1
        text = f"{len(ports)} servers, {name} a minute: let in {len(admitted):,} of {expected:,.0f} in {last_s:.1f} s"
        text += f", refused {record.count()[429]:,}"
        # A machine too busy to ask for that much shows nothing.
        holds = abs(error) <= 0.01 if record.count()[429] else None
        rows.append(told(Row(text, f"{error:+.2%}", "<= 1 %", holds)))
    return rows


async def measure_budget(ports: list[int], seconds: float) -> Record:
    return await load(ports, "sk-renga-budget", seconds, 4)


async def measure_latency(alone: int, shared: int, rounds: int, segment_s: float) -> list[Row]:
    """The same four limits counted in the process and shared, in turn."""
    found: dict[int, list[float]] = {alone: [], shared: []}
    for port in (alone, shared):
        await probe(port, "sk-renga-four", 0.5)
    differences: list[float] = []
    for _ in range(rounds):
        medians = {}
        for port in (alone, shared):
            taken = await probe(port, "sk-renga-four", segment_s)
            medians[port] = statistics.median(taken)
            found[port] += taken
        differences.append(medians[shared] - medians[alone])
    p99 = {port: statistics.quantiles(found[port], n=100)[98] for port in found}
    added = statistics.median(differences)
    return [
        *map(
            told,
            (
                Row("p50 of a request, limits in the process", f"{statistics.median(found[alone]):.0f} us", "", None),
                Row("p50 of a request, limits shared", f"{statistics.median(found[shared]):.0f} us", "", None),
                Row("added by sharing, p50 (median of paired rounds)", f"{added:.0f} us", "<= 300 us", added <= 300),
                Row("added by sharing, p99", f"{p99[shared] - p99[alone]:.0f} us", "", None),
            ),
        )
    ]


async def measure_outage(ports: list[int], valkey: ValkeyServer, when_away: str, scale: float) -> tuple[Row, Record]:
    """Kill the count under load, start it again empty."""
    import asyncio

    marks: dict[str, float] = {}

    async def break_it() -> None:
        await asyncio.sleep(2 * scale)
        marks["killed"] = time.monotonic()
        valkey.kill()
        await asyncio.sleep(3 * scale)
        marks["started"] = time.monotonic()
        await asyncio.to_thread(valkey.start)

    breaking = asyncio.create_task(break_it())
    record = await load(ports, "sk-renga-outage", 9 * scale, 2)
    await breaking
    killed, started = marks["killed"] - record.began_s, marks["started"] - record.began_s
    during = [each for each in record.told if killed <= each.at_s < started]
    statuses = {status: sum(each.status == status for each in during) for status in (200, 429, 529)}
    longest_ms = 1000 * max(each.took_s for each in record.told if each.at_s >= killed - 0.5)
    whole = [each.at_s for each in record.told if each.at_s >= started and each.status == 529]
    healed_s = (max(whole) - started) if whole else 0.0
    text = (
        f"count killed for {3 * scale:.0f} s, `{when_away}`: 200 {statuses[200]}, 429 {statuses[429]}, 529 "
        f"{statuses[529]} meanwhile; last 529 {healed_s:.2f} s after its start; cut connections {record.cut}"
    )
    row = Row(text, f"longest {longest_ms:.0f} ms", "<= 1,000 ms", longest_ms <= 1000 and not record.cut)
    return told(row), record


async def run(options: argparse.Namespace) -> list[Row]:
    seconds, rounds, scale = (10.0, 4, 0.5) if options.quick else (20.0, 12, 1.0)
    rows = measure_process(2 if options.quick else 5)
    with (
        TemporaryDirectory(prefix="renga-limits-") as folder,
        echo_upstream(OUTPUT_TOKENS) as upstream,
        ValkeyServer() as valkey,
    ):
        fleet = Fleet(Path(folder), upstream)
        try:
            (alone,) = await fleet.start(1, "")
            (one,) = await fleet.start(1, valkey.url)
            rows += await measure_latency(alone, one, rounds, 0.5 if options.quick else 1.0)
            fleet.renew()
            ports = await fleet.start(options.servers, valkey.url)
            rows += await measure_accuracy(ports, seconds)
            await measure_budget(ports, seconds)
            row, record = await measure_outage(ports, valkey, "closed", scale)
            rows.append(row)
            fleet.stop()
            rows += judge_budget(fleet)
            rows.append(judge_rows(fleet, record))
            fleet.renew()
            ports = await fleet.start(options.servers, valkey.url, "local")
            row, record = await measure_outage(ports, valkey, "local", scale)
            rows.append(row)
            fleet.stop()
            rows.append(judge_rows(fleet, record))
        finally:
            fleet.stop()
    return rows


def judge_budget(fleet: Fleet) -> list[Row]:
    budget = KEYS["budget"].budget_nano_usd_per_day
    assert isinstance(budget, int)
    requests, spent = fleet.spent("budget")
    over = (spent - budget) / REQUEST_NANO_USD
    each, whole = REQUEST_NANO_USD / USD, spent / USD
    text = f"a budget of ${budget / USD:,.0f}: {requests} requests of ${each} came to ${whole:,.6f}"
    return [Row(text, f"{over:+.3f} requests over", "at most 1", 0 <= over <= 1)]


def judge_rows(fleet: Fleet, record: Record) -> Row:
    """Every answer is a row, and no row is there twice."""
    requests, _ = fleet.spent("outage")
    refused = record.count()[529]
    told = len(record.admitted())
    text = f"the ledgers after the outage: {requests:,} rows for {told:,} answers and {refused:,} times 529"
    return Row(text, f"{requests - told - refused:+d}", "0", requests == told + refused)


def render(rows: list[Row]) -> str:
    lines = ["| what | measured | bar | |", "|---|---|---|---|"]
    signs = {True: "holds", False: "MISSED", None: ""}
    return "\n".join([*lines, *(f"| {row.what} | {row.measured} | {row.bar} | {signs[row.holds]} |" for row in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description="measure limits and budgets, alone and shared")
    parser.add_argument("--quick", action="store_true", help="short segments, about one minute")
    parser.add_argument("--json", type=Path, default=Path("runs/limits.json"), help="where the figures go")
    parser.add_argument("--servers", type=int, default=8)
    options = parser.parse_args()
    need_valkey()
    rows = uvloop.run(run(options))
    print(render(rows))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
