"""How long work goes on for a client that has left, while its answer is held for a check.

    python -m benchmarks.gateway.leaving [--rounds 100]

A real `renga serve` with a policy that holds answers, in front of an upstream that begins an answer and then says
nothing more. Clients leave at moments spread from 0 to 300 ms after the upstream was asked, once while the first answer
is held and once while the second is fetched. Measured from the client's reset until the upstream's connection is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import uvloop

from renga.testing.http_client import RawHttpConnection
from renga.testing.servers.scripted_upstream import Reply, ScriptedUpstream, Send, Stall, json_reply
from renga.testing.servers.served import Served, ServedSettings, served

LIMIT_S = 0.2
LATEST_S = 0.3
STALLED = Reply(steps=(Send(b"{"), Stall()), framing="chunked")
SAID = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "18"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
CONFIG = """\
[engine]
enabled = false
[files]
enabled = false
[tiers]
haiku = ["first/m"]
opus = ["first/top"]
[policies.auto]
checks = ["structural", "agreement"]
second = "second/m"
[providers.first]
kind = "anthropic"
base_url = "{first}"
max_retries = 0
[providers.second]
kind = "anthropic"
base_url = "{second}"
max_retries = 0
"""
BODY = msgspec.json.encode(
    {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "How many eggs are left?"}]}
)


@asynccontextmanager
async def serve(first: ScriptedUpstream, second: ScriptedUpstream) -> AsyncGenerator[Served]:
    context = served(ServedSettings(config=CONFIG.format(first=first.url, second=second.url)))
    server = await asyncio.to_thread(context.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def leave(server: Served, held: ScriptedUpstream, after_s: float) -> float:
    """Seconds from leaving until the upstream noticed."""
    held.left_while_answering.clear()
    before = len(held.requests)
    connection = await RawHttpConnection.open("127.0.0.1", server.port)
    await connection.send("POST", "/v1/messages", {"x-api-key": server.secret}, BODY)
    await held.received(before + 1)
    await asyncio.sleep(after_s)
    began = asyncio.get_running_loop().time()
    connection.abort()
    async with asyncio.timeout(30):
        await held.left_while_answering.wait()
    return asyncio.get_running_loop().time() - began


async def measure(rounds: int) -> None:
    draw = random.Random(1)
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(ScriptedUpstream()) for _ in range(2)]
        server = await stack.enter_async_context(serve(first, second))
        print("| held | leaving | p50 | p99 | longest | bar | |\n|---|---|---|---|---|---|---|")
        for name, held in (("the first answer", first), ("the second answer", second)):
            held.always("/v1/messages", STALLED)
            if held is second:
                first.always("/v1/messages", json_reply(json.dumps(SAID).encode()))
            # The first loads what policies need.
            await leave(server, held, 0.0)
            for moment, latest_s in (("at once", 0.0), ("within 300 ms", LATEST_S)):
                found = sorted([1000 * await leave(server, held, draw.uniform(0.0, latest_s)) for _ in range(rounds)])
                p50, p99 = statistics.median(found), found[min(len(found) - 1, round(0.99 * len(found)))]
                verdict = "holds" if found[-1] <= 1000 * LIMIT_S else "MISSED"
                print(f"| {name} | {moment} | {p50:.0f} ms | {p99:.0f} ms | {found[-1]:.0f} ms | 200 ms | {verdict} |")
        assert server.gauges()["renga_open_leases"] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    uvloop.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
