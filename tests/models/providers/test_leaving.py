"""Many who leave, at every moment: nothing of them is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.openai.provider import OpenAICompatibleProvider
from renga.models.providers.provider_seam import Provider
from renga.protocols.messages.events.event_types import Batch
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import SIMPLE_BODY, make_call, make_settings
from renga.testing.servers.echo_upstream import EchoSettings, serve_echo

CONNECTIONS = 4


async def leave_after(provider: Provider, batches: int) -> None:
    """Read that many batches and go; 0: go while the request is under way."""
    stream = cast("AsyncGenerator[Batch]", provider.send(*make_call({**SIMPLE_BODY, "stream": True}, model="echo")))
    async with aclosing(stream):
        first = asyncio.ensure_future(anext(stream))
        if batches == 0:
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return
        await first
        for _ in range(batches - 1):
            if await anext(stream, None) is None:
                return


@pytest.mark.parametrize("kind", ["anthropic", "openai_compatible"])
async def test_those_who_leave_take_their_connections_with_them(kind: str):
    server = await serve_echo("127.0.0.1", 0, EchoSettings(events=60, events_per_write=4))
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings, clock = make_settings(kind, url, {"max_connections": CONNECTIONS}), ToldClock()
    provider: Provider = (
        AnthropicProvider("upstream", settings, "key", clock)
        if kind == "anthropic"
        else OpenAICompatibleProvider("upstream", settings, "key", clock, lambda: b"secret")
    )
    await provider.start()
    try:
        # More at a time than there are connections: a slot that was not given back would end in an error here.
        for _ in range(10):
            await asyncio.gather(*[leave_after(provider, batches % 5) for batches in range(4 * CONNECTIONS)])
        await asyncio.gather(*[leave_after(provider, 1000) for _ in range(CONNECTIONS)])
    finally:
        await provider.stop()
        server.close()
        await server.wait_closed()
