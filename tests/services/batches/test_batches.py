"""Running, retrying, resting, stopping and ending batches, without the schedule; a real ledger and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.limits.quotas import Quotas
from renga.accounting.pricing.price_book import PriceBook
from renga.config import BatchSettings, CacheSettings, LimitSettings, PriceSettings
from renga.domain.batches import BatchTerms
from renga.domain.owners import Owner
from renga.errors import InvalidRequest, NotFound, RateLimited
from renga.inference import Services
from renga.metrics.request_metrics import RequestMetrics
from renga.models.cache.response_cache import ResponseCache
from renga.models.providers.anthropic.provider import AnthropicProvider
from renga.models.providers.provider_seam import Target
from renga.protocols.resources.batches import MessageBatch
from renga.routing.catalog.catalog import Catalog
from renga.routing.router import Router
from renga.services.batches.batch_service import BatchService
from renga.services.batches.batch_worker import BatchWorker, cut_parts, place_of
from renga.services.batches.part_runner import BUDGET_WAIT_S, BatchPart, BatchRunner
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.batch_audit import make_requests
from renga.testing.fake_clock import ToldClock
from renga.testing.provider_calls import make_settings
from renga.testing.servers.scripted_upstream import HoldOpen, Reply, ScriptedUpstream, Send, json_reply

OWNER = Owner("key_a")
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 100, "output_tokens": 10},
}
COST_NANO_USD = 75_000
"""Half of 100 tokens in at $1 and 10 out at $5 a million."""
DONE = json_reply(msgspec.json.encode(MESSAGE))


def refuse(status: int, kind: str) -> Reply:
    return json_reply(b'{"type":"error","error":{"type":"%b","message":"no"}}' % kind.encode(), status)


class Nobody:
    """A worker that runs nothing."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None: ...

    def tidy(self) -> None: ...


@dataclass
class Shop:
    """Everything that batches need, by hand."""

    upstream: ScriptedUpstream
    database: Database
    handle: DatabaseHandle
    answering: Services
    clock: ToldClock
    folder: Path
    runner: BatchRunner = field(init=False)
    batches: BatchService = field(init=False)

    def __post_init__(self) -> None:
        self.runner = BatchRunner(self.answering, self.handle, 4)
        self.batches = BatchService(self.handle, self.clock, BatchSettings(), Nobody())

    async def make(self, count: int = 1, requests: list[Any] | None = None) -> MessageBatch:
        body = msgspec.json.encode({"requests": requests or make_requests(count, prefixes=1)})
        return await self.batches.create(OWNER, BatchTerms("2023-06-01"), pieces(body))

    async def run(self, batch: MessageBatch) -> float | None:
        return await self.runner.run(BatchPart(batch.id, 0, 100))

    async def results(self, batch: MessageBatch) -> list[Any]:
        """What has an outcome."""
        found = await self.handle.run(lambda database: database.batches.read_results(batch.id, after=-1, limit=1000))
        return [msgspec.json.decode(each.result or b"null") for each in found]

    def rows(self) -> list[tuple[str, str, int | None]]:
        return sorted((row.request_id, row.status, row.cost_nano_usd) for row in self.database.ledger.read_rows())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def open_shop(stack: AsyncExitStack, folder: Path, limits: LimitSettings) -> Shop:
    upstream = await stack.enter_async_context(ScriptedUpstream())
    database = stack.enter_context(open_database(f"sqlite:///{folder / 'renga.db'}"))
    clock, metrics = ToldClock(), RequestMetrics()
    settings = {"up": make_settings("anthropic", upstream.url, {"max_retries": 0})}
    prices = PriceBook(settings, {"up/*": PriceSettings(input_usd=1.0, output_usd=5.0)})
    quotas = Quotas(limits, prices, metrics, clock)
    quotas.load((), database)
    ledger = Ledger(prices, metrics, clock, queue_rows=1000, spool=None, quotas=quotas)
    providers = {"up": AnthropicProvider("up", settings["up"], "secret", clock)}
    for provider in providers.values():
        await provider.start()
        stack.push_async_callback(provider.stop)
    catalog = Catalog({"haiku": (Target("up", "m"),), "sonnet": (), "opus": ()}, providers, ())
    handle = DatabaseHandle()
    handle.open(database)
    return Shop(
        upstream, database, handle, Services(providers, Router(catalog, providers), ledger, clock), clock, folder
    )


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        opened = await open_shop(stack, tmp_path, LimitSettings())
        yield opened
        await opened.runner.stop()
        assert opened.answering.ledger.open_leases == 0


