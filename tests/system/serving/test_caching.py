"""The caches of a real server, as the official SDK and the ledger see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import Anthropic, AsyncAnthropic

from renga.clock import SystemClock
from renga.domain.ledger import LedgerRow
from renga.models.cache.prefix_cache import CacheMark, MarkedPrompt, PrefixCache
from renga.models.cache.prefix_chain import chain_prefixes
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.rules.cache_breakpoints import walk_blocks
from renga.testing.servers.scripted_upstream import ReceivedRequest, Reply, ScriptedUpstream, json_reply
from renga.testing.servers.served import Served, ServedSettings, served

FIVE = {"type": "ephemeral"}
SYSTEM = "Every fact about Alpha is noted here, one after another. " * 120
CONFIG = """\
[engine]
enabled = false

[tiers]
haiku = ["claude/claude-haiku-5-5"]

[providers.claude]
kind = "anthropic"
base_url = "{url}"
max_retries = 0

[prices."claude/*"]
input_usd = 1.0
output_usd = 5.0

[cache]
"""


class Claude:
    """An upstream that caches as the API does, and counts a hundred tokens a word."""

    def __init__(self) -> None:
        self._cache = PrefixCache(SystemClock(), 512)

    def answer(self, received: ReceivedRequest) -> Reply:
        request = decode_request(received.body, "2023-06-01")
        sizes = [
            100 * len(block.value.text.split()) for block in walk_blocks(request) if isinstance(block.value, TextBlock)
        ]
        marks = tuple(CacheMark(mark.index, sum(sizes[: mark.index + 1]), mark.hour) for mark in request.breakpoints)
        prompt = MarkedPrompt(chain_prefixes(request, "m"), marks, sum(sizes))
        split = self._cache.read("", prompt)
        self._cache.write("", prompt)
        return json_reply(
            msgspec.json.encode(
                {
                    "id": "msg_01",
                    "type": "message",
                    "role": "assistant",
                    "model": request.model,
                    "content": [{"type": "text", "text": "Noted."}],
                    "stop_reason": "end_turn",
                    "stop_sequence": None,
                    "usage": {
                        "input_tokens": split.input_tokens,
                        "cache_creation_input_tokens": split.written_tokens,
                        "cache_read_input_tokens": split.read_tokens,
                        "cache_creation": {
                            "ephemeral_5m_input_tokens": split.written_5m_tokens,
                            "ephemeral_1h_input_tokens": split.written_1h_tokens,
                        },
                        "output_tokens": 0,
                    },
                }
            )
        )


@asynccontextmanager
async def claude(settings: str = "") -> AsyncGenerator[tuple[ScriptedUpstream, Served, AsyncAnthropic]]:
    async with ScriptedUpstream() as upstream:
        upstream.script(*[Claude().answer] * 400)
        with served(ServedSettings(CONFIG.format(url=upstream.url) + settings)) as server:
            async with AsyncAnthropic(base_url=server.url, api_key=server.secret, max_retries=0) as client:
                yield upstream, server, client


def rows_of(server: Served) -> list[LedgerRow]:
    """The ledger of a server that has ended."""
    server.stop()
    with server.open_database() as database:
        return database.ledger.read_rows()


async def test_a_hundred_questions_to_fifty_thousand_cached_tokens() -> None:
    """The published example: the dollars of the write, the reads and the rest, and those of the ledger."""

    def ask(number: int, system: Any) -> dict[str, Any]:
        question = f"{number} " + "why " * 49
        return {
            "model": "haiku",
            "max_tokens": 1,
            "system": system,
            "messages": [{"role": "user", "content": question}],
        }

    known = "fact " * 500
    async with claude() as (_, server, client):
        marked = [{"type": "text", "text": known, "cache_control": FIVE}]
        await client.messages.create(**ask(0, marked))
        await asyncio.gather(*(client.messages.create(**ask(number, marked)) for number in range(1, 100)))
        for number in range(5):  # never the same twice, so that nothing could be cached
            await client.messages.create(**ask(number, f"{number} " + "fact " * 499))
        for number in range(5):  # no word of caching: the second time it has come back, and is marked
            await client.messages.create(**ask(number, "note " * 500))
        rows = rows_of(server)
    usd = 1_000_000_000
    costs = [row.cost_nano_usd or 0 for row in rows]
    assert costs[0] == round(0.0625 * usd) + round(0.005 * usd)  # 50,000 at $1.25, 5,000 at $1
    assert costs[1:100] == [round(0.005 * usd) + round(0.005 * usd)] * 99  # 50,000 at $0.10, 5,000 at $1
    assert sum(costs[:100]) == round(1.0575 * usd)
    assert costs[100:105] == [round(0.055 * usd)] * 5  # a hundred of them: $5.50
    assert costs[105:] == [round(0.055 * usd), round(0.0675 * usd), *[round(0.010 * usd)] * 3]
    reads = [row.cache_read_tokens for row in rows]
    assert reads == [0, *[50_000] * 99, *[0] * 5, 0, 0, *[50_000] * 3]


async def test_stored_answers_say_so_cost_nothing_and_outlive_their_target() -> None:
    async with claude("responses = true\nresponse_ttl_s = 1.0\n") as (upstream, server, client):
        question: dict[str, Any] = {"model": "haiku", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        first = await client.messages.with_raw_response.create(**question)
        second = await client.messages.with_raw_response.create(**question)
        async with client.messages.stream(**question) as stream:
            streamed = await stream.get_final_message()
        assert [each.headers["renga-cache"] for each in (first, second)] == ["miss", "hit"]
        assert second.headers["renga-target"] == "claude/claude-haiku-5-5"
        assert float(second.headers["renga-cost-usd"]) == 0
        assert (
            first.http_response.json()
            == second.http_response.json()
            == streamed.model_dump(exclude_none=True)
            | {"stop_sequence": None}
            | {"usage": first.http_response.json()["usage"]}
        )
        assert len(upstream.requests) == 1
        await upstream.close()
        status = "hit"
        while status == "hit":  # until its second is over, by the server's own clock
            again = await client.messages.with_raw_response.create(**question)
            status = again.headers["renga-cache"]
        assert status == "stale"
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(**{**question, "max_tokens": 6})
        rows = rows_of(server)
        assert (rows[1].why, rows[1].target, rows[1].cost_nano_usd, rows[1].input_tokens) == ("cache:hit", None, 0, 0)
        assert rows[-2].why.endswith("cache:stale")
        assert rows[-2].attempts[0].error_type == "overloaded_error"


def test_the_sdk_reads_the_local_models_counts(client: Anthropic, server: Served) -> None:
    system: Any = [{"type": "text", "text": SYSTEM, "cache_control": FIVE}]
    ask: dict[str, Any] = {
        "model": "haiku",
        "max_tokens": 4,
        "system": system,
        "messages": [{"role": "user", "content": "What?"}],
    }
    warmed = client.messages.create(**{**ask, "max_tokens": 0})
    assert (warmed.content, warmed.stop_reason, warmed.usage.output_tokens) == ([], "max_tokens", 0)
    written = warmed.usage.cache_creation_input_tokens or 0
    assert written > 512
    assert warmed.usage.cache_creation is not None
    assert warmed.usage.cache_creation.ephemeral_5m_input_tokens == written
    read = client.messages.create(**ask)
    assert (read.usage.cache_read_input_tokens, read.usage.cache_creation_input_tokens) == (written, 0)
    with client.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    assert final.usage.cache_read_input_tokens == written
    counted = client.messages.count_tokens(model="haiku", system=system, messages=ask["messages"])
    assert counted.input_tokens == read.usage.input_tokens + written
    with pytest.raises(anthropic.BadRequestError) as refusal:
        client.messages.create(**{**ask, "system": [*system, *system, *system, *system, *system]})
    assert "system.4.cache_control" in str(refusal.value)
