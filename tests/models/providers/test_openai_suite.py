"""The provider suite against servers of chat.completions, over real sockets, once for each way of counting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.models.providers.provider_seam import Provider
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, ProviderCall, make_call, make_settings
from renga.testing.servers.scripted_upstream import (
    ReceivedRequest,
    Reply,
    Reset,
    ScriptedUpstream,
    Stall,
    json_reply,
    sse_reply,
)
from renga.testing.suites.provider_suite import ProviderSuite

PROMPT_TOKENS = 14


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": 6,
    "total_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 3},
}
START = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "Hello"}) + chunk({"content": " there."})
TAIL = (
    chunk({}, "stop")
    + b"data: "
    + json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()
    + b"\n\ndata: [DONE]\n\n"
)


class OpenAIHarness:
    def __init__(self, provider: Provider, upstream: ScriptedUpstream, *, is_asked_to_count: bool) -> None:
        self.provider = provider
        self.is_asked_to_count = is_asked_to_count
        self.upstream = upstream

    def call(self, *, streamed: bool = True) -> ProviderCall:
        return make_call({**SIMPLE_BODY, "stream": streamed})

    def answer(self) -> None:
        self.upstream.script(sse_reply(START, TEXT, TAIL))

    def stall(self, *, after_first: bool) -> None:
        self.upstream.script(sse_reply(START, Stall()) if after_first else Reply(head_after=asyncio.Event()))

    def die(self) -> None:
        self.upstream.script(sse_reply(START, TEXT, Reset()))

    def refuse(self, status: int) -> None:
        error = {"error": {"type": "SomeError", "message": "No.", "code": status}}
        self.upstream.script(json_reply(json.dumps(error).encode(), status))

    def arrange_count(self) -> None:
        """The servers' counting routes answer always; asking for one token is an ordinary answer."""
        if self.is_asked_to_count:
            self.upstream.script(json_reply(json.dumps({"choices": [], "usage": USAGE}).encode()))

    @property
    def asked(self) -> list[ReceivedRequest]:
        return [request for request in self.upstream.requests if request.path == "/v1/chat/completions"]

    async def wait_asked(self) -> None:
        while not self.asked:
            await self.upstream.received(len(self.upstream.requests) + 1)

    async def wait_left(self) -> None:
        await self.upstream.left_while_answering.wait()

    @property
    def times_asked(self) -> int:
        return len(self.asked)


class TestGeneric(ProviderSuite):
    owned_by = "somebody"
    prompt_settles = True
    is_asked_to_count = True

    @asynccontextmanager
    async def open_harness(self) -> AsyncIterator[OpenAIHarness]:
        async with ScriptedUpstream() as upstream:
            listed = {"data": [{"id": "big-model", "owned_by": self.owned_by}]}
            upstream.always("/v1/models", json_reply(json.dumps(listed).encode()))
            upstream.always("/apply-template", json_reply(b'{"prompt": "<user>Say hello."}'))
            upstream.always("/tokenize", json_reply(json.dumps(self.tokens()).encode()))
            settings = make_settings("openai_compatible", upstream.url)
            provider = OpenAICompatibleProvider("upstream", settings, "sk-up", ToldClock(), lambda: b"secret")
            await provider.start()
            try:
                yield OpenAIHarness(provider, upstream, is_asked_to_count=self.is_asked_to_count)
            finally:
                await provider.stop()

    def tokens(self) -> dict[str, Any]:
        return {"count": PROMPT_TOKENS, "tokens": list(range(PROMPT_TOKENS))}


class TestVllm(TestGeneric):
    owned_by = "vllm"
    is_asked_to_count = False


class TestLlamaCpp(TestGeneric):
    owned_by = "llamacpp"
    is_asked_to_count = False


class TestOllama(TestGeneric):
    owned_by = "library"
