"""Our response cycle beside uvicorn's: CPU time of a response, in one process with a port for each (decision 0034).

    python -m benchmarks.gateway.response_cycle [--rounds 60]

The same protocol class serves both ports; only what writes a response differs. The applications are three lines each,
so that the cycle is most of what is measured. Clients are another process; rounds ask both ports in turn, in
alternating order, and the ratio of each pair of rounds is what is reported, with a 95 % interval (bootstrap).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import socket
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from renga.config import ServerSettings
from renga.http.exchange.asgi import Receive, Scope, Send
from renga.http.exchange.surface import Surface
from renga.http.public_routes import SURFACES
from renga.http.server.h1_protocol import HttpProtocol
from renga.http.server.uvicorn_server import build_server_config
from renga.testing.http_client import RawHttpConnection

HEADERS = [(b"request-id", b"req_0123456789012345678901"), (b"renga-target", b"upstream/m"), (b"renga-plan", b"tier")]
NAMES = ("ours", "uvicorn's")


@dataclass(frozen=True)
class Load:
    """What is asked in a round."""

    what: str
    path: str
    requests: int
    at_once: int


LOADS = (
    Load("a small answer, one at a time", "/whole", 1280, 1),
    Load("a small answer, 32 at a time", "/whole", 1280, 32),
    Load("14 pieces of a stream, 8 at a time", "/stream", 640, 8),
)


class UvicornCycles(HttpProtocol):
    """Our protocol; only the cycle is uvicorn's."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        own = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        self.cycle = own
        super()._start_asgi_task(own, app)

    on_body = HttpToolsProtocol.on_body


class Application:
    """Answers with one body of 700 bytes, or with 13 pieces of 900."""

    def surface_of(self, path: str) -> Surface:
        """Whose shape errors have; there are none here."""
        return SURFACES.find(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await receive()
        if scope["path"] == "/whole":
            head = [(b"content-type", b"application/json"), (b"content-length", b"700"), *HEADERS]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"x" * 700})
            return
        head = [(b"content-type", b"text/event-stream; charset=utf-8"), *HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for _ in range(13):
            await send({"type": "http.response.body", "body": b"x" * 900, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def start_server(protocol: type[HttpProtocol]) -> int:
    """A server of this process with that protocol; its port."""
    config = build_server_config(Application(), ServerSettings())
    made = cast(Any, config.http)
    config.http = cast(Any, type(made)(protocol, **made.keywords))
    config.lifespan = "off"
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.wait([task], timeout=0.01)
    return listener.getsockname()[1]


async def ask(port: int, load: Load) -> None:
    """The clients' side of one round."""

    async def one(count: int) -> None:
        connection = await RawHttpConnection.open("127.0.0.1", port)
        for _ in range(count):
            await connection.send("POST", load.path, {"content-type": "application/json"}, b"{}")
            assert (await connection.read()).status == 200
        await connection.close()

    await asyncio.gather(*(one(load.requests // load.at_once) for _ in range(load.at_once)))


def run_clients() -> None:
    """Another process: a line for each round, which it answers when the round is over."""
    for line in sys.stdin:
        port, number = msgspec.json.decode(line, type=tuple[int, int])
        uvloop.run(ask(port, LOADS[number]))
        print("done", flush=True)


async def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of CPU a request, by load and cycle, round by round."""
    ports = {name: await start_server(kind) for name, kind in zip(NAMES, (HttpProtocol, UvicornCycles), strict=True)}
    command = [sys.executable, "-m", "benchmarks.gateway.response_cycle", "--clients"]
    clients = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert clients.stdin is not None and clients.stdout is not None
    found: dict[str, dict[str, list[float]]] = {load.what: {name: [] for name in NAMES} for load in LOADS}
    for number in range(-1, rounds):
        if number == 0:
            gc.collect()
            gc.freeze()
        for index, load in enumerate(LOADS):
            for name in NAMES[:: -1 if number % 2 else 1]:
                began_ns = time.thread_time_ns()
                clients.stdin.write(msgspec.json.encode((ports[name], index)) + b"\n")
                assert await clients.stdout.readline() == b"done\n"
                if number >= 0:
                    found[load.what][name].append((time.thread_time_ns() - began_ns) / load.requests / 1000)
    clients.stdin.close()
    await clients.wait()
    return found


def describe(what: str, times: Mapping[str, list[float]]) -> str:
    """One row: the median ratio with its interval, and the lowest quarter of each."""
    ratios = [mine / other for mine, other in zip(times[NAMES[0]], times[NAMES[1]], strict=True)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    low = [sorted(times[name])[len(ratios) // 4] for name in NAMES]
    interval = f"{medians[50]:.3f} to {medians[-50]:.3f}"
    return f"| {what} | {statistics.median(ratios):.3f} | {interval} | {low[0]:.0f} and {low[1]:.0f} us |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Our response cycle beside uvicorn's")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--clients", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        run_clients()
        return
    found = uvloop.run(measure(options.rounds))
    print("| load | ours : uvicorn's | 95 % interval | CPU a request, lowest quarter |\n|---|---|---|---|")
    for what, times in found.items():
        print(describe(what, times))


if __name__ == "__main__":
    main()
