"""A load generator that costs little: keep-alive connections, request bytes rendered once, and no more parsing than
needed to know that an answer is whole.

Closed loop: each of `concurrency` connections sends its next request when the last answer is complete. What is not a
200, and every connection that closes early, is an error; the caller must treat any error as a failed run.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

LAST_CHUNK = b"0\r\n\r\n"
NOT_SEEN = -1


@dataclass(frozen=True)
class Load:
    """What to send, and how much of it at most."""

    port: int
    request: bytes
    concurrency: int
    duration_s: float
    warm_s: float = 0.3
    max_requests: int = 60_000


@dataclass
class Sample:
    """What one segment of load showed. Latencies are in nanoseconds."""

    wall_s: float = 0.0
    generator_cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    errors: int = 0
    first_error: str = ""
    latencies_ns: array[int] = field(default_factory=lambda: array("q"))
    first_byte_ns: array[int] = field(default_factory=lambda: array("q"))

    @property
    def requests(self) -> int:
        return len(self.latencies_ns)


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the same request again and again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sent_ns = 0
        self.first_ns = 0
        self.head = b""
        self.in_body = False
        self.remaining = NOT_SEEN
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        self.first_ns = 0
        self.head = b""
        self.in_body = False
        self.tail = b""
        self.remaining = NOT_SEEN
        self.sent_ns = time.perf_counter_ns()
        self.transport.write(self.run.load.request)

    def data_received(self, data: bytes) -> None:
        if not self.first_ns:
            self.first_ns = time.perf_counter_ns()
        if not self.in_body:
            head, separator, data = (self.head + data).partition(b"\r\n\r\n")
            if not separator:
                self.head = head
                return
            self.read_head(head)
            if not data:
                return
        if self.remaining >= 0:
            self.remaining -= len(data)
            if self.remaining <= 0:
                self.complete()
            return
        self.tail = (self.tail + data)[-5:] if len(data) < 5 else data[-5:]
        if self.tail == LAST_CHUNK:
            self.complete()

    def read_head(self, head: bytes) -> None:
        self.in_body = True
        if head[9:12] != b"200":
            self.run.fail(head.decode("latin-1"))
        _, found, value = head.lower().partition(b"\r\ncontent-length:")
        if found:
            self.remaining = int(value.partition(b"\r\n")[0])

    def complete(self) -> None:
        now_ns = time.perf_counter_ns()
        run = self.run
        run.sample.latencies_ns.append(now_ns - self.sent_ns)
        run.sample.first_byte_ns.append(self.first_ns - self.sent_ns)
        run.left -= 1
        if run.over or run.left <= 0:
            self.sent_ns = 0
            self.transport.close()
            run.finished()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sent_ns:
            self.run.fail(f"connection closed early: {exc}")
            self.run.finished()


class Run:
    """One segment: warm up, measure, let the last answers end."""

    def __init__(self, load: Load, cpu_seconds: Callable[[], float]) -> None:
        self.load = load
        self.cpu_seconds = cpu_seconds
        self.sample = Sample()
        self.left = load.max_requests
        self.over = False
        self.open = load.concurrency
        self.done = asyncio.Event()

    def fail(self, reason: str) -> None:
        self.sample.errors += 1
        self.sample.first_error = self.sample.first_error or reason[:600]

    def finished(self) -> None:
        self.open -= 1
        if self.open == 0:
            self.done.set()

    async def wait(self, seconds: float) -> None:
        """Until the time is up or every connection ended."""
        try:
            await asyncio.wait_for(self.done.wait(), seconds)
        except TimeoutError:
            return

    async def measure(self) -> Sample:
        loop = asyncio.get_running_loop()
        for _ in range(self.load.concurrency):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.load.port)
        await self.wait(self.load.warm_s)
        failed = self.sample
        self.sample = sample = Sample(errors=failed.errors, first_error=failed.first_error)
        server_cpu, generator_cpu, began = self.cpu_seconds(), time.process_time(), time.perf_counter()
        await self.wait(self.load.duration_s)
        sample.wall_s = time.perf_counter() - began
        sample.server_cpu_s = self.cpu_seconds() - server_cpu
        sample.generator_cpu_s = time.process_time() - generator_cpu
        self.over = True
        self.sample = rest = Sample()
        try:
            await asyncio.wait_for(self.done.wait(), 30)
        except TimeoutError:
            self.fail("a request got no whole answer within 30 s")
        sample.errors += rest.errors
        sample.first_error = sample.first_error or rest.first_error
        return sample


async def answered(port: int, request: bytes, timeout_s: float) -> bytes | None:
    """One request on a connection of its own: the whole raw answer, or None where nothing listens or time is up."""

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            _, found, value = head.lower().partition(b"\r\ncontent-length:")
            if found:
                return head + await reader.readexactly(int(value.partition(b"\r\n")[0]))
            return head + await reader.readuntil(b"\r\n" + LAST_CHUNK)
        finally:
            writer.close()

    try:
        return await asyncio.wait_for(ask(), timeout_s)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
