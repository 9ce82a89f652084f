"""CPU time of one JSON request inside the server, beside another checkout's: where `benchmarks.gateway` is too coarse.

    python -m benchmarks.gateway.inside [--beside ../before] [--rounds 40]

The ASGI application over an upstream on the loopback, without the HTTP server in front: CPU time of the event loop's
thread, in short rounds that alternate between the checkouts. On a machine with other work the least and the lowest
quarter say more than the mean. `git worktree add --detach ../before COMMIT` makes a checkout to compare with.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from renga.app import App, build
from renga.config import load_config
from renga.testing.servers.served import write_known_key

SECRET = "sk-renga-inside-benchmark"
REQUESTS = 150
"""A round."""
WARM_REQUESTS = 500
BODY = msgspec.json.encode(
    {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi there. " * 100}]}
)
HEADERS = [
    (b"host", b"localhost"),
    (b"x-api-key", SECRET.encode()),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
]
SCOPE = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": HEADERS}


async def ask(app: App) -> int:
    """One request through the application; its status."""
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]
    status = 0

    async def receive() -> Mapping[str, Any]:
        return messages.pop() if messages else await asyncio.get_running_loop().create_future()

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app.asgi(SCOPE, receive, send)
    return status


async def serve_rounds(folder: Path) -> None:
    """Measure a round for each line that comes in."""
    app = build(load_config(folder / "renga.toml", {}))
    await app.start()
    await app.wait_store()
    for _ in range(WARM_REQUESTS):
        if await ask(app) != 200:
            raise SystemExit("a request was not answered")
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    print("ready", flush=True)
    while sys.stdin.readline():
        began_ns = time.thread_time_ns()
        for _ in range(REQUESTS):
            await ask(app)
        print((time.thread_time_ns() - began_ns) / REQUESTS / 1000, flush=True)
    await app.stop()


def start_child(checkout: Path, url: str, folder: Path) -> subprocess.Popen[str]:
    """A process that measures one checkout."""
    folder.mkdir()
    write_known_key(folder, SECRET)
    (folder / "renga.toml").write_text(
        f'[store]\ndata_dir = "{folder}"\n[engine]\nenabled = false\n[tiers]\nhaiku = ["upstream/m"]\n'
        f'[providers.upstream]\nkind = "anthropic"\nbase_url = "{url}"\n'
        '[prices."upstream/*"]\ninput_usd = 1.0\noutput_usd = 5.0\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-m", "benchmarks.gateway.inside", "--child", str(folder)]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise SystemExit(f"{checkout}: the server did not start")
    return child


def compare(checkouts: Mapping[str, Path], rounds: int) -> dict[str, list[float]]:
    """Microseconds a request in each round, by checkout."""
    times: dict[str, list[float]] = {name: [] for name in checkouts}
    upstream_command = [sys.executable, "-m", "renga.testing.servers.scripted_upstream", "--port", "0"]
    upstream = subprocess.Popen(upstream_command, stdout=subprocess.PIPE, text=True)
    assert upstream.stdout is not None
    url = upstream.stdout.readline().strip()
    with tempfile.TemporaryDirectory(prefix="renga-inside-") as scratch:
        children = {name: start_child(path, url, Path(scratch) / name) for name, path in checkouts.items()}
        for number in range(rounds):
            for name in sorted(children, reverse=bool(number % 2)):
                child = children[name]
                assert child.stdin is not None and child.stdout is not None
                child.stdin.write("\n")
                child.stdin.flush()
                times[name].append(float(child.stdout.readline()))
        for child in children.values():
            child.communicate()
    upstream.terminate()
    upstream.wait()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of a JSON request inside the server")
    parser.add_argument("--beside", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        uvloop.run(serve_rounds(options.child))
        return
    checkouts = {"here": Path(__file__).parents[2]}
    if options.beside is not None:
        checkouts["beside"] = options.beside
    print("| checkout | least us | lowest quarter us | median us |\n|---|---|---|---|")
    for name, values in compare(checkouts, options.rounds).items():
        quarter = sorted(values)[len(values) // 4]
        print(f"| {name} | {min(values):.1f} | {quarter:.1f} | {statistics.median(values):.1f} |")
    print(f"\n{options.rounds} rounds of {REQUESTS} requests; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
