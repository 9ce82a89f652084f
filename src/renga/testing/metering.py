"""A ledger with limits as one server has it, for tests: a clock that is told, requests without a path, a real database.

Must never know: where limits are counted.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
from msgspec import Struct
from msgspec.structs import replace

from renga.accounting.ledger.lease import AttemptRecord, Lease, RequestOutcome, Status
from renga.accounting.ledger.request_ledger import Ledger
from renga.accounting.limits.account import AccountContext
from renga.accounting.limits.quotas import Quotas
from renga.accounting.limits.shared.shared_limits import SharedLimits
from renga.accounting.limits.token_buckets import LimitReached, LimitState
from renga.accounting.pricing.price_book import PriceBook
from renga.config import LimitSettings, PriceSettings
from renga.domain.keys import KeyLimits, KeyRow
from renga.domain.reasons import Reason
from renga.domain.workspaces import WorkspaceRow
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller, InferenceRequest
from renga.protocols.messages.request import MessageRequest, ServiceTier, Turn
from renga.store.database import Database
from renga.testing.fake_clock import ToldClock

USD = 1_000_000_000
PRICED = "vllm/priced"
"""A target at $1 and $5 per million tokens."""
DEAR = Usage(100_000, output_tokens=180_000)
"""One dollar there."""


class LimitCounting(Protocol):
    """One way to count limits: in this process, or in Valkey."""

    def settings(self, settings: LimitSettings) -> LimitSettings:
        """Change the limit settings so that this way of counting is used."""
        ...

    def share(self, settings: LimitSettings, context: AccountContext) -> SharedLimits:
        """What servers share; not called where the settings name nothing."""
        ...

    async def set_time(self, now_us: int) -> None:
        """Let the counting side see a time of day."""
        ...


class MeterSetup(Struct, frozen=True):
    """The limits, database and clock that a metering test starts from."""

    limits: dict[str, float]
    """`[limits]`."""
    workspaces: dict[str, KeyLimits] = {}
    database: Database | None = None
    clock: ToldClock | None = None


class MeteredRequest(Struct, frozen=True):
    """The size, key and target of a request that a test makes."""

    max_tokens: int = 100
    input_bytes: int = 396
    key: str = "key_a"
    workspace: str | None = None
    target: str = PRICED
    tier: ServiceTier = "standard"


def make_request(
    request_id: str,
    caller: Caller,
    *,
    max_tokens: int = 100,
    input_bytes: int = 0,
    model: str = "haiku",
    stream: bool = False,
    surface: str = "messages",
    service_tier: ServiceTier = "standard",
) -> InferenceRequest:
    """A request with a body of so many bytes, of which a ledger reads no more than their number."""
    message = MessageRequest(model=model, messages=(Turn("user", "Hi"),), max_tokens=max_tokens, stream=stream)
    body = b" " * input_bytes
    return InferenceRequest(message, body, caller, request_id, surface, 0, service_tier=service_tier)


class MeteredLedger:
    """A ledger with limits, as one server has it. Rows stay in its queue until a test writes them."""

    def __init__(self, setup: MeterSetup, counting: LimitCounting, database: Database) -> None:
        self.clock = setup.clock or ToldClock()
        self.metrics = RequestMetrics()
        self.database = database
        self._counting = counting
        self._workspaces = setup.workspaces
        prices = PriceBook({}, {PRICED: PriceSettings(input_usd=1.0, output_usd=5.0)})
        settings = counting.settings(LimitSettings(**setup.limits))  # pyright: ignore[reportArgumentType]
        self.quotas = Quotas(settings, prices, self.metrics, self.clock, counting.share)
        self.ledger = Ledger(prices, self.metrics, self.clock, queue_rows=100_000, spool=None, quotas=self.quotas)
        self._number = 0

    async def start(self) -> None:
        """Everything that a server does before its first request."""
        await self._counting.set_time(self.clock.now_us())
        if self.quotas.shared is not None:
            await self.quotas.shared.start()
        if self._workspaces:
            known = {row.workspace_id for row in self.database.workspaces.read()}
            for name, limits in self._workspaces.items():
                if name not in known:
                    self.database.workspaces.create(WorkspaceRow(name, name, self.clock.now_us(), limits=limits))
        await self.load()

    async def load(self, *keys: KeyRow) -> None:
        """Load keys as the store thread of a server would."""
        self.quotas.load(keys, self.database)
        await asyncio.to_thread(self.quotas.run, self.database)

    async def stop(self) -> None:
        if self.quotas.shared is not None:
            await self.quotas.shared.stop()

    async def advance(self, seconds: float) -> None:
        """Let time pass on the test's clock and in Valkey."""
        self.clock.advance_us(int(seconds * 1_000_000))
        await self._counting.set_time(self.clock.now_us())

    async def reserve(self, asked: MeteredRequest | None = None) -> Lease:
        """Reserve a lease in the way the request path does."""
        asked = asked or MeteredRequest()
        self._number += 1
        lease = self.ledger.reserve(
            make_request(
                f"req_{id(self)}_{self._number}",
                Caller(asked.key, asked.workspace),
                max_tokens=asked.max_tokens,
                input_bytes=asked.input_bytes,
                service_tier=asked.tier,
            )
        )
        try:
            waiting = self.ledger.hold_price(lease, [asked.target])
            if waiting is not None:
                await waiting
        except LimitReached:
            self.ledger.drop(lease)
            raise
        except BaseException:
            self.settle(lease, None, "failed")
            raise
        return lease

    def settle(self, lease: Lease, usage: Usage | None = None, status: Status = "succeeded") -> int | None:
        outcome = RequestOutcome(
            status=status,
            target=PRICED,
            tier="haiku",
            reasons=(Reason("tier", "haiku"),),
            attempts=(AttemptRecord(PRICED, None, 1500),),
            usage=usage,
            stop_reason="end_turn",
            error_type=None,
            overhead_us=120,
            first_event_us=2000,
            total_us=9000,
        )
        return self.ledger.settle(lease, outcome)

    async def ask(self, usage: Usage, asked: MeteredRequest | None = None) -> None:
        self.settle(await self.reserve(asked), usage)

    async def refusal(self, asked: MeteredRequest | None = None) -> LimitReached:
        """The refusal that a request meets."""
        with pytest.raises(LimitReached) as refused:
            await self.reserve(asked)
        return refused.value

    async def state(self, asked: MeteredRequest | None = None) -> LimitState:
        """What the count says now: of a batch request that takes no tokens and is dropped."""
        base = asked or MeteredRequest()
        lease = await self.reserve(replace(base, max_tokens=0, input_bytes=0, target="local/free", tier="batch"))
        state = read_state(lease)
        self.ledger.drop(lease)
        return state


def read_state(lease: Lease) -> LimitState:
    """The limits that the client of this lease is told."""
    assert lease.hold is not None
    return lease.hold.read()
