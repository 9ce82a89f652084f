"""Servers that speak chat.completions as vLLM does and cache prefixes as it does, with time in place of a model.

    python -m benchmarks.economy.cache_servers COUNT TOKENS_PER_S CACHE_TOKENS

Prints one URL a line. What is simulated: a prompt is cut into blocks of `BLOCK_CHARS` characters, each known by all
that stands before it; those found in a least-recently-used store of CACHE_TOKENS are free, the rest are computed one
prompt after another at TOKENS_PER_S, then the first token leaves and the answer ends. Why not models: four of them with
their caches do not fit on two cores beside the gateway and the load, and would measure each other.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict

import msgspec
import uvloop

BLOCK_CHARS = 64
CHARS_PER_TOKEN = 4


class Settings(msgspec.Struct, frozen=True):
    """How fast and how large one server is."""

    tokens_per_s: float
    cache_tokens: int


class _Message(msgspec.Struct):
    content: str | list[dict[str, str]] | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]


class Simulated:
    """One server's cache and its one prompt at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: OrderedDict[int, None] = OrderedDict()
        self._free_s = 0.0
        """When the last prompt in line will be done. Kept as a time, so that late wake-ups do not add up."""

    async def prefill(self, text: str) -> tuple[int, int]:
        """Compute a prompt when its turn comes: its tokens, and how many of them were found."""
        links: list[int] = []
        link = 0
        for start in range(0, len(text) - BLOCK_CHARS + 1, BLOCK_CHARS):
            link = hash((link, text[start : start + BLOCK_CHARS]))
            links.append(link)
        found = 0
        while found < len(links) and links[found] in self._held:
            found += 1
        for link in links:
            self._held[link] = None
            self._held.move_to_end(link)
        while len(self._held) * BLOCK_CHARS // CHARS_PER_TOKEN > self._settings.cache_tokens:
            self._held.popitem(last=False)
        tokens, cached = len(text) // CHARS_PER_TOKEN, found * BLOCK_CHARS // CHARS_PER_TOKEN
        now_s = asyncio.get_running_loop().time()
        self._free_s = max(now_s, self._free_s) + (tokens - cached) / self._settings.tokens_per_s
        await asyncio.sleep(self._free_s - now_s)
        return tokens, cached


class Connection(asyncio.Protocol):
    """One client connection: enough of HTTP/1.1 for one gateway."""

    def __init__(self, server: Simulated) -> None:
        self._server = server
        self._buffer = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if head.startswith(b"GET"):
            body = b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm","max_model_len":1000000}]}'
            self._send_json(body)
        elif b"/tokenize" in head.split(b"\r\n", 1)[0]:
            self._send_json(b'{"count":1000,"max_model_len":1000000,"tokens":[]}')
        else:
            task = asyncio.get_running_loop().create_task(self._answer(rest[:length]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send_json(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    async def _answer(self, body: bytes) -> None:
        chat = msgspec.json.decode(body, type=_Chat)
        text = "".join(_text(message) for message in chat.messages)
        tokens, cached = await self._server.prefill(text)
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": 1,
            "total_tokens": tokens + 1,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        events = (
            {"choices": [{"index": 0, "delta": {"content": "So."}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        )
        data = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(data)
        if not self._transport.is_closing():
            self._transport.write(head + data)


def _text(message: _Message) -> str:
    if isinstance(message.content, list):
        return "".join(part.get("text", "") for part in message.content)
    return message.content or ""


async def serve(count: int, settings: Settings) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    for _ in range(count):
        simulated = Simulated(settings)
        server = await loop.create_server(lambda one=simulated: Connection(one), "127.0.0.1", 0)
        servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        print(f"http://{host}:{port}", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Settings(float(sys.argv[2]), int(sys.argv[3]))))
