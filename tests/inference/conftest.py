"""Renga between a client and four scripted upstreams, all over loopback: a small tier, a cheap second, a judge, a top.

The ledger is the real one over a real database; its rows are written when a test asks for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from renga.accounting.keys.key_ring import KeyIdentity
from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.pricing.price_book import PriceBook
from renga.clock import SystemClock
from renga.config import PolicySettings, PriceSettings, ProviderSettings, ServerSettings
from renga.config.health import HealthSettings
from renga.domain.ledger import LedgerRow
from renga.http.guard import Guard
from renga.http.http_services import HttpServices
from renga.http.server.uvicorn_server import build_server_config
from renga.inference import Services
from renga.metrics.request_metrics import RequestMetrics
from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.provider_seam import Target
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import Message, Usage
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.sse import encode_batch
from renga.routing.catalog.catalog import Catalog
from renga.routing.costs.cascade import CascadeChooser
from renga.routing.costs.price_rows import PriceRows
from renga.routing.policy.decision import Decider
from renga.routing.policy.policies import Policies
from renga.routing.router import Router
from renga.routing.targets.target_health import TargetHealth
from renga.store.database import Database, open_database
from renga.testing.http_client import RawHttpConnection, RawHttpResponse
from renga.testing.servers.listening import listening
from renga.testing.servers.scripted_upstream import (
    Answerer,
    ReceivedRequest,
    Reply,
    ScriptedUpstream,
    json_reply,
    sse_reply,
)

NAMES = ("small", "second", "judge", "top")
PRICES = {
    "small/*": PriceSettings(input_usd=1.0, output_usd=5.0),
    "second/*": PriceSettings(input_usd=0.5, output_usd=2.0),
    "judge/*": PriceSettings(input_usd=4.0, output_usd=20.0),
    "top/*": PriceSettings(input_usd=20.0, output_usd=100.0),
}
TIERS = {"haiku": (Target("small", "m"),), "sonnet": (), "opus": (Target("top", "m"),)}
USAGE = Usage(input_tokens=100, output_tokens=10)
COST = {"small": 150_000, "second": 70_000, "judge": 600_000, "top": 3_000_000}
"""Nano-dollars of an answer with USAGE."""


def message(text: str, stop_reason: str = "end_turn", usage: Usage = USAGE) -> Message:
    return Message(model="m", id="msg_1", content=(TextBlock(text),), stop_reason=stop_reason, usage=usage)


def say(text: str, stop_reason: str = "end_turn", usage: Usage = USAGE) -> Answerer:
    """An answer, whole or as a stream, as it is asked for."""
    said = message(text, stop_reason, usage)

    def reply(received: ReceivedRequest) -> Reply:
        if msgspec.json.decode(received.body).get("stream"):
            return sse_reply(*(encode_batch([event]) for event in split(said)))
        return json_reply(msgspec.json.encode(said))

    return reply


def refuse(status: int, kind: str) -> Reply:
    return json_reply(b'{"type":"error","error":{"type":"%b","message":"no"}}' % kind.encode(), status)


@dataclass
class Town:
    """A running server, what stands behind it, and its ledger."""

    port: int
    upstreams: dict[str, ScriptedUpstream]
    ledger: Ledger
    parts: Services
    database: Database
    known: int = field(default=0)

    def script(self, **replies: Answerer | Reply) -> None:
        """What each upstream says next."""
        for name, reply in replies.items():
            self.upstreams[name].script(reply)

    def asked(self) -> dict[str, int]:
        """How many requests each upstream has got."""
        return {name: len(upstream.requests) for name, upstream in self.upstreams.items() if upstream.requests}

    def body_of(self, name: str, index: int = -1) -> dict[str, object]:
        return msgspec.json.decode(self.upstreams[name].requests[index].body)

    async def connect(self) -> RawHttpConnection:
        return await RawHttpConnection.open("127.0.0.1", self.port)

    async def ask(self, text: str = "How many eggs?", model: str = "auto", **fields: object) -> RawHttpResponse:
        body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}
        async with await self.connect() as connection:
            await connection.send("POST", "/v1/messages", {"x-api-key": "key"}, msgspec.json.encode(body))
            return await connection.read()

    def rows(self) -> list[LedgerRow]:
        """The rows of the requests since the last look. No lease is open."""
        assert self.ledger.open_leases == 0
        self.ledger.run(self.database)
        found = self.database.ledger.read_rows(after=self.known)
        self.known += len(found)
        return found

    def row(self) -> LedgerRow:
        """The one row; its sums are right."""
        (row,) = self.rows()
        costs = [attempt.cost_nano_usd for attempt in row.attempts]
        if None not in costs:
            assert row.cost_nano_usd == sum(cost for cost in costs if cost is not None)
        return row


class OneKey:
    def identify(self, secret: str) -> KeyIdentity | None:
        return KeyIdentity(f"key_{secret}", secret)

    async def seek(self, secret: str) -> KeyIdentity | None:
        return self.identify(secret)


@asynccontextmanager
async def open_town(database: Database, policies: dict[str, PolicySettings]) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(ScriptedUpstream()) for name in NAMES}
        clock = SystemClock()
        settings = {
            name: ProviderSettings(kind="anthropic", base_url=upstream.url, max_retries=0, idle_timeout_s=10.0)
            for name, upstream in upstreams.items()
        }
        providers = {name: AnthropicProvider(name, each, "secret", clock) for name, each in settings.items()}
        prices = PriceBook(settings, PRICES)
        ledger = Ledger(prices, RequestMetrics(), clock, queue_rows=1000, spool=None)
        built = Policies(policies)
        catalog = Catalog(TIERS, providers, (), built.names)
        router = Router(catalog, providers, Decider(built, CascadeChooser(PriceRows(prices, clock), clock)))
        health = TargetHealth(HealthSettings(failures_to_cool=1, cool_down_s=60.0), {}, clock)
        parts = Services(providers, router, ledger, clock, health=health)
        behind = HttpServices(parts, OneKey(), catalog, ServerSettings(), CollectorRegistry())
        for provider in providers.values():
            await provider.start()
        door = await stack.enter_async_context(listening(build_server_config(Guard(behind), behind.settings)))
        yield Town(door.port, upstreams, ledger, parts, database, len(database.ledger.read_rows(limit=100_000)))
        for provider in providers.values():
            await provider.stop()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("answer")
    with open_database(f"sqlite:///{path / 'renga.db'}") as database:
        yield database


@pytest.fixture
async def build_town(database: Database) -> AsyncIterator[Callable[..., object]]:
    """Starts a town with policies of the test's own: `auto` is the first."""
    stack = AsyncExitStack()

    async def start(auto: PolicySettings | None = None, **others: PolicySettings) -> Town:
        policies = {} if auto is None else {"auto": auto}
        return await stack.enter_async_context(open_town(database, {**policies, **others}))

    yield start
    await stack.aclose()
