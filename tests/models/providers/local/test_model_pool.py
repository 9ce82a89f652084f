"""Several local models at once, each a real engine process: loaded, unloaded, lost, refused, and answering together."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from renga.clock import SystemClock
from renga.config import Config, EngineSettings, ModelSettings
from renga.errors import ApiError, ConfigError, NotFound, Overloaded
from renga.models.engine.client import EngineClient
from renga.models.providers.local import EngineMetrics, LocalProvider, build_local_provider
from renga.protocols.messages.events.accumulator import fold
from renga.protocols.messages.events.event_types import Message
from renga.testing.provider_calls import make_call

CACHE_BYTES = 16 << 20
SMALL = EngineSettings(cache_bytes=CACHE_BYTES)
ONE_BYTES = 340 << 20
"""Room for one hokku with such a cache and not for two: it reserves 256 + 16 MiB and its weights."""


def model(**changes: object) -> ModelSettings:
    """Another copy of hokku, loaded on first use."""
    settings: dict[str, object] = {"model": "hokku", "cache_bytes": CACHE_BYTES, **changes}
    return ModelSettings(**settings)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(engine: EngineSettings = SMALL, **models: ModelSettings) -> AsyncIterator[LocalProvider]:
    """A started provider with the default model and these."""
    provider = build_local_provider(Config(engine=engine, models=models), lambda: b"secret", SystemClock())
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()


async def ask(provider: LocalProvider, name: str) -> Message:
    """A short answer of one model, whole."""
    body = {"model": "haiku", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    return (await fold(provider.send(*make_call(body, model=name)))).message()


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until it is so; the test's own limit ends it otherwise."""
    while not condition():
        await asyncio.sleep(0.005)


def client_of(provider: LocalProvider, name: str) -> EngineClient:
    client = provider.pool.models[name].client
    assert client is not None
    return client


async def test_two_models_answer_at_once_under_their_names() -> None:
    async with serving(second=model()) as provider:
        first, second = await asyncio.gather(ask(provider, "hokku"), ask(provider, "second"))
        assert (first.model, second.model) == ("hokku", "second")
        assert client_of(provider, "hokku").process_id != client_of(provider, "second").process_id


async def test_a_model_is_loaded_by_its_first_request_and_not_before() -> None:
    async with serving(second=model()) as provider:
        await provider.wait_ready()
        assert provider.pool.models["second"].client is None
        health = provider.health("second")
        assert (health.ready, health.detail) == (True, "not loaded; the first request loads it")
        assert provider.capabilities("second").tools, "what is not known yet is not refused"
        await asyncio.gather(ask(provider, "second"), ask(provider, "second"))
        assert provider.pool.models["second"].loads == 1
        assert provider.health("second").detail == ""
        assert provider.capabilities("second") == provider.capabilities("hokku")


async def test_a_model_may_be_loaded_at_start() -> None:
    async with serving(second=model(load="start")) as provider:
        assert provider.health().models["second"].detail == "the engine is loading the model"
        await until(lambda: provider.health("second").ready)
        assert provider.pool.models["second"].loads == 1


async def test_an_idle_model_is_unloaded_and_loaded_again() -> None:
    async with serving(second=model(unload_idle_s=0.05)) as provider:
        await ask(provider, "second")
        second = provider.pool.models["second"]
        process_id = client_of(provider, "second").process_id
        assert process_id is not None
        await until(lambda: second.client is None)
        await until(lambda: not os.path.exists(f"/proc/{process_id}"))  # noqa: PTH110 - no file of ours
        assert provider.health("second").ready
        assert (await ask(provider, "second")).usage.output_tokens > 0
        assert second.loads == 2


async def test_the_model_that_was_used_longest_ago_makes_room() -> None:
    engine = EngineSettings(cache_bytes=CACHE_BYTES, load="first_use", max_memory_bytes=2 * ONE_BYTES)
    async with serving(engine, second=model(unload_idle_s=0), third=model(unload_idle_s=0)) as provider:

        def loaded() -> set[str]:
            return {name for name, each in provider.pool.models.items() if each.client is not None}

        await ask(provider, "hokku")
        await ask(provider, "second")
        await ask(provider, "hokku")
        assert loaded() == {"hokku", "second"}
        await ask(provider, "third")
        assert loaded() == {"hokku", "third"}
        await ask(provider, "second")
        assert loaded() == {"second", "third"}


