"""Arrivals of a real service replayed at increasing speed against a server with hokku, until it is saturated.

    python -m benchmarks.engine.replay [--trace conv|code] [--quick] [--batch 5000] [--token-scale 0.05]
    python -m benchmarks.engine.replay --batch 5000 --speed 6 [--pairs 3]

Each phase replays the same stretch of the trace at one speed: offered and answered requests a second, output tokens a
second, p50 and p99 time to the first text, and what was refused. A speed saturates the server if under 95 % of what
was offered is answered within the phase, over 1 % is refused, or p99 is ten times that of the slowest speed. With
`--batch N`, speeds up to half of the last that did not saturate are run again in pairs, without and with a batch of N
requests beside them; `--speed` runs such pairs at that speed and nothing else. Prompts and answers are the trace's
lengths times `--token-scale`, at least 4 tokens: the trace is of large models on GPUs, the machine here is small.
Trace: Azure LLM inference 2023, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import http.client
import itertools
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.needs import need_data
from renga.services.evals.datasets.locations import require_path
from renga.testing.http_client import RawHttpConnection
from renga.testing.servers.served import Served, ServedSettings, served

TRACE = "traces/azure2023/data/AzureLLMInferenceTrace_{}.csv.gz"
CONFIG = "[engine]\nmax_waiting = 64\n"
WORDS = ["the", "a", "small", "river", "town", "keeps", "old", "maps", "of", "every", "road", "and", "sells", "them"]
SPEEDS = (0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
DELTA = b"event: content_block_delta"


@dataclass(frozen=True)
class Arrival:
    at_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Answer:
    status: int
    first_text_s: float | None
    ended_s: float
    output_tokens: int


@dataclass(frozen=True)
class Phase:
    """What one speed showed."""

    speed: float
    batch: bool
    offered_per_s: float
    answered_per_s: float
    output_tokens_per_s: float
    first_text_p50_ms: float
    first_text_p99_ms: float
    refused: int
    requests: int
    in_time: float

    def saturates(self, slowest: Phase | None) -> bool:
        limit_ms = 10 * slowest.first_text_p99_ms if slowest else float("inf")
        return self.in_time < 0.95 or self.refused > 0.01 * self.requests or self.first_text_p99_ms > limit_ms


def read_trace(name: str, scale: float, seconds: float) -> list[Arrival]:
    """The trace from its tenth minute on, as much as the fastest speed needs."""
    with gzip.open(require_path(TRACE.format(name)), "rt", encoding="utf-8-sig") as file:
        rows = [(datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(), row) for row in csv.DictReader(file)]
    begin = rows[0][0] + 600
    return [
        Arrival(
            at - begin,
            max(4, round(int(row["ContextTokens"]) * scale)),
            max(4, round(int(row["GeneratedTokens"]) * scale)),
        )
        for at, row in rows
        if 0 <= at - begin < seconds
    ]


NUMBERS = itertools.count()
"""Of prompts, over all phases."""


def render_body(arrival: Arrival) -> bytes:
    """A prompt of about so many tokens; every one begins differently, so that no prefix helps."""
    number = next(NUMBERS)
    words = [f"{number}:", *(WORDS[(number + index) % len(WORDS)] for index in range(arrival.prompt_tokens))]
    messages = [{"role": "user", "content": " ".join(words)}]
    body = {"model": "haiku", "max_tokens": arrival.output_tokens, "stream": True, "messages": messages}
    return json.dumps(body).encode()


async def ask(server: Served, arrival: Arrival) -> Answer:
    """One streamed request on a connection of its own."""
    began = time.monotonic()
    headers = {"x-api-key": server.secret, "content-type": "application/json"}
    async with await RawHttpConnection.open("127.0.0.1", server.port) as connection:
        await connection.send("POST", "/v1/messages", headers, render_body(arrival))
        head = await connection.read_head()
        if head.status != 200:
            return Answer(head.status, None, time.monotonic(), 0)
        first, body = None, b""
        async for chunk in connection.read_chunks():
            if first is None and DELTA in chunk:
                first = time.monotonic() - began
            body += chunk
    usage = body.rpartition(b'"output_tokens":')[2][:8]
    tokens = int(bytes(byte for byte in usage.partition(b",")[0] if 0x30 <= byte <= 0x39) or b"0")
    return Answer(200 if b"event: error" not in body else 529, first, time.monotonic(), tokens)


async def run_phase(server: Served, arrivals: list[Arrival], speed: float, seconds: float, *, batch: bool) -> Phase:
    """Replay at one speed; ends when everything is answered."""
    due = [arrival for arrival in arrivals if arrival.at_s / speed < seconds]
    began = time.monotonic()

    async def arrive(arrival: Arrival) -> Answer:
        await asyncio.sleep(began + arrival.at_s / speed - time.monotonic())
        return await ask(server, arrival)

    answers = await asyncio.gather(*map(arrive, due))
    whole = [answer for answer in answers if answer.status == 200]
    # A tenth more for the last to end in.
    in_time = [answer for answer in whole if answer.ended_s <= began + 1.1 * seconds]
    first_ms = sorted(1000 * answer.first_text_s for answer in whole if answer.first_text_s is not None) or [0.0]
    return Phase(
        speed=speed,
        batch=batch,
        offered_per_s=len(due) / seconds,
        answered_per_s=len(in_time) / seconds,
        output_tokens_per_s=sum(answer.output_tokens for answer in in_time) / seconds,
        first_text_p50_ms=statistics.median(first_ms),
        first_text_p99_ms=first_ms[min(len(first_ms) - 1, int(0.99 * len(first_ms)))],
        refused=len(answers) - len(whole),
        requests=len(due),
        in_time=len(in_time) / max(1, len(due)),
    )


def call(server: Served, method: str, path: str, body: object = None) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        encoded = None if body is None else json.dumps(body)
        connection.request(method, path, encoded, {"x-api-key": server.secret, "content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
    return json.loads(text)


def start_batch(server: Served, size: int) -> str:
    """A batch of short requests; returns its id."""
    requests = [
        {
            "custom_id": f"r{number}",
            "params": {
                "model": "haiku",
                "max_tokens": 32,
                "messages": [{"role": "user", "content": f"{number}: {' '.join(WORDS)}"}],
            },
        }
        for number in range(size)
    ]
    return str(call(server, "POST", "/v1/messages/batches", {"requests": requests})["id"])


async def run_pairs(server: Served, arrivals: list[Arrival], speed: float, options: argparse.Namespace) -> list[Phase]:
    """The same phase without and with a batch, in turn."""
    phases: list[Phase] = []
    for _ in range(options.pairs):
        phases.append(await run_phase(server, arrivals, speed, options.phase_s, batch=False))
        batch = await asyncio.to_thread(start_batch, server, options.batch)
        phases.append(await run_phase(server, arrivals, speed, options.phase_s, batch=True))
        for phase in phases[-2:]:
            print(render_row(phase), file=sys.stderr, flush=True)
        await asyncio.to_thread(call, server, "POST", f"/v1/messages/batches/{batch}/cancel")
        while (await asyncio.to_thread(call, server, "GET", f"/v1/messages/batches/{batch}"))[
            "processing_status"
        ] != "ended":
            await asyncio.sleep(0.2)
    return phases


async def run(options: argparse.Namespace) -> list[Phase]:
    speeds = SPEEDS[:3] if options.quick else SPEEDS
    arrivals = read_trace(options.trace, options.token_scale, options.phase_s * (options.speed or speeds[-1]))
    phases: list[Phase] = []
    with served(ServedSettings(CONFIG)) as server:
        await run_phase(server, arrivals, speeds[0], min(10.0, options.phase_s), batch=False)
        if options.speed:
            return await run_pairs(server, arrivals, options.speed, options)
        for speed in speeds:
            phase = await run_phase(server, arrivals, speed, options.phase_s, batch=False)
            print(render_row(phase), file=sys.stderr, flush=True)
            phases.append(phase)
            if phase.saturates(phases[0] if phases[0].requests > 20 else None):
                break
        calm = [phase.speed for phase in phases if not phase.saturates(phases[0])]
        if options.batch and calm:
            speed = max([each for each in calm if each <= calm[-1] / 2] or calm[:1])
            phases += await run_pairs(server, arrivals, speed, options)
    return phases


def render_row(phase: Phase) -> str:
    return (
        f"| {phase.speed:g}{' + batch' if phase.batch else ''} "
        f"| {phase.offered_per_s:.2f} | {phase.answered_per_s:.2f} "
        f"| {phase.output_tokens_per_s:.0f} | {phase.first_text_p50_ms:.0f} | {phase.first_text_p99_ms:.0f} "
        f"| {phase.refused} of {phase.requests} |"
    )


def render(phases: list[Phase], options: argparse.Namespace) -> str:
    lines = [
        f"Trace `{options.trace}`, {options.phase_s:g} s a phase, tokens x {options.token_scale:g}, "
        f"{os.cpu_count()} cores.",
        "",
        "| speed | offered/s | answered/s | output tokens/s | first text p50 ms | p99 ms | refused |",
        "|---|---|---|---|---|---|---|",
        *map(render_row, phases),
    ]
    first = next((index for index, phase in enumerate(phases) if phase.batch), None)
    if first is not None:
        paired = phases[first - 1 :]
        without = statistics.median(phase.first_text_p99_ms for phase in paired if not phase.batch)
        beside = statistics.median(phase.first_text_p99_ms for phase in paired if phase.batch)
        lines += ["", f"p99 beside a batch: {beside / without - 1:+.1%} (bar: at most +20 %)"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="replay a trace of arrivals until the server is saturated")
    parser.add_argument("--trace", choices=("conv", "code"), default="conv")
    parser.add_argument("--token-scale", type=float, default=0.05, help="of the trace's prompt and output lengths")
    parser.add_argument("--phase-s", type=float, default=None, help="length of a phase")
    parser.add_argument("--batch", type=int, default=0, help="requests of a batch to run beside")
    parser.add_argument("--speed", type=float, default=0.0, help="only pairs without and with a batch, at this speed")
    parser.add_argument("--pairs", type=int, default=3, help="how many such pairs")
    parser.add_argument("--quick", action="store_true", help="three slow speeds of 10 s")
    parser.add_argument("--json", type=Path, default=Path("runs/load.json"))
    options = parser.parse_args()
    if options.speed and not options.batch:
        parser.error("--speed needs --batch: there is nothing else to run")
    need_data("azure2023")
    options.phase_s = options.phase_s or (10.0 if options.quick else 60.0)
    phases = asyncio.run(run(options))
    print(render(phases, options))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"options": {**vars(options), "json": ""}, "phases": [*map(asdict, phases)]}))


if __name__ == "__main__":
    main()
