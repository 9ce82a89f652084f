"""A real HTTP server that plays upstream: it replays scripted traffic, paces, stalls, cuts, resets, answers any error.

Owns: HTTP/1.1 framing by hand (so that broken framing can be played too), the record of what was asked, and the moment
at which a client left.
Must never know: Renga's own client or providers; it speaks to sockets only.
Invariants: answers are used in the order they were scripted; an unscripted request is answered 500 and recorded;
everything a test opened is closed by `close`.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, Self, TypeAlias, cast

import uvloop
from msgspec import Struct

from renga.testing.servers.echo_upstream import EchoSettings, serve_echo

Headers: TypeAlias = tuple[tuple[str, str], ...]
Framing: TypeAlias = Literal["length", "chunked", "close"]


class ReceivedRequest(Struct, frozen=True):
    """One request as it arrived at the scripted upstream."""

    method: str
    path: str
    headers: Headers
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


class Send(Struct, frozen=True):
    """Write these bytes of the body at once."""

    data: bytes


class HoldOpen(Struct, frozen=True, eq=False):
    """Wait until the test opens the gate, or the client leaves."""

    gate: asyncio.Event


class Pace(Struct, frozen=True):
    """Wait this long. For benchmarks; tests hold a gate instead."""

    delay_s: float


class Stall(Struct, frozen=True):
    """Say nothing more and keep the connection, until the client leaves."""


class Cut(Struct, frozen=True):
    """Close the connection in good order, with the body unfinished."""


class Reset(Struct, frozen=True):
    """Reset the connection (RST, by SO_LINGER 0)."""


Step: TypeAlias = Send | HoldOpen | Pace | Stall | Cut | Reset


class Reply(Struct, frozen=True):
    """One scripted answer: a head, then steps. `chunked` sends each `Send` as one chunk."""

    status: int = 200
    headers: Headers = (("content-type", "application/json"),)
    steps: tuple[Step, ...] = ()
    framing: Framing = "length"
    head_after: asyncio.Event | None = None
    """Hold the status line itself until this is set."""


Answerer: TypeAlias = Callable[[ReceivedRequest], Reply]


def json_reply(body: bytes, status: int = 200, headers: Headers = ()) -> Reply:
    """Make a scripted reply that is one whole JSON body."""
    return Reply(status=status, headers=(("content-type", "application/json"), *headers), steps=(Send(body),))


def sse_reply(*steps: Step | bytes) -> Reply:
    """A server-sent event stream; bytes are sent as they are, one write each."""
    typed = tuple(Send(step) if isinstance(step, bytes) else step for step in steps)
    return Reply(headers=(("content-type", "text/event-stream; charset=utf-8"),), steps=typed, framing="chunked")


class UpstreamConversation(asyncio.Protocol):
    """One client connection: reads requests, plays replies, notices that the client left."""

    def __init__(self, owner: ScriptedUpstream) -> None:
        self.owner = owner
        self.buffer = b""
        self.left = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.blocked = asyncio.Event()
        """Set once the client reads slower than we write."""
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.owner.connections.add(self)
        self.owner.connections_opened += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.task is None or self.task.done():
            self.next_request()

    def pause_writing(self) -> None:
        self.writable.clear()
        self.blocked.set()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set()
        self.writable.set()
        self.owner.connections.discard(self)
        if self.task is not None and not self.task.done():
            self.owner.left_while_answering.set()
            self.task.cancel()

    def next_request(self) -> None:
        """Take one whole request off the buffer, if it is there, and start its reply."""
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        start, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = start.split(" ", 2)
        pairs = [line.split(":", 1) for line in lines]
        headers = tuple((name.strip().lower(), value.strip()) for name, value in pairs)
        length = int(dict(headers).get("content-length", "0"))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        received = ReceivedRequest(method=method, path=path, headers=headers, body=rest[:length])
        self.owner.record(received)
        self.task = asyncio.get_running_loop().create_task(self.play(self.owner.reply_for(received)))

    async def play(self, reply: Reply) -> None:
        assert self.transport is not None
        if reply.head_after is not None:
            await reply.head_after.wait()
        body_bytes = sum(len(step.data) for step in reply.steps if isinstance(step, Send))
        self.transport.write(render_head(reply, body_bytes))
        for step in reply.steps:
            if not await self.take(step, reply.framing):
                return
        if reply.framing == "chunked":
            self.transport.write(b"0\r\n\r\n")
        elif reply.framing == "close":
            self.transport.close()
        self.task = None
        self.next_request()

    async def take(self, step: Step, framing: Framing) -> bool:
        """Play one step. Returns False when the connection is gone by it."""
        assert self.transport is not None
        match step:
            case Send(data):
                await self.writable.wait()
                self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" else data)
                # One write a step must reach the client as one read: let the loop flush it before the next.
                await asyncio.sleep(0)
            case HoldOpen(gate):
                await gate.wait()
            case Pace(delay_s):
                await asyncio.sleep(delay_s)
            case Stall():
                await self.left.wait()
            case Cut():
                self.transport.close()
                return False
            case Reset():
                raw: socket.socket = self.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
                return False
        return True


def render_head(reply: Reply, body_bytes: int) -> bytes:
    """The status line and headers of a reply."""
    lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in reply.headers)]
    if reply.framing == "length" and not any(name == "content-length" for name, _ in reply.headers):
        lines.append(f"content-length: {body_bytes}")
    elif reply.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif reply.framing == "close":
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class ScriptedUpstream:
    """The server. `async with ScriptedUpstream() as upstream:` then `upstream.script(reply, ...)`."""

    def __init__(self, port: int = 0) -> None:
        """`port`: where to listen; 0 takes a free one."""
        self.port = port
        self.requests: list[ReceivedRequest] = []
        self.connections: set[UpstreamConversation] = set()
        self.connections_opened = 0
        self.left_while_answering = asyncio.Event()
        """Set when a client goes away with a reply unfinished."""
        self.url = ""
        self._arrived = asyncio.Condition()
        self._replies: deque[Reply | Answerer] = deque()
        self._by_path: dict[str, Reply] = {}
        self._server: asyncio.Server | None = None
        self._notices: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: UpstreamConversation(self), "127.0.0.1", self.port
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        for connection in tuple(self.connections):
            if connection.task is not None:
                connection.task.cancel()
            if connection.transport is not None:
                connection.transport.abort()
        await self._server.wait_closed()

    def script(self, *replies: Reply | Answerer) -> None:
        """Queue replies; each request takes the next. A function is asked for the reply to the request it gets."""
        self._replies.extend(replies)

    def always(self, path: str, reply: Reply) -> None:
        """Answer every request to a path with the same reply, outside the queue."""
        self._by_path[path] = reply

    def record(self, received: ReceivedRequest) -> None:
        self.requests.append(received)
        notice = asyncio.get_running_loop().create_task(self._notify())
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)

    async def _notify(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    async def received(self, count: int) -> list[ReceivedRequest]:
        """Wait until that many requests have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    def reply_for(self, received: ReceivedRequest) -> Reply:
        fixed = self._by_path.get(received.path)
        if fixed is not None:
            return fixed
        if self._replies:
            reply = self._replies.popleft()
            return reply if isinstance(reply, Reply) else reply(received)
        return json_reply(b'{"error":{"type":"api_error","message":"no reply was scripted"}}', status=500)


