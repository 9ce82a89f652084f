"""Whatever the targets, the checks and the client do: one settling, and every token that was used is paid for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.pricing.price_book import PriceBook
from renga.clock import SystemClock
from renga.config import PolicySettings, PriceSettings
from renga.config.health import HealthSettings
from renga.domain.ledger import LedgerRow
from renga.errors import ApiError, InvalidRequest, Overloaded, RengaError
from renga.inference import Caller, InferenceRequest, Services, answer
from renga.metrics.request_metrics import RequestMetrics
from renga.models.providers.provider_seam import Capabilities, ProviderHealth, Target
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import Batch, Message, Usage
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.request import MessageRequest, Turn
from renga.routing.catalog.catalog import Catalog
from renga.routing.costs.cascade import CascadeChooser
from renga.routing.costs.price_rows import PriceRows
from renga.routing.policy.decision import Decider
from renga.routing.policy.policies import Policies
from renga.routing.router import Router
from renga.routing.targets.target_health import TargetHealth
from renga.store.database import Database

Deed = Literal["agree", "differ", "fault", "grade", "full", "refuse", "break", "silence", "crash"]
DEEDS: tuple[Deed, ...] = ("agree", "differ", "fault", "grade", "full", "refuse", "break", "silence", "crash")
TEXTS = {"agree": "It is 18.", "differ": "It is 19.", "fault": "", "grade": "97"}
NAMES = ("small", "spare", "second", "judge", "top")
TIERS = {"haiku": (Target("small", "m"), Target("spare", "m")), "sonnet": (), "opus": (Target("top", "m"),)}
PRICES = {f"{name}/*": PriceSettings(input_usd=1.0 + at, output_usd=5.0 + at) for at, name in enumerate(NAMES)}
FAILURES = {"full": Overloaded("full"), "refuse": InvalidRequest("no"), "silence": ApiError("nothing")}


class Player:
    """A target that does one deed, and notes what it has charged for."""

    def __init__(self, deed: Deed) -> None:
        self.deed: Deed = deed
        self.input_tokens = 0

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        if self.deed in FAILURES:
            raise FAILURES[self.deed]
        text = TEXTS.get(self.deed, "It is 18.")
        events = split(
            Message("m", "msg_1", content=(TextBlock(text),), stop_reason="end_turn", usage=Usage(100, output_tokens=9))
        )
        for at, event in enumerate(events):
            if at == 3 and self.deed == "break":
                return
            if at == 3 and self.deed == "crash":
                raise ValueError("words of the prompt")
            if at == 0:
                self.input_tokens += 100
            yield [event]
            await asyncio.sleep(0)

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(max_input_tokens=1000, max_output_tokens=1000)

    def health(self, model: str = "") -> ProviderHealth:
        return ProviderHealth(True)


class Story(Struct, frozen=True):
    """One request, and everybody's part in it."""

    deeds: dict[str, Deed]
    checks: tuple[Any, ...]
    streaming: Any
    streamed: bool
    reads: int | None
    """Batches that the client reads before it leaves; None: all."""
    patience: int | None
    """Turns of the loop until it leaves before the first event; None: it waits."""


STORIES = st.builds(
    Story,
    deeds=st.fixed_dictionaries({name: st.sampled_from(DEEDS) for name in NAMES}),
    checks=st.lists(st.sampled_from(["structural", "agreement", "judge"]), min_size=1, unique=True).map(tuple),
    streaming=st.sampled_from(["hold", "optimistic", "off"]),
    streamed=st.booleans(),
    reads=st.none() | st.integers(0, 9),
    patience=st.none() | st.integers(1, 40),
)


class Shelf:
    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []
        self.ledger = self

    def write_rows(self, rows: Sequence[LedgerRow]) -> None:
        self.rows += rows


async def play(story: Story) -> tuple[LedgerRow, dict[str, Player], Ledger]:
    clock, shelf = SystemClock(), Shelf()
    players = {name: Player(deed) for name, deed in story.deeds.items()}
    prices = PriceBook({}, PRICES)
    ledger = Ledger(prices, RequestMetrics(), clock, queue_rows=10, spool=None)
    policy = PolicySettings(
        checks=story.checks, streaming=story.streaming, second="second/m", judge="judge/m", seconds_max=2
    )
    policies = Policies({"auto": policy})
    providers = cast("Any", players)
    catalog = Catalog(TIERS, providers, (), policies.names)
    router = Router(catalog, providers, Decider(policies, CascadeChooser(PriceRows(prices, clock), clock)))
    health = TargetHealth(HealthSettings(), {}, clock)
    message = MessageRequest(model="auto", messages=(Turn("user", "How many?"),), max_tokens=50, stream=story.streamed)
    raw = msgspec.json.encode({"model": "auto", "max_tokens": 50, "messages": []})
    ask = InferenceRequest(message, raw, Caller("key"), "req", "messages", clock.monotonic_ns())
    task = asyncio.create_task(consume(ask, Services(providers, router, ledger, clock, health=health), story.reads))
    for _ in range(story.patience or 0):
        await asyncio.sleep(0)
    if story.patience is not None:
        task.cancel()
    with contextlib.suppress(RengaError, asyncio.CancelledError, ValueError):
        await task
    assert all(state.running == 0 for state in health.describe())
    ledger.run(cast("Database", shelf))
    (row,) = shelf.rows
    return row, players, ledger


async def consume(ask: InferenceRequest, parts: Services, reads: int | None) -> None:
    answered = await answer(ask, parts)
    try:
        taken = 0
        async for _ in answered:
            taken += 1
            if taken == reads:
                break
    finally:
        await answered.close()


@settings(max_examples=100, deadline=None)
@given(story=STORIES)
def test_one_settling_and_every_token_paid(story: Story) -> None:
    row, players, ledger = asyncio.run(play(story))
    assert ledger.open_leases == 0
    costs = [attempt.cost_nano_usd for attempt in row.attempts]
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs):
        assert row.cost_nano_usd == sum(known)
    else:
        assert row.cost_nano_usd is None
    charged = {f"{name}/m": player.input_tokens for name, player in players.items()}
    for target, tokens in charged.items():
        said = sum(attempt.input_tokens for attempt in row.attempts if attempt.target == target)
        # One that was stopped between its first event and our reading it is known to have run, and not at what price.
        stopped = any(attempt.target == target and attempt.cost_nano_usd is None for attempt in row.attempts)
        assert said == tokens or (stopped and said < tokens)
    if row.kept:
        assert row.tier == "haiku"
    if row.status == "succeeded" and row.check_cost_nano_usd is not None:
        winner = next(
            a for a in row.attempts if a.role == "answer" and f"{row.target}" == a.target and a.error_type is None
        )
        assert row.cost_nano_usd == row.check_cost_nano_usd + (winner.cost_nano_usd or 0)
