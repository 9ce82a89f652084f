"""Stored answers on the path: given once they were given before, kept when they end well, and the last resort."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.inference.book import MESSAGE, LedgerBook

from renga.accounting.pricing.price_book import PriceBook
from renga.config import CacheSettings
from renga.config.routing import PolicySettings
from renga.domain.reasons import render_reasons
from renga.errors import NotFound, Overloaded, RengaError
from renga.inference import Answer, Caller, InferenceRequest, Services, answer
from renga.models.cache.response_cache import ResponseCache
from renga.models.providers.provider_seam import Capabilities, ProviderHealth, Target
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Batch, Message
from renga.protocols.messages.events.message_split import split
from renga.routing.catalog.catalog import Catalog
from renga.routing.costs.cascade import CascadeChooser
from renga.routing.costs.price_rows import PriceRows
from renga.routing.policy.decision import Decider
from renga.routing.policy.policies import Policies
from renga.routing.router import Router
from renga.testing.fake_clock import ToldClock


class Moody:
    """A provider that answers, or fails, as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: RengaError | None = None
        self.message = MESSAGE

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        for event in split(self.message):
            yield [event]

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        return 7

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(max_input_tokens=1000, max_output_tokens=1000)

    def health(self, model: str = "") -> ProviderHealth:
        return ProviderHealth(True)

    async def models(self) -> tuple[str, ...]:
        return ()


class Scene:
    def __init__(self, **settings: Any) -> None:
        self.clock = ToldClock()
        self.provider = Moody()
        self.ledger = LedgerBook()
        providers = {"local": self.provider}
        catalog = Catalog({"haiku": (Target("local", "m"),)}, providers, ())
        responses = ResponseCache(structs.replace(CacheSettings(), **settings), self.clock)
        self.parts = Services(
            providers,
            Router(catalog, providers),
            self.ledger,  # type: ignore[arg-type]
            self.clock,
            responses=responses,
        )

    async def answer(
        self,
        *,
        key: str = "key_1",
        opted_in: bool = True,
        surface: str = "messages",
        batch: bool = False,
        **fields: Any,
    ) -> Answer:
        body = {"model": "haiku", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **fields}
        raw = msgspec.json.encode(body)
        caller = Caller(key, response_cache=opted_in)
        request = InferenceRequest(decode_request(raw, "2023-06-01"), raw, caller, "req_1", surface, 0)
        request = structs.replace(request, service_tier="batch" if batch else "standard")
        return await answer(request, self.parts)

    async def read(self, **wishes: Any) -> tuple[str | None, Message]:
        answered = await self.answer(**wishes)
        folder = MessageAccumulator()
        async for batch in answered:
            for event in batch:
                folder.add_event(event)
        await answered.close()
        assert not self.ledger.open
        return answered.cache_status, folder.message()


async def test_the_second_time_nobody_is_asked() -> None:
    scene = Scene()
    assert await scene.read() == ("miss", MESSAGE)
    assert await scene.read() == ("hit", MESSAGE)
    assert await scene.read(stream=True) == ("hit", MESSAGE)
    assert scene.provider.asked == 1
    first, hit, _ = scene.ledger.outcomes
    assert (first.target, hit.target, hit.tier, render_reasons(hit.reasons), hit.status) == (
        "local/m",
        None,
        None,
        "cache:hit",
        "succeeded",
    )
    assert (hit.usage, hit.attempts, hit.stop_reason, hit.message_id) == (None, (), "end_turn", "msg_1")


async def test_a_hit_names_who_gave_it_and_costs_nothing() -> None:
    scene = Scene()
    await scene.read()
    answered = await scene.answer()
    assert answered.target_name == "local/m"
    async for _ in answered:
        pass
    assert (await answered.close()).cost_nano_usd == 0


async def test_keys_share_nothing() -> None:
    scene = Scene()
    await scene.read(key="key_1")
    assert (await scene.read(key="key_2"))[0] == "miss"
    assert scene.provider.asked == 2


async def test_only_who_opted_in_is_given_stored_answers() -> None:
    scene = Scene()
    for _ in range(2):
        assert (await scene.read(opted_in=False))[0] is None
    everyone = Scene(responses=True)
    await everyone.read(opted_in=False)
    assert (await everyone.read(opted_in=False))[0] == "hit"
    assert (await everyone.read(surface="shadow"))[0] is None


async def test_a_policy_opts_its_name_in() -> None:
    scene = Scene()
    catalog = Catalog({"haiku": (Target("local", "m"),)}, scene.parts.providers, (), ("twice", "once"))
    policies = Policies({"twice": PolicySettings(response_cache=True), "once": PolicySettings()})
    prices = PriceRows(PriceBook({}, {}), scene.clock)
    decider = Decider(policies, CascadeChooser(prices, scene.clock))
    scene.parts = structs.replace(scene.parts, router=Router(catalog, scene.parts.providers, decider))
    for model, second in (("twice", "hit"), ("once", None), ("haiku", None)):
        await scene.read(opted_in=False, model=model)
        assert (await scene.read(opted_in=False, model=model))[0] == second
    with pytest.raises(NotFound):
        await scene.answer(opted_in=False, model="never")
    assert not scene.ledger.open


async def test_an_answer_that_did_not_end_well_is_not_kept() -> None:
    scene = Scene()
    scene.provider.message = structs.replace(MESSAGE, stop_reason="refusal")
    await scene.read()
    assert (await scene.read())[0] == "miss"


async def test_a_client_that_leaves_keeps_nothing_and_settles() -> None:
    scene = Scene()
    answered = await scene.answer()
    await anext(answered)
    await answered.close()
    assert scene.ledger.outcomes[-1].status == "canceled"
    assert (await scene.read())[0] == "miss"
    left = await scene.answer(stream=True)
    await left.close()
    assert (scene.ledger.outcomes[-1].status, render_reasons(scene.ledger.outcomes[-1].reasons)) == (
        "canceled",
        "cache:hit",
    )
    assert not scene.ledger.open


async def test_where_all_is_down_an_old_answer_will_do() -> None:
    scene = Scene(response_ttl_s=10.0, stale_if_error_s=60.0)
    await scene.read()
    scene.clock.advance(11.0)
    scene.provider.failure = Overloaded("busy")
    assert await scene.read() == ("stale", MESSAGE)
    stale = scene.ledger.outcomes[-1]
    assert (render_reasons(stale.reasons), stale.target, len(stale.attempts)) == ("tier:haiku;cache:stale", None, 1)
    with pytest.raises(Overloaded):
        await scene.read(batch=True)
    scene.provider.failure = None
    assert (await scene.read())[0] == "miss"
    scene.clock.advance(71.0)
    scene.provider.failure = Overloaded("busy")
    with pytest.raises(Overloaded):
        await scene.read()
    assert not scene.ledger.open
