"""The echo upstream speaks both APIs in order: what a benchmark measures against it is real traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.models.providers.provider_seam import Provider
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, make_call, make_settings
from renga.testing.servers.echo_upstream import EchoSettings, serve_echo
from renga.testing.suites.provider_suite import read_all

EVENTS = 37


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[Provider]:
    server = await serve_echo("127.0.0.1", 0, EchoSettings(events=EVENTS, events_per_write=5))
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings, clock = make_settings(kind, url), ToldClock()
    provider: Provider = (
        AnthropicProvider("upstream", settings, "key", clock)
        if kind == "anthropic"
        else OpenAICompatibleProvider("upstream", settings, "key", clock, lambda: b"secret")
    )
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("kind", ["anthropic", "openai_compatible"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_it_echoes(kind: str, streamed: bool):
    async with serving(kind) as provider:
        for _ in range(3):
            call = make_call({**SIMPLE_BODY, "stream": streamed}, model="echo")
            _, folder = await read_all(provider.send(*call), prompt_settles=kind != "anthropic")
            message = folder.message()
            assert message.usage.output_tokens == EVENTS
            assert message.stop_reason == "end_turn"
        assert await provider.models() == ("echo",)
