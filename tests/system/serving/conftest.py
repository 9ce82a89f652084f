"""One real `renga serve` with hokku for the whole folder, and the official SDK pointed at it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from anthropic import Anthropic

from renga.testing.http_client import RawHttpConnection, RawHttpResponse
from renga.testing.servers.served import Served, ServedSettings, served
from renga.testing.stream_checker import StreamChecker

CONFIG = """\
[tiers]
haiku = ["local/hokku"]
sonnet = ["nowhere/large", "local/hokku"]
opus = []

[providers.nowhere]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9"
max_retries = 0
"""


@pytest.fixture(scope="session")
def server() -> Generator[Served]:
    with served(ServedSettings(CONFIG)) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Served) -> Generator[Anthropic]:
    with Anthropic(base_url=server.url, api_key=server.secret, max_retries=0) as anthropic:
        yield anthropic


class Asker:
    """Asks by hand, over a bare socket; every stream is checked."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.headers = {"x-api-key": server.secret, "content-type": "application/json"}

    def body(self, **fields: Any) -> bytes:
        default = {"model": "haiku", "max_tokens": 24, "messages": [{"role": "user", "content": "Hello there"}]}
        return msgspec.json.encode({**default, **fields})

    async def send(self, path: str = "/v1/messages", *, version: str = "2023-06-01", **fields: Any) -> RawHttpResponse:
        async with await RawHttpConnection.open("127.0.0.1", self.server.port) as connection:
            await connection.send("POST", path, {**self.headers, "anthropic-version": version}, self.body(**fields))
            return await connection.read()

    async def stream(self, **fields: Any) -> StreamChecker:
        response = await self.send(stream=True, **fields)
        assert response.status == 200, response.body
        checker = StreamChecker()
        checker.push(response.body)
        checker.finish()
        return checker

    async def gauge(self, name: str) -> float:
        return (await asyncio.to_thread(self.server.gauges))[name]


@pytest.fixture
def ask(server: Served) -> Asker:
    return Asker(server)