async def test_a_busy_model_is_not_unloaded_and_who_waits_for_room_gets_529() -> None:
    engine = EngineSettings(cache_bytes=CACHE_BYTES, max_memory_bytes=ONE_BYTES)
    async with serving(engine, second=model(load_timeout_s=0.2)) as provider:
        await provider.wait_ready()
        busy = provider.pool.default
        with provider.pool.use(busy):
            with pytest.raises(Overloaded, match="still being loaded") as refusal:
                await ask(provider, "second")
            assert refusal.value.retryable and refusal.value.retry_after_s
            assert busy.client is not None
            assert not provider.health("second").ready
        await until(lambda: provider.health("second").ready and provider.pool.models["second"].client is not None)
        assert busy.client is None


async def test_a_model_that_fits_never_is_refused_with_both_sizes() -> None:
    engine = EngineSettings(cache_bytes=CACHE_BYTES, max_memory_bytes=ONE_BYTES)
    async with serving(engine, large=model(cache_bytes=1 << 30)) as provider:
        with pytest.raises(ApiError, match=r"large takes up to 1\d\d\d MiB, and local models may take 340 MiB"):
            await ask(provider, "large")
        assert (await ask(provider, "hokku")).usage.output_tokens > 0


async def test_a_model_that_cannot_be_loaded_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(broken=model(model="nowhere.gguf")) as provider:
        for _ in range(2):
            with pytest.raises(ApiError, match=r"no model broken: there is no model 'nowhere.gguf'"):
                await ask(provider, "broken")
        assert not provider.health("broken").ready
        assert "nowhere.gguf" in caplog.text
        assert (await ask(provider, "hokku")).usage.output_tokens > 0
        assert provider.health("hokku").ready


async def test_a_killed_engine_leaves_the_other_alone() -> None:
    async with serving(second=model()) as provider:
        await asyncio.gather(ask(provider, "hokku"), ask(provider, "second"))
        hokku, second = client_of(provider, "hokku"), client_of(provider, "second")
        kept, lost = hokku.process_id, second.process_id
        assert lost is not None
        os.kill(lost, signal.SIGKILL)
        assert (await ask(provider, "hokku")).usage.output_tokens > 0
        await until(lambda: second.process_id not in (lost, None))
        assert (await ask(provider, "second")).usage.output_tokens > 0
        assert (hokku.process_id, hokku.deaths, second.deaths) == (kept, 0, 1)
        assert provider.pool.models["second"].loads == 1


async def test_metrics_have_a_row_for_each_model() -> None:
    async with serving(second=model()) as provider:
        await provider.wait_ready()
        registry = CollectorRegistry()
        registry.register(EngineMetrics(provider.pool))
        page = generate_latest(registry).decode()
    assert 'renga_engine_loaded{model="hokku"} 1.0' in page
    assert 'renga_engine_loaded{model="second"} 0.0' in page
    assert 'renga_engine_running{model="second"} 0.0' in page
    assert 'renga_engine_loads_total{model="hokku"} 1.0' in page


async def test_settings_say_how_a_model_is_sampled() -> None:
    async with serving(cold=model(temperature=0, top_k=1)) as provider:
        cold = await provider.pool.models["cold"].read_files()
        hokku = await provider.pool.default.read_files()
    assert (cold.sampling.temperature, cold.sampling.top_k) == (0, 1)
    assert cold.sampling.top_p == hokku.sampling.top_p


async def test_names_are_known_and_different() -> None:
    async with serving() as provider:
        with pytest.raises(NotFound, match="no local model other"):
            await ask(provider, "other")
    with pytest.raises(ConfigError, match="the name of the default local model"):
        build_local_provider(Config(models={"hokku": model()}), lambda: b"", SystemClock())
