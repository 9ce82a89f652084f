"""A hundred requests over a cached prompt of 50,000 tokens, through a real server: the price page's sum, and half."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from renga.testing.http_client import RawHttpConnection, RawHttpResponse
from renga.testing.servers.scripted_upstream import ReceivedRequest, Reply, ScriptedUpstream, json_reply
from renga.testing.servers.served import Served, ServedSettings, served

REQUESTS = 100
PROMPT, QUERY = 50_000, 5_000
WRITE_NANO_USD = 62_500_000 + 5_000_000
READ_NANO_USD = 5_000_000 + 5_000_000
CACHED_NANO_USD = WRITE_NANO_USD + (REQUESTS - 1) * READ_NANO_USD
"""$1.0575; without a cache it would be 100 x 55,000 tokens at $1 a million: $5.50."""

CONFIG = """\
[engine]
enabled = false

[providers.upstream]
kind = "anthropic"
base_url = "{url}"

[tiers]
haiku = ["upstream/haiku"]

[prices."upstream/*"]
input_usd = 1.0
output_usd = 5.0
"""


class Upstream:
    """Answers as the API does that holds a prompt's prefix after it has seen it once."""

    def __init__(self) -> None:
        self.seen = 0

    def answer(self, received: ReceivedRequest) -> Reply:
        self.seen += 1
        held = self.seen > 1
        usage = {
            "input_tokens": QUERY,
            "cache_creation_input_tokens": 0 if held else PROMPT,
            "cache_read_input_tokens": PROMPT if held else 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0 if held else PROMPT, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 0,
        }
        message = {
            "id": f"msg_{self.seen}",
            "type": "message",
            "role": "assistant",
            "model": "haiku",
            "content": [{"type": "text", "text": "ok"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        return json_reply(msgspec.json.encode(message))


def body(number: int) -> dict[str, object]:
    return {
        "model": "haiku",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "the handbook", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": f"Question {number}?"}],
    }


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    async with ScriptedUpstream() as listening:
        behind = Upstream()
        listening.script(*[behind.answer] * (2 * REQUESTS))
        yield behind, listening.url


async def send(
    server: Served, connection: RawHttpConnection, method: str, path: str, value: object = None
) -> RawHttpResponse:
    headers = {"x-api-key": server.secret, "content-type": "application/json"}
    await connection.send(method, path, headers, b"" if value is None else msgspec.json.encode(value))
    return await connection.read()


async def ask_each(server: Served, connection: RawHttpConnection) -> None:
    for number in range(REQUESTS):
        assert (await send(server, connection, "POST", "/v1/messages", body(number))).status == 200


async def ask_as_batch(server: Served, connection: RawHttpConnection) -> None:
    requests = [{"custom_id": f"q{number}", "params": body(number)} for number in range(REQUESTS)]
    made = await send(server, connection, "POST", "/v1/messages/batches", {"requests": requests})
    assert made.status == 200, made.body
    path = f"/v1/messages/batches/{made.json()['id']}"
    while (await send(server, connection, "GET", path)).json()["processing_status"] != "ended":
        await asyncio.sleep(0.05)
    results = (await send(server, connection, "GET", f"{path}/results")).body
    tiers = {msgspec.json.decode(line)["result"]["message"]["usage"]["service_tier"] for line in results.splitlines()}
    assert tiers == {"batch"}


async def test_the_ledger_has_the_price_pages_sum_and_half_of_it_for_a_batch(upstream: tuple[Upstream, str]) -> None:
    behind, url = upstream
    context = served(ServedSettings(CONFIG.format(url=url)))
    server = await asyncio.to_thread(context.__enter__)
    try:
        async with await RawHttpConnection.open("127.0.0.1", server.port) as connection:
            await ask_each(server, connection)
            behind.seen = 0
            await ask_as_batch(server, connection)
        await asyncio.to_thread(server.stop)
        with server.open_database() as database:
            rows = database.ledger.read_rows()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    live = [row for row in rows if row.service_tier is None]
    assert [row.cost_nano_usd for row in live] == [WRITE_NANO_USD] + [READ_NANO_USD] * (REQUESTS - 1)
    assert sum(row.cost_nano_usd or 0 for row in live) == CACHED_NANO_USD == 1_057_500_000
    assert sum(row.cache_read_tokens for row in live) == (REQUESTS - 1) * PROMPT
    batch = [row for row in rows if row.service_tier == "batch"]
    assert len(batch) == REQUESTS
    assert sum(row.cost_nano_usd or 0 for row in batch) == CACHED_NANO_USD // 2
