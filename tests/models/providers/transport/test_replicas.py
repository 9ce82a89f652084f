"""Several servers behind one provider, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from renga.errors import Overloaded
from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.models.providers.transport.upstream_client import UpstreamUnreachable
from renga.protocols.messages.events.accumulator import fold
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import make_call, make_settings
from renga.testing.servers.scripted_upstream import HoldOpen, Reply, ScriptedUpstream, Send, json_reply, sse_reply

MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
TOPICS = 60
"""Ports, and so homes, are drawn by chance: that one of three servers gets none of 60 has a chance of 1e-10."""
OK = json_reply(msgspec.json.encode(MESSAGE))
CHAT = sse_reply(
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi."},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":800}}}\n\ndata: [DONE]\n\n',
)


class Fleet:
    """A provider over servers that count what they get."""

    def __init__(self, servers: list[ScriptedUpstream], provider: AnthropicProvider, clock: ToldClock) -> None:
        self.servers = servers
        self.provider = provider
        self.clock = clock

    def counts(self) -> list[int]:
        return [len(server.requests) for server in self.servers]

    async def ask(self, *turns: str) -> int:
        """Ask, and say which server was asked."""
        before = self.counts()
        await fold(self.provider.send(*make_call(body(*turns))))
        changed = [index for index, (old, new) in enumerate(zip(before, self.counts(), strict=True)) if old != new]
        assert len(changed) == 1
        return changed[0]


def body(*turns: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "model": "haiku",
        "max_tokens": 5,
        "messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)],
    }


@asynccontextmanager
async def fleet(size: int = 3, **changes: object) -> AsyncGenerator[Fleet]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ScriptedUpstream()) for _ in range(size)]
        for server in servers:
            server.always("/v1/messages", OK)
        urls = [server.url for server in servers]
        clock = ToldClock()
        settings = make_settings("anthropic", urls[0], {"replicas": urls[1:], "max_retries": 0, **changes})
        provider = AnthropicProvider("upstream", settings, "k", clock)
        await provider.start()
        try:
            yield Fleet(servers, provider, clock)
        finally:
            await provider.stop()


async def test_conversations_stay_and_spread() -> None:
    async with fleet() as together:
        homes: set[int] = set()
        for topic in range(TOPICS):
            opening = f"topic {topic} " * 300
            home = await together.ask(opening)
            assert await together.ask(opening, "Yes.", "Go on") == home
            assert await together.ask(opening, "Yes.", "Go on", "So.", "And?" * 900) == home
            homes.add(home)
        assert homes == {0, 1, 2}


async def test_affinity_can_be_switched_off() -> None:
    async with fleet(affinity=False) as together:
        opening = "topic " * 500
        assert {await together.ask(opening) for _ in range(6)} == {0, 1, 2}


async def test_a_dead_replica_is_passed_over_and_comes_back() -> None:
    async with fleet() as together:
        opening = "topic " * 500
        home = await together.ask(opening)
        dead = together.servers[home]
        port = int(dead.url.rpartition(":")[2])
        await dead.close()
        away = await together.ask(opening)
        assert away != home
        assert await together.ask(opening) == away
        together.clock.advance(31.0)
        revived = await asyncio.start_server(_answer, "127.0.0.1", port)
        try:
            for topic in range(TOPICS):  # what it held is gone, so only new conversations find it again
                await fold(together.provider.send(*make_call(body(f"other {topic} " * 300))))
        finally:
            revived.close()
        assert sum(together.counts()) < 3 + TOPICS


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    data = msgspec.json.encode(MESSAGE)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(data) + data)
    await writer.drain()
    writer.close()


async def test_where_all_are_dead_the_error_says_so() -> None:
    async with fleet(2) as together:
        for server in together.servers:
            await server.close()
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable):
                await together.ask("hi")


async def test_a_replica_that_says_503_rests() -> None:
    async with fleet(2, max_retries=1) as together:
        opening = "topic " * 500
        home = await together.ask(opening)
        together.servers[home].always("/v1/messages", json_reply(b"{}", status=503))
        await fold(together.provider.send(*make_call(body(opening))))
        assert together.counts()[1 - home] == 1
        assert await together.ask(opening) == 1 - home


async def test_one_server_that_is_down_is_one_error() -> None:
    async with fleet(1) as together:
        together.servers[0].always("/v1/messages", json_reply(b"{}", status=529))
        with pytest.raises(Overloaded):
            await together.ask("hi")


async def test_running_requests_overflow_to_another() -> None:
    async with fleet(2) as together:
        gate = asyncio.Event()
        held = Reply(steps=(HoldOpen(gate), Send(msgspec.json.encode(MESSAGE))), framing="close")
        for server in together.servers:
            server.always("/v1/messages", held)
        calls = [make_call(body("topic " * 500, f"answer {number}" * 400, "Go on")) for number in range(12)]
        asking = [asyncio.create_task(fold(together.provider.send(*call))) for call in calls]
        await asyncio.gather(*(server.received(3) for server in together.servers))
        assert sum(together.counts()) == 12
        gate.set()
        await asyncio.gather(*asking)


async def test_both_kinds_have_replicas_and_cached_tokens_are_told() -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ScriptedUpstream()) for _ in range(2)]
        for server in servers:
            server.always("/v1/chat/completions", CHAT)
        urls = [server.url for server in servers]
        settings = make_settings("openai_compatible", urls[0], {"replicas": urls[1:]})
        provider = OpenAICompatibleProvider("upstream", settings, "k", ToldClock(), lambda: b"secret")
        await provider.start()
        try:
            call = make_call(body("topic " * 500))
            message = (await fold(provider.send(*call))).message()
            await fold(provider.send(*call))
        finally:
            await provider.stop()
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (100, 800)
        chats = [[r for r in server.requests if r.path == "/v1/chat/completions"] for server in servers]
        assert sorted(map(len, chats)) == [0, 2]
