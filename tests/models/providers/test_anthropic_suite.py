"""The provider suite against the Messages upstream, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.provider_seam import Provider
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, ProviderCall, make_call, make_settings
from renga.testing.servers.scripted_upstream import Reply, Reset, ScriptedUpstream, Stall, json_reply, sse_reply
from renga.testing.suites.provider_suite import ProviderSuite

USAGE = {
    "input_tokens": 9,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 1,
    "service_tier": "standard",
}
MESSAGE: dict[str, Any] = {
    "id": "msg_01abc",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
END = {**USAGE, "output_tokens": 6}


def frame(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


START = frame({"type": "message_start", "message": MESSAGE})
BLOCK = (
    frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    + frame({"type": "ping"})
    + frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})
    + frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there."}})
    + frame({"type": "content_block_stop", "index": 0})
)
TAIL = frame(
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": END}
) + frame({"type": "message_stop"})
WHOLE = {**MESSAGE, "content": [{"type": "text", "text": "Hello there."}], "stop_reason": "end_turn", "usage": END}


class AnthropicHarness:
    def __init__(self, provider: Provider, upstream: ScriptedUpstream) -> None:
        self.provider = provider
        self.upstream = upstream

    def call(self, *, streamed: bool = True) -> ProviderCall:
        return make_call({**SIMPLE_BODY, "stream": streamed})

    def answer(self) -> None:
        self.upstream.script(
            lambda request: (
                sse_reply(START, BLOCK, TAIL)
                if json.loads(request.body)["stream"]
                else json_reply(json.dumps(WHOLE).encode())
            )
        )

    def stall(self, *, after_first: bool) -> None:
        self.upstream.script(sse_reply(START, Stall()) if after_first else Reply(head_after=asyncio.Event()))

    def die(self) -> None:
        self.upstream.script(sse_reply(START + BLOCK[:40], Reset()))

    def refuse(self, status: int) -> None:
        error = {"type": "error", "error": {"type": "", "message": "No."}}
        self.upstream.script(json_reply(json.dumps(error).encode(), status))

    def arrange_count(self) -> None:
        self.upstream.script(json_reply(b'{"input_tokens": 14}'))

    async def wait_asked(self) -> None:
        await self.upstream.received(1)

    async def wait_left(self) -> None:
        await self.upstream.left_while_answering.wait()

    @property
    def times_asked(self) -> int:
        return len(self.upstream.requests)


class TestAnthropic(ProviderSuite):
    @asynccontextmanager
    async def open_harness(self) -> AsyncIterator[AnthropicHarness]:
        async with ScriptedUpstream() as upstream:
            provider = AnthropicProvider("upstream", make_settings("anthropic", upstream.url), "sk-up", ToldClock())
            await provider.start()
            try:
                yield AnthropicHarness(provider, upstream)
            finally:
                await provider.stop()