async def test_what_may_pass_is_tried_again_and_billed_once(shop: Shop) -> None:
    batch = await shop.make()
    shop.upstream.script(refuse(529, "overloaded_error"), refuse(500, "api_error"), DONE)
    assert await shop.run(batch) is None
    (result,) = await shop.results(batch)
    assert result["message"]["usage"] == {"input_tokens": 100, "output_tokens": 10, "service_tier": "batch"}
    assert shop.rows() == [(f"{batch.id}-0", "succeeded", COST_NANO_USD)]
    assert len([each for each in shop.clock.slept_s if each > 0.3]) == 2


async def test_what_will_not_pass_is_an_error_at_once(shop: Shop) -> None:
    batch = await shop.make()
    shop.upstream.script(refuse(400, "invalid_request_error"))
    assert await shop.run(batch) is None
    (result,) = await shop.results(batch)
    assert result["error"]["error"]["type"] == "invalid_request_error"
    assert shop.rows() == [(f"{batch.id}-0", "failed", 0)]


async def test_an_upstream_that_stays_broken_is_given_up_and_one_that_is_full_is_not(shop: Shop) -> None:
    batch = await shop.make()
    shop.upstream.script(*[refuse(529, "overloaded_error")] * 15, *[refuse(500, "api_error")] * 10)
    assert await shop.run(batch) is None
    (result,) = await shop.results(batch)
    assert result["error"]["error"]["type"] == "api_error"
    assert max(shop.clock.slept_s) <= 60 * 1.25


