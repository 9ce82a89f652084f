"""Prompt caching on real prefixes: hits against what an infinite cache would find, and time to first token.

    python -m benchmarks.economy.cache [--quick] [--requests 2000] [--trace conversation] [--json runs/cache.json]

Two parts, both through a real server's HTTP API, on the Mooncake traces (`cache_trace.py`):

local      hokku in its engine, one request at a time; every prompt is asked twice, as the trace has it and with a
           first block that nobody has seen, in turns, so that a machine that drifts drifts for both. A block of 512
           tokens becomes 22 words (about 35 tokens of hokku's), and the shortest prefix that is cached 32 tokens. The
           four breakpoints of a request stand on its last whole block (the one before its last) and 19, 38 and 57
           before it. Asked are whole conversations of the trace: its beginning alone has hardly any second turns.
replicas   four simulated servers behind one provider (`cache_servers.py` says what is simulated and why), with affinity
           on and off, and one server as large and fast as the four together: what no choice of replica can beat. A
           block becomes 100 words (about 122 tokens), time runs 20 times faster, arrivals keep their pattern, and the
           servers are sized so that they are busy for about two thirds of the time.

The hit share is what the answers' usage says was read, of all prompt tokens; `ideal` is what a cache that forgets
nothing would find, in blocks. `--quick` takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.economy.cache_trace import Request, Scale, block_text, ideal_share, keep_conversations, read_trace
from benchmarks.needs import need_data
from renga.testing.http_client import RawHttpConnection
from renga.testing.servers.served import Served, ServedSettings, served

FIVE = {"type": "ephemeral"}
LOCAL = Scale(block_words=22, speed=1.0, requests=0, blocks_max=180)
REMOTE = Scale(block_words=100, speed=20.0, requests=0, blocks_max=250)
BLOCK_TOKENS = 122
BUSY_SHARE = 0.65
FLEET = """\
[engine]
enabled = false

[tiers]
haiku = ["fleet/m"]

[providers.fleet]
kind = "openai_compatible"
base_url = "{url}"
replicas = {replicas}
affinity = {affinity}
max_retries = 0
"""


class Asked(msgspec.Struct, frozen=True):
    """What one request showed."""

    first_s: float
    prompt_tokens: int
    read_tokens: int


class Cell(msgspec.Struct, frozen=True):
    """One line of a table."""

    name: str
    asked: list[Asked]

    @property
    def hit_share(self) -> float:
        return sum(one.read_tokens for one in self.asked) / sum(one.prompt_tokens for one in self.asked)

    def first_ms(self, part: float) -> float:
        return sorted(one.first_s for one in self.asked)[min(len(self.asked) - 1, int(part * len(self.asked)))] * 1000


def make_body(blocks: tuple[int, ...], words: int, *, marks: bool, salt: str = "") -> bytes:
    """A request whose content blocks are the trace's blocks."""
    content: list[dict[str, Any]] = [{"type": "text", "text": block_text(block, words)} for block in blocks]
    if salt:
        content[0]["text"] = f"{salt} {content[0]['text']}"
    if marks:
        for place in range(len(content) - 2, -1, -19)[:4]:
            content[place]["cache_control"] = FIVE
    body = {"model": "haiku", "max_tokens": 1, "stream": True, "messages": [{"role": "user", "content": content}]}
    return msgspec.json.encode(body)


async def ask(server: Served, connection: RawHttpConnection, body: bytes) -> Asked:
    """One streamed request: time to its first bytes, and its usage."""
    headers = {"x-api-key": server.secret, "content-type": "application/json"}
    began_s = time.perf_counter()
    await connection.send("POST", "/v1/messages", headers, body)
    head = await connection.read_head()
    data, first_s = b"", 0.0
    async for chunk in connection.read_chunks():
        first_s = first_s or time.perf_counter() - began_s
        data += chunk
    if head.status != 200 or b"event: message_stop" not in data:
        raise RuntimeError(f"{head.status}: {data[-500:]!r}")
    last = next(
        line[6:] for line in reversed(data.split(b"\n")) if b'"message_delta"' in line and line[:6] == b"data: "
    )
    usage = msgspec.json.decode(last)["usage"]
    read = usage["cache_read_input_tokens"]
    return Asked(first_s, usage["input_tokens"] + usage["cache_creation_input_tokens"] + read, read)


