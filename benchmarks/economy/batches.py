"""What a batch costs the live requests beside it, and how fast batches run.

    nice -n -12 python -m benchmarks.economy.batches live [--rate 4] [--pairs 6] [--phase-s 15] [--requests 5000]
    nice -n -12 python -m benchmarks.economy.batches speed [--requests 5000]

`live`: a server with hokku; live streams arrive by chance (Poisson) in phases, every other one with a batch of 5,000
running beside it. Prints time to first token by phase kind, over interleaved pairs, so that what else the machine does
meets both alike. `speed`: a batch against an upstream that answers at once: requests a second, memory, time to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from renga.testing.batch_audit import wavering_config, wavering_upstream
from renga.testing.http_client import RawHttpConnection
from renga.testing.servers.served import Served, ServedSettings, served

BATCHES = "/v1/messages/batches"
WORDS = ("river", "stone", "lantern", "market", "winter", "bridge", "paper", "garden", "signal", "copper", "window")
CONFIG = """\
[tiers]
haiku = ["local/hokku"]

[batches]
max_running = {max_running}

[engine]
max_background = {max_background}
"""


def ask(server: Served, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"x-api-key": server.secret, "content-type": "application/json"})
        response = connection.getresponse()
        read = response.read()
        assert response.status == 200, read
        return json.loads(read)
    finally:
        connection.close()


def write_prompt(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words))


def make_requests(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Requests of a batch: short and long prompts, short and long answers."""
    return [
        {
            "custom_id": f"r{number}",
            "params": {
                "model": "haiku",
                "max_tokens": chance.choice((16, 64, 128)),
                "messages": [{"role": "user", "content": write_prompt(chance, chance.choice((20, 80, 300)))}],
            },
        }
        for number in range(count)
    ]


async def ask_live(server: Served, chance: random.Random) -> float:
    """One live stream. Returns the milliseconds to its first token."""
    body = {
        "model": "haiku",
        "max_tokens": 48,
        "stream": True,
        "messages": [{"role": "user", "content": write_prompt(chance, chance.choice((20, 60, 150)))}],
    }
    began = time.perf_counter()
    first = 0.0
    async with await RawHttpConnection.open("127.0.0.1", server.port) as connection:
        headers = {"x-api-key": server.secret, "content-type": "application/json"}
        await connection.send("POST", "/v1/messages", headers, json.dumps(body).encode())
        head = await connection.read_head()
        assert head.status == 200, head
        async for chunk in connection.read_chunks():
            if not first and b"content_block_delta" in chunk:
                first = (time.perf_counter() - began) * 1000
    return first


async def run_phase(server: Served, rate: float, seconds: float, chance: random.Random) -> list[float]:
    """Live streams at this many a second."""
    asked: list[asyncio.Task[float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        asked.append(asyncio.create_task(ask_live(server, chance)))
        await asyncio.sleep(chance.expovariate(rate))
    return [first for first in await asyncio.gather(*asked) if first]


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


async def measure_live(options: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(options.seed)
    config = CONFIG.format(max_running=options.max_running, max_background=options.max_background)
    alone: list[float] = []
    beside: list[float] = []
    done = 0
    with served(ServedSettings(config)) as server:
        await run_phase(server, options.rate, 3, chance)
        for _ in range(options.pairs):
            alone += await run_phase(server, options.rate, options.phase_s, chance)
            made = await asyncio.to_thread(
                ask, server, "POST", BATCHES, {"requests": make_requests(chance, options.requests)}
            )
            while (
                not (await asyncio.to_thread(ask, server, "GET", f"{BATCHES}/{made['id']}"))
                .get("renga", {})
                .get("done")
            ):
                await asyncio.sleep(0.2)
            before = (await asyncio.to_thread(ask, server, "GET", f"{BATCHES}/{made['id']}"))["renga"]["done"]
            beside += await run_phase(server, options.rate, options.phase_s, chance)
            found = await asyncio.to_thread(ask, server, "GET", f"{BATCHES}/{made['id']}")
            assert found["processing_status"] == "in_progress", "the batch ended before the phase: make it larger"
            done += found["renga"]["done"] - before
            await asyncio.to_thread(ask, server, "POST", f"{BATCHES}/{made['id']}/cancel", {})
            while (await asyncio.to_thread(ask, server, "GET", f"{BATCHES}/{made['id']}"))[
                "processing_status"
            ] != "ended":
                await asyncio.sleep(0.2)
    report = {
        name: {
            "n": len(values),
            "p50_ms": quantile(values, 0.5),
            "p90_ms": quantile(values, 0.9),
            "p99_ms": quantile(values, 0.99),
        }
        for name, values in (("alone", alone), ("beside_a_batch", beside))
    }
    growth = {
        f"{name}_growth": round(report["beside_a_batch"][name] / report["alone"][name] - 1, 3)
        for name in ("p50_ms", "p90_ms", "p99_ms")
    }
    return {**report, **growth, "batch_requests_per_s": round(done / (options.pairs * options.phase_s), 2)}


def measure_speed(options: argparse.Namespace) -> dict[str, Any]:
    with (
        wavering_upstream(delay_s=0.0) as upstream,
        served(ServedSettings(wavering_config(upstream.url, max_running=options.max_running))) as server,
    ):
        chance = random.Random(options.seed)
        before = read_rss_mb(server)
        body = {"requests": make_requests(chance, options.requests)}
        began = time.monotonic()
        made = ask(server, "POST", BATCHES, body)
        created = time.monotonic()
        peak = before
        while ask(server, "GET", f"{BATCHES}/{made['id']}")["processing_status"] != "ended":
            peak = max(peak, read_rss_mb(server))
            time.sleep(0.2)
        ended = time.monotonic()
        return {
            "requests": options.requests,
            "body_mb": round(len(json.dumps(body)) / 1e6, 1),
            "create_s": round(created - began, 2),
            "run_s": round(ended - created, 2),
            "requests_per_s": round(options.requests / (ended - created)),
            "rss_before_mb": before,
            "rss_peak_mb": peak,
            "requests_at_once": options.max_running,
        }


def read_rss_mb(server: Served) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="what batches cost live requests, and how fast they run")
    parser.add_argument("what", choices=("live", "speed"))
    parser.add_argument("--rate", type=float, default=4.0, help="live requests a second")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--phase-s", type=float, default=15.0)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--max-running", type=int, default=16)
    parser.add_argument("--max-background", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = asyncio.run(measure_live(options)) if options.what == "live" else measure_speed(options)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