async def test_a_spent_budget_lets_a_part_rest(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        shop = await open_shop(stack, tmp_path, LimitSettings(budget_usd_per_day=0.000_07))
        shop.runner = BatchRunner(shop.answering, shop.handle, 1)
        shop.upstream.always("/v1/messages", DONE)
        batch = await shop.make(8)
        assert await shop.run(batch) == BUDGET_WAIT_S
        assert [status for _, status, _ in shop.rows()] == ["succeeded"]
        assert len(await shop.results(batch)) == 1
        shop.clock.advance(86_400)
        assert await shop.run(batch) == BUDGET_WAIT_S
        assert len(await shop.results(batch)) == 2
        await shop.runner.stop()


async def test_a_key_s_stored_answers_serve_its_batches(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        shop = await open_shop(stack, tmp_path, LimitSettings())
        shop.answering = replace(shop.answering, responses=ResponseCache(CacheSettings(), shop.clock))
        shop.runner = BatchRunner(shop.answering, shop.handle, 1)
        shop.upstream.script(DONE, DONE, DONE)
        twice = [*make_requests(1, prefixes=1), {**make_requests(1, prefixes=1)[0], "custom_id": "again"}]
        body = msgspec.json.encode({"requests": twice})
        for terms, asked in ((BatchTerms("2023-06-01", response_cache=True), 1), (BatchTerms("2023-06-01"), 3)):
            batch = await shop.batches.create(OWNER, terms, pieces(body))
            assert await shop.run(batch) is None
            assert len(shop.upstream.requests) == asked
            first, second = (each["message"] for each in await shop.results(batch))
            assert first["content"] == second["content"] == MESSAGE["content"]
            assert first["usage"]["service_tier"] == second["usage"]["service_tier"] == "batch"
        await shop.runner.stop()
        assert sorted(cost for _, _, cost in shop.rows()) == [0, COST_NANO_USD, COST_NANO_USD, COST_NANO_USD]


async def test_requests_start_in_the_order_of_their_prefixes(shop: Shop) -> None:
    shop.upstream.always("/v1/messages", DONE)
    shop.runner = BatchRunner(shop.answering, shop.handle, 1)
    batch = await shop.make(requests=make_requests(9, prefixes=3))
    assert await shop.run(batch) is None
    systems = [msgspec.json.decode(request.body)["system"] for request in shop.upstream.requests]
    assert len(systems) == 9
    assert sum(before != after for before, after in pairwise(systems)) == 2


async def test_what_is_stopped_keeps_what_was_answered_and_leaves_no_row_of_the_rest(shop: Shop) -> None:
    gate = asyncio.Event()
    batch = await shop.make(6)
    shop.upstream.script(DONE, DONE, *[Reply(steps=(HoldOpen(gate), Send(b"")))] * 4)
    running = asyncio.create_task(shop.run(batch))
    await shop.upstream.received(6)
    while len(await shop.results(batch)) < 2:
        await asyncio.sleep(0)
    await shop.runner.stop()
    assert await running is not None
    assert len(await shop.results(batch)) == 2
    assert [status for _, status, _ in shop.rows()] == ["succeeded", "succeeded"]
    assert await shop.run(batch) is not None, "nothing is started once it is stopped"
    gate.set()


async def test_a_cancelled_batch_starts_nothing_more(shop: Shop) -> None:
    gate = asyncio.Event()
    batch = await shop.make(8)
    shop.upstream.script(*[Reply(steps=(HoldOpen(gate), *DONE.steps), framing="close")] * 8)
    running = asyncio.create_task(shop.run(batch))
    await shop.upstream.received(4)
    shop.runner.close(batch.id, grace_s=60.0)
    gate.set()
    assert await running is None
    assert len(shop.upstream.requests) == 4
    assert len(await shop.results(batch)) == 4


@pytest.mark.parametrize("end", ["expire", "cancel"])
async def test_batches_end_where_nobody_runs_them(shop: Shop, end: str) -> None:
    """A process that only takes batches in still keeps their time, and needs no schedule for it."""
    settings = BatchSettings(run=False)
    place = place_of(f"sqlite:///{shop.folder / 'renga.db'}", shop.folder)
    worker = BatchWorker(shop.answering, shop.handle, settings, place)
    batch = await shop.make(3)
    if end == "cancel":
        await shop.batches.cancel(OWNER, batch.id)
    else:
        shop.clock.advance(86_400)
    await worker.start()
    while (found := await shop.batches.find(OWNER, batch.id)).processing_status != "ended":
        await asyncio.sleep(0)
    await worker.stop()
    assert (found.request_counts.expired, found.request_counts.canceled) == ((3, 0) if end == "expire" else (0, 3))
    lines = [line async for line in await shop.batches.open_results(OWNER, batch.id)]
    assert b"".join(lines).count(b'"expired"' if end == "expire" else b'"canceled"') == 3
    assert not worker.started


async def test_what_is_deleted_is_gone_from_the_database(shop: Shop) -> None:
    place = place_of(f"sqlite:///{shop.folder / 'renga.db'}", shop.folder)
    worker = BatchWorker(shop.answering, shop.handle, BatchSettings(run=False), place)
    batches = BatchService(shop.handle, shop.clock, BatchSettings(), worker)
    batch = await shop.make(3)
    await shop.batches.cancel(OWNER, batch.id)
    await worker.start()
    while (await batches.find(OWNER, batch.id)).processing_status != "ended":
        await asyncio.sleep(0)
    assert _count_requests(shop.database) == 3
    await batches.delete(OWNER, batch.id)
    while _count_requests(shop.database):
        await asyncio.sleep(0)
    await worker.stop()


async def test_an_upload_that_fails_leaves_nothing(shop: Shop) -> None:
    body = msgspec.json.encode({"requests": make_requests(600)})
    with pytest.raises(InvalidRequest, match="ends too early"):
        await shop.batches.create(OWNER, BatchTerms("2023-06-01"), pieces(body[:-50]))
    page = await shop.handle.run(lambda database: database.batches.count_queued(OWNER))
    assert page == 0
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while _count_requests(shop.database):
                await asyncio.sleep(0.01)
    assert _count_requests(shop.database) == 0


async def test_one_owner_s_open_requests_are_bounded(shop: Shop) -> None:
    batches = BatchService(shop.handle, shop.clock, BatchSettings(max_queued=5), Nobody())
    body = msgspec.json.encode({"requests": make_requests(3)})
    await batches.create(OWNER, BatchTerms("2023-06-01"), pieces(body))
    with pytest.raises(RateLimited):
        await batches.create(OWNER, BatchTerms("2023-06-01"), pieces(body))
    await batches.create(Owner("key_b"), BatchTerms("2023-06-01"), pieces(body))


async def test_results_that_are_too_old_say_so(shop: Shop) -> None:
    batch = await shop.make()
    shop.upstream.script(DONE)
    await shop.run(batch)
    await shop.handle.run(lambda database: database.batch_runs.end_batch(batch.id, 1))
    await shop.handle.run(lambda database: database.batch_runs.archive_results(2**60, 1))
    assert (await shop.batches.find(OWNER, batch.id)).results_url is None
    with pytest.raises(NotFound, match="were deleted"):
        await shop.batches.open_results(OWNER, batch.id)


def test_parts_cover_a_batch() -> None:
    from renga.domain.batches import BatchRow

    batch = BatchRow("b", "k", None, 0, 1, BatchTerms("2023-06-01"), request_count=600)
    assert [(part.offset, part.count) for part in cut_parts(batch)] == [(0, 250), (250, 250), (500, 250)]


def test_the_schedule_is_beside_the_database(tmp_path: Path) -> None:
    assert place_of("sqlite:////a/b.db", tmp_path).schedule_url == "sqlite:////a/b-batches.db"
    assert place_of("postgresql://x/y", tmp_path).schedule_url == "postgresql://x/y"
    assert place_of("sqlite:///:memory:", tmp_path).schedule_url == f"sqlite:///{tmp_path}/renga-batches.db"


def _count_requests(database: Database) -> int:
    from sqlalchemy import func, select

    from renga.store.tables import definitions

    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(definitions.batch_requests)).scalar_one()
