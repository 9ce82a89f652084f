"""The provider seam's suite over the local engine: a real process with hokku, made to stall by stopping it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from renga.clock import SystemClock
from renga.config import Config, EngineSettings
from renga.models.engine.client import EngineClient
from renga.models.providers.local import LocalProvider, build_local_provider
from renga.testing.provider_calls import ProviderCall, make_call
from renga.testing.suites.provider_suite import NotApplicable, ProviderSuite

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = {"enum": ["yes", "no"]}
LONG = {"type": "array", "items": {"type": "integer"}, "minItems": 500}


class LocalHarness:
    """A started engine. What it answers is decided by the grammar of the call that is made next."""

    def __init__(self, provider: LocalProvider) -> None:
        self.provider = provider
        self._schema: object = SHORT
        self._calls = 0
        self._stopped = False
        self._killing: asyncio.Task[None] | None = None

    def call(self, *, streamed: bool = True) -> ProviderCall:
        self._calls += 1
        body = {
            "model": "haiku",
            "max_tokens": 4000,
            "stream": streamed,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Say hello."}],
            "output_config": {"format": {"type": "json_schema", "schema": self._schema}},
        }
        return make_call(body, model="hokku")

    def answer(self) -> None:
        self._schema, self._calls = SHORT, 0

    def arrange_count(self) -> None:
        self.answer()

    def stall(self, *, after_first: bool) -> None:
        self._schema, self._calls = LONG, 0
        if not after_first:
            self._signal(signal.SIGSTOP)
            self._stopped = True

    def die(self) -> None:
        self._schema, self._calls = LONG, 0
        self._killing = asyncio.create_task(self._kill_once_running())

    def refuse(self, status: int) -> None:
        raise NotApplicable("an engine has no HTTP status")

    @property
    def times_asked(self) -> int:
        return self._calls

    async def wait_asked(self) -> None:
        while not self._client.in_flight:
            await asyncio.sleep(0)

    async def wait_left(self) -> None:
        if self._stopped:
            self._signal(signal.SIGCONT)
        while self._client.stats().running or self._client.in_flight:
            await asyncio.sleep(0.001)

    async def _kill_once_running(self) -> None:
        while not self._client.stats().running:
            await asyncio.sleep(0.001)
        self._signal(signal.SIGKILL)

    @property
    def _client(self) -> EngineClient:
        client = self.provider.pool.default.client
        assert client is not None
        return client

    def _signal(self, number: int) -> None:
        process_id = self._client.process_id
        assert process_id is not None
        os.kill(process_id, number)


class Engines:
    """The engine that the tests share; the one after a test that killed or stopped it gets a new one."""

    def __init__(self) -> None:
        self._provider: LocalProvider | None = None

    async def get(self) -> LocalProvider:
        if self._provider is None:
            self._provider = build_local_provider(
                Config(engine=EngineSettings(cache_bytes=64 << 20)), lambda: b"secret", SystemClock()
            )
            await self._provider.start()
        await self._provider.wait_ready()
        return self._provider

    async def stop(self) -> None:
        if self._provider is not None:
            await self._provider.stop()
            self._provider = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines() -> AsyncIterator[Engines]:
    running = Engines()
    yield running
    await running.stop()


class TestLocal(ProviderSuite):
    @pytest.fixture(autouse=True)
    def share(self, engines: Engines) -> None:
        self.engines = engines

    @asynccontextmanager
    async def open_harness(self) -> AsyncIterator[LocalHarness]:
        provider = await self.engines.get()
        try:
            yield LocalHarness(provider)
        finally:
            client = provider.pool.default.client
            if not provider.health().ready or client is None or client.in_flight:
                await self.engines.stop()
