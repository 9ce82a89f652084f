"""Clients of several servers, and what they were told: paced, on keep-alive connections, one key for all.

Owns: the load and its record. Must never know: limits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

_AFTER_REFUSAL_S = 0.05
"""Clients that would not wait at all would measure the refusals."""
_LIMIT_S = 30.0


@dataclass(frozen=True)
class Told:
    """One answer: when it was asked for, how long it took, what it was."""

    at_s: float
    took_s: float
    status: int


@dataclass
class Record:
    """Everything that was told, since `began_s`."""

    began_s: float = 0.0
    told: list[Told] = field(default_factory=list)
    cut: int = 0

    def count(self) -> Counter[int]:
        return Counter(each.status for each in self.told)

    def admitted(self) -> list[Told]:
        return [each for each in self.told if each.status == 200]


def render_request(port: int, secret: str, max_tokens: int = 100) -> bytes:
    """A Messages request, ready to send."""
    body = b'{"model":"haiku","max_tokens":%d,"messages":[{"role":"user","content":"Hi"}]}' % max_tokens
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-api-key: {secret}\r\n"
        f"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """One request on an open connection: status and head."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12]), head


async def load(ports: list[int], secret: str, seconds: float, clients: int) -> Record:
    """`clients` on each server ask without end for so long; all that was asked is answered when this returns."""
    record = Record(time.monotonic())
    end_s = record.began_s + seconds

    async def run(port: int) -> None:
        request = render_request(port, secret)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (at_s := time.monotonic()) < end_s:
                async with asyncio.timeout(_LIMIT_S):
                    status, _ = await ask(reader, writer, request)
                record.told.append(Told(at_s - record.began_s, time.monotonic() - at_s, status))
                if status != 200:
                    await asyncio.sleep(_AFTER_REFUSAL_S)
        except (OSError, asyncio.IncompleteReadError):
            record.cut += 1
        finally:
            writer.close()

    await asyncio.gather(*(run(port) for port in ports for _ in range(clients)))
    return record


async def probe(port: int, secret: str, seconds: float) -> list[float]:
    """The latencies of one client that asks without a pause, in microseconds.

    Raises: RuntimeError if it is refused.
    """
    request = render_request(port, secret)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: list[float] = []
    end_s = time.perf_counter() + seconds
    while (at_s := time.perf_counter()) < end_s:
        status, head = await ask(reader, writer, request)
        found.append((time.perf_counter() - at_s) * 1e6)
        if status != 200:
            raise RuntimeError(head.decode())
    writer.close()
    return found
