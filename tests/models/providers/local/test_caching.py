"""The prompt cache over a real engine with hokku: what it counts, what it saves, and what others can learn of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import structs

from renga.clock import SystemClock
from renga.config import Config, EngineSettings
from renga.errors import InvalidRequest
from renga.models.cache.prefix_cache import CacheSplit
from renga.models.providers.local import LocalProvider, build_local_provider
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.events.accumulator import fold
from renga.protocols.messages.events.event_types import Message, Usage
from renga.protocols.messages.inference_request import Caller
from renga.testing.provider_calls import make_call

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def long_text(topic: str, words: int = 400) -> str:
    return " ".join(f"{topic} fact {number} is noted." for number in range(words // 5))


def text(words: str, control: dict[str, str] | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words} | ({"cache_control": control} if control else {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[LocalProvider]:
    config = Config(engine=EngineSettings(cache_bytes=16 << 20))
    provider = build_local_provider(config, lambda: b"secret", SystemClock())
    await provider.start()
    await provider.wait_ready()
    yield provider
    await provider.stop()


async def ask(provider: LocalProvider, *, owner: str = "key_a", workspace: str | None = None, **fields: Any) -> Message:
    default = {
        "model": "haiku",
        "max_tokens": 8,
        "temperature": 0,
        "messages": [{"role": "user", "content": "What is noted?"}],
    }
    call = make_call({**default, **fields}, model="hokku")
    call = call._replace(request=structs.replace(call.request, caller=Caller(owner, workspace)))
    message = (await fold(provider.send(*call))).message()
    usage = message.usage
    assert await provider.count_tokens(*call.count_arguments()) == prompt_tokens(usage)
    return message


def prompt_tokens(usage: Usage) -> int:
    return usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)


def split_of(message: Message) -> CacheSplit:
    usage = message.usage
    assert not isinstance(usage.cache_creation, msgspec.UnsetType)
    assert usage.cache_creation is not None
    return CacheSplit(
        usage.input_tokens,
        usage.cache_read_input_tokens or 0,
        usage.cache_creation.ephemeral_5m_input_tokens,
        usage.cache_creation.ephemeral_1h_input_tokens,
    )


async def test_a_marked_prefix_is_written_then_read(provider: LocalProvider) -> None:
    system = [text(long_text("Alpha"), FIVE)]
    first = split_of(await ask(provider, system=system))
    assert first.read_tokens == first.written_1h_tokens == 0
    assert first.written_5m_tokens > 512
    again = split_of(await ask(provider, system=system))
    assert again == CacheSplit(first.input_tokens, first.written_5m_tokens)
    other = [{"role": "user", "content": "Another question, then?"}]
    assert split_of(await ask(provider, system=system, messages=other)).read_tokens == first.written_5m_tokens


async def test_without_breakpoints_nothing_is_counted(provider: LocalProvider) -> None:
    system = long_text("Beta")
    for _ in range(2):
        split = split_of(await ask(provider, system=system))
        assert split == CacheSplit(split.input_tokens)


async def test_a_growing_conversation_reads_what_it_wrote(provider: LocalProvider) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": long_text("Gamma")}]
    written = 0
    for _ in range(3):
        split = split_of(await ask(provider, messages=turns, cache_control=FIVE))
        assert split.read_tokens == written
        assert split.written_5m_tokens > 0
        written += split.written_5m_tokens
        turns += [{"role": "assistant", "content": "So it is."}, {"role": "user", "content": long_text("More", 40)}]


async def test_an_hour_before_five_minutes(provider: LocalProvider) -> None:
    system = [text(long_text("Delta"), HOUR)]
    turns = [{"role": "user", "content": [text(long_text("Epsilon", 100), FIVE)]}]
    split = split_of(await ask(provider, system=system, messages=turns))
    assert min(split.written_1h_tokens, split.written_5m_tokens) > 0
    assert split_of(await ask(provider, system=system)).read_tokens == split.written_1h_tokens


async def test_a_short_prefix_is_not_cached(provider: LocalProvider) -> None:
    for _ in range(2):
        split = split_of(await ask(provider, system=[text("Be brief.", FIVE)]))
        assert split == CacheSplit(split.input_tokens)


async def test_a_changing_billing_line_changes_nothing(provider: LocalProvider) -> None:
    def system(number: int) -> list[dict[str, Any]]:
        return [text(f"x-anthropic-billing-header: cc_version=2.1; cch={number:05x};"), text(long_text("Zeta"), FIVE)]

    first = await ask(provider, system=system(1))
    second = await ask(provider, system=system(2))
    assert split_of(second).read_tokens == split_of(first).written_5m_tokens > 512
    assert second.content == first.content
    bare = await ask(provider, system=[text(long_text("Zeta"), FIVE)])
    assert prompt_tokens(bare.usage) == prompt_tokens(first.usage)


async def test_tools_are_part_of_the_prefix(provider: LocalProvider) -> None:
    def tools(name: str) -> list[dict[str, Any]]:
        schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(150)}}
        return [{"name": name, "description": "Looks up.", "input_schema": schema, "cache_control": FIVE}]

    none = {"tool_choice": {"type": "auto"}}
    first = split_of(await ask(provider, tools=tools("lookup"), **none))
    assert first.written_5m_tokens > 512
    assert split_of(await ask(provider, tools=tools("lookup"), **none)).read_tokens == first.written_5m_tokens
    assert split_of(await ask(provider, tools=tools("search"), **none)).read_tokens == 0


async def test_answers_are_the_same_with_and_without_cache(provider: LocalProvider) -> None:
    system = long_text("Eta")
    plain = await ask(provider, system=system, max_tokens=40)
    cold = await ask(provider, system=[text(system, FIVE)], max_tokens=40)
    warm = await ask(provider, system=[text(system, FIVE)], max_tokens=40)
    assert split_of(warm).read_tokens > 0
    assert plain.content == cold.content == warm.content


async def test_keys_share_nothing_and_workspaces_do(provider: LocalProvider) -> None:
    system = [text(long_text("Theta"), FIVE)]
    await ask(provider, owner="key_a", system=system)
    assert split_of(await ask(provider, owner="key_b", system=system)).read_tokens == 0
    await ask(provider, owner="key_a", workspace="wrkspc_1", system=system)
    assert split_of(await ask(provider, owner="key_b", workspace="wrkspc_1", system=system)).read_tokens > 0


async def first_event_s(provider: LocalProvider, owner: str, system: str) -> float:
    body = {"model": "haiku", "max_tokens": 1, "system": system, "messages": [{"role": "user", "content": "Go."}]}
    call = make_call(body, model="hokku")
    call = call._replace(request=structs.replace(call.request, caller=Caller(owner)))
    stream = provider.send(*call)
    began_s = time.perf_counter()
    await anext(stream)
    took_s = time.perf_counter() - began_s
    async for _ in stream:
        pass
    return took_s


async def test_an_own_prefix_begins_sooner_and_anothers_does_not(provider: LocalProvider) -> None:
    system = long_text("Iota", 1500)
    cold_s = await first_event_s(provider, "key_a", system)
    warm_s = await first_event_s(provider, "key_a", system)
    other_s = await first_event_s(provider, "key_b", system)
    assert warm_s < cold_s / 2
    assert other_s > warm_s * 2  # held back for as long as the engine would have worked
    assert await first_event_s(provider, "key_b", system) < cold_s / 2


async def test_no_tokens_wanted_warms_the_cache(provider: LocalProvider) -> None:
    system = [text(long_text("Kappa"), FIVE)]
    warming = await ask(provider, system=system, max_tokens=0)
    assert (warming.content, warming.stop_reason, warming.usage.output_tokens) == ((), "max_tokens", 0)
    assert split_of(warming).written_5m_tokens > 512
    assert split_of(await ask(provider, system=system)).read_tokens == split_of(warming).written_5m_tokens


async def test_what_the_engine_threw_away_is_not_claimed(provider: LocalProvider) -> None:
    system = [text(long_text("Lambda"), FIVE)]
    written = split_of(await ask(provider, system=system)).written_5m_tokens
    room_tokens = 256 * 32
    for number in range(room_tokens // written + 1):
        await ask(provider, system=long_text(f"Other {number}"), max_tokens=0)
    assert split_of(await ask(provider, system=system)).written_5m_tokens == written
    assert split_of(await ask(provider, system=system)).read_tokens == written


async def test_a_new_engine_holds_nothing(provider: LocalProvider) -> None:
    system = [text(long_text("Mu"), FIVE)]
    written = split_of(await ask(provider, system=system)).written_5m_tokens
    client = provider.pool.default.client
    assert client is not None and client.process_id is not None
    process_id = client.process_id
    os.kill(process_id, signal.SIGKILL)
    while client.process_id in (process_id, None):
        await asyncio.sleep(0.001)
    await provider.wait_ready()
    assert split_of(await ask(provider, system=system)).written_5m_tokens == written


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", True),
        ("thinking", {"type": "adaptive"}),
        ("output_config", {"format": {"type": "json_schema", "schema": {"type": "object"}}}),
        ("tool_choice", {"type": "any"}),
    ],
)
async def test_warming_is_refused_where_the_api_refuses_it(field: str, value: object) -> None:
    body = {
        "model": "haiku",
        "max_tokens": 0,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        field: value,
    }
    with pytest.raises(InvalidRequest) as refusal:
        decode_request(msgspec.json.encode(body), "2023-06-01")
    assert refusal.value.path == "max_tokens"
