"""What tests of batches need: an upstream that never answers twice alike, and an audit of results against the ledger.

Owns: both. Must never know: how batches are run.
Invariant: an answer's usage is fresh randomness, so that a result and a ledger row that agree are of one and the same
try: a row of one try beside the result of another would show.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from renga.domain.ledger import LedgerRow
from renga.store.database import Database
from renga.testing.servers.scripted_upstream import upstream_config

INPUT_USD, OUTPUT_USD = 1.0, 5.0
"""Dollars per million tokens that `wavering_config` sets."""


class WaveringUpstream:
    """A Messages upstream on a thread: each answer takes a moment and says something else."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.answered = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._main, name="wavering upstream", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._listening.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                await asyncio.sleep(self.delay_s * random.uniform(0.5, 1.5))  # noqa: S311
                self.answered += 1
                body = msgspec.json.encode(_answer(self.answered))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def _answer(number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "wavering",
        "content": [{"type": "text", "text": f"answer {number}"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": random.randint(1, 1_000_000),  # noqa: S311
            "output_tokens": random.randint(1, 1_000_000),  # noqa: S311
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


@contextmanager
def wavering_upstream(delay_s: float = 0.01) -> Generator[WaveringUpstream]:
    """One for the length of a `with`."""
    upstream = WaveringUpstream(delay_s)
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()


def wavering_config(url: str, *, max_running: int = 16) -> str:
    """renga.toml for a server whose haiku is that upstream."""
    config = upstream_config("wavering/one", url, input_usd=INPUT_USD, output_usd=OUTPUT_USD)
    return f"{config}[batches]\nmax_running = {max_running}\n"


def make_requests(count: int, *, prefixes: int = 7) -> list[dict[str, Any]]:
    """Requests of a batch, some of them with a common beginning."""
    return [
        {
            "custom_id": f"request-{number}",
            "params": {
                "model": "haiku",
                "max_tokens": 100,
                "system": f"Prefix {number % prefixes}.",
                "messages": [{"role": "user", "content": f"Question {number}"}],
            },
        }
        for number in range(count)
    ]


class BatchAudit(Struct, frozen=True):
    """What a batch's results and the ledger say of each other."""

    results: int
    rows: int
    cost_nano_usd: int
    """Sum of the rows."""
    faults: tuple[str, ...]
    """What does not agree; () is what should be."""


def audit_batch(database: Database, batch_id: str, lines: Sequence[bytes], count: int) -> BatchAudit:
    """Hold the lines of a batch of `make_requests(count)`, all of which succeed, against the ledger."""
    results = [msgspec.json.decode(line) for line in lines]
    rows = {row.request_id: row for row in _read_ledger(database) if row.request_id.startswith(f"{batch_id}-")}
    faults = [
        f"{name} has {times} results"
        for name, times in Counter(each["custom_id"] for each in results).items()
        if times > 1
    ]
    cost = 0
    for each in results:
        if each["result"]["type"] != "succeeded":
            faults.append(f"{each['custom_id']} {each['result']}")
            continue
        usage = each["result"]["message"]["usage"]
        row = rows.get(f"{batch_id}-{each['custom_id'].removeprefix('request-')}")
        if row is None:
            faults.append(f"{each['custom_id']} has no ledger row")
            continue
        if (row.input_tokens, row.output_tokens) != (usage["input_tokens"], usage["output_tokens"]):
            faults.append(f"{each['custom_id']}: the ledger row is of another try")
        expected = round(usage["input_tokens"] * INPUT_USD * 500) + round(usage["output_tokens"] * OUTPUT_USD * 500)
        if row.cost_nano_usd != expected or row.service_tier != "batch":
            faults.append(f"{each['custom_id']} cost {row.cost_nano_usd}, expected {expected}")
        cost += row.cost_nano_usd or 0
    if len(results) != count:
        faults.append(f"{len(results)} results of {count} requests")
    if len(rows) != count:
        faults.append(f"{len(rows)} ledger rows of {count} requests")
    return BatchAudit(len(results), len(rows), cost, tuple(faults))


def _read_ledger(database: Database) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    while some := database.ledger.read_rows(after=len(rows), limit=5_000):
        rows += some
    return rows