async def measure_local(requests: list[Request]) -> list[Cell]:
    """hokku, with its prefixes and without."""
    cached: list[Asked] = []
    fresh: list[Asked] = []
    with served(ServedSettings("[cache]\nminimum_tokens = 32\n")) as server:
        async with await RawHttpConnection.open("127.0.0.1", server.port) as connection:
            for number, request in enumerate(requests):
                salted = make_body(request.blocks, LOCAL.block_words, marks=True, salt=f"number {number}")
                plain = make_body(request.blocks, LOCAL.block_words, marks=True)
                if number % 2:
                    fresh.append(await ask(server, connection, salted))
                    cached.append(await ask(server, connection, plain))
                else:
                    cached.append(await ask(server, connection, plain))
                    fresh.append(await ask(server, connection, salted))
    hits = [index for index, one in enumerate(cached) if one.read_tokens]
    return [
        Cell("with", cached),
        Cell("without", fresh),
        Cell("with, where read", [cached[index] for index in hits]),
        Cell("without, the same", [fresh[index] for index in hits]),
    ]


@contextmanager
def simulated(count: int, tokens_per_s: float, cache_tokens: int) -> Generator[list[str]]:
    """So many servers, for the length of a `with`."""
    program = "benchmarks.economy.cache_servers"
    command = [sys.executable, "-m", program, str(count), str(tokens_per_s), str(cache_tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [process.stdout.readline().strip() for _ in range(count)]
        finally:
            process.kill()


async def measure_fleet(name: str, requests: list[Request], urls: list[str], *, affinity: bool) -> Cell:
    """Replay arrivals against a provider with these replicas."""
    config = FLEET.format(url=urls[0], replicas=json.dumps(urls[1:]), affinity=str(affinity).lower())
    with served(ServedSettings(config)) as server:
        idle: list[RawHttpConnection] = []

        async def replay(request: Request, start_s: float) -> Asked:
            await asyncio.sleep(max(0.0, start_s + request.at_s - time.perf_counter()))
            connection = idle.pop() if idle else await RawHttpConnection.open("127.0.0.1", server.port)
            asked = await ask(server, connection, make_body(request.blocks, REMOTE.block_words, marks=False))
            idle.append(connection)
            return asked

        start_s = time.perf_counter()
        asked = await asyncio.gather(*(replay(request, start_s) for request in requests))
        for connection in idle:
            await connection.close()
    return Cell(name, list(asked))


async def measure_replicas(requests: list[Request]) -> list[Cell]:
    """Four servers with affinity on and off, and one as large as the four."""
    tokens = sum(len(request.blocks) for request in requests) * BLOCK_TOKENS
    needed_per_s = tokens * (1 - ideal_share(requests)) / max(request.at_s for request in requests)
    rate = needed_per_s / BUSY_SHARE / 4
    room = round(tokens / 4)
    cells: list[Cell] = []
    with simulated(1, rate * 4, room * 4) as urls:
        cells.append(await measure_fleet("1, as large as four", requests, urls, affinity=True))
    for name, affinity in (("4, affinity on", True), ("4, affinity off", False)):
        with simulated(4, rate, room) as urls:
            cells.append(await measure_fleet(name, requests, urls, affinity=affinity))
    return cells


def show(title: str, cells: list[Cell], ideal: float) -> dict[str, Any]:
    """Print one table, and give it as data."""
    print(f"\n{title}; ideal {ideal:.3f}\n")
    print("| | requests | hit share | of the ideal | first token p50 ms | p90 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    for cell in cells:
        share = cell.hit_share
        row = {
            "name": cell.name,
            "requests": len(cell.asked),
            "hit_share": round(share, 4),
            "of_ideal": round(share / ideal, 4),
            "p50_ms": round(statistics.median(one.first_s for one in cell.asked) * 1000, 1),
            "p90_ms": round(cell.first_ms(0.9), 1),
            "p99_ms": round(cell.first_ms(0.99), 1),
        }
        rows.append(row)
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
    return {"ideal": round(ideal, 4), "rows": rows}


async def main() -> None:
    parser = argparse.ArgumentParser(description="Prompt caching on real prefixes.")
    parser.add_argument("--quick", action="store_true", help="60 requests to hokku and 600 to the replicas")
    parser.add_argument("--requests", type=int, default=2000, help="to the replicas; a tenth of it to hokku")
    parser.add_argument("--trace", choices=("conversation", "synthetic"), default="conversation")
    parser.add_argument("--only", choices=("local", "replicas"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    need_data("mooncake")
    count = 600 if arguments.quick else arguments.requests
    found: dict[str, Any] = {"trace": arguments.trace}
    if arguments.only != "replicas":
        lines = read_trace(arguments.trace, msgspec.structs.replace(LOCAL, requests=4000))
        requests = keep_conversations(lines, count // 10)
        found["local"] = show("hokku", await measure_local(requests), ideal_share(requests))
    if arguments.only != "local":
        requests = read_trace(arguments.trace, msgspec.structs.replace(REMOTE, requests=count))
        found["replicas"] = show("simulated servers", await measure_replicas(requests), ideal_share(requests))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