async def run_echo(host: str, port: int, settings: EchoSettings) -> None:
    """Serve the echo upstream until it is killed, and say where it listens."""
    server = await serve_echo(host, port, settings)
    bound = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{bound[0]}:{bound[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def echo_upstream(events: int = 100) -> Generator[str]:
    """The echo upstream in a process of its own, for the length of a `with`. Gives its URL."""
    command = [sys.executable, "-m", "renga.testing.servers.scripted_upstream", "--events", str(events)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def echo_config(url: str, *, output_usd: float = 5.0) -> str:
    """renga.toml for a server whose haiku is that upstream, without a local model. More tables may follow."""
    return upstream_config("echo/echo", url, output_usd=output_usd)


def upstream_config(target: str, url: str, *, input_usd: float = 1.0, output_usd: float = 5.0) -> str:
    """renga.toml for a server whose haiku is one target, without a local model. More tables may follow."""
    provider = target.partition("/")[0]
    return f"""\
[engine]
enabled = false

[tiers]
haiku = ["{target}"]

[prices."{provider}/*"]
input_usd = {input_usd}
output_usd = {output_usd}

[providers.{provider}]
kind = "anthropic"
base_url = "{url}"

"""


def main() -> None:
    """`python -m renga.testing.servers.scripted_upstream --port 0 --events 100`: the echo upstream, for benchmarks."""
    parser = argparse.ArgumentParser(description="Zero-delay upstream: Messages and chat.completions, JSON and SSE.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--events", type=int, default=100, help="text deltas in a streamed answer")
    parser.add_argument("--events-per-write", type=int, default=8, help="deltas that leave in one write")
    arguments = parser.parse_args()
    settings = EchoSettings(events=arguments.events, events_per_write=arguments.events_per_write)
    uvloop.run(run_echo(arguments.host, arguments.port, settings))


if __name__ == "__main__":
    main()
