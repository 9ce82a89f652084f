"""One conformance suite for every way to count limits: subclass `LimitsSuite`, give it a `counting` fixture.

Owns: what limits and budgets promise, as tests. Must never know: where they are counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.accounting.ledger.lease import Lease
from renga.accounting.limits.token_buckets import BudgetSpent, LimitReached
from renga.domain.keys import KeyLimits, KeyRow
from renga.errors import PermissionDenied
from renga.protocols.messages.events.event_types import Usage
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import DEAR, USD, LimitCounting, MeteredLedger, MeteredRequest, MeterSetup, read_state

Starter = Callable[[MeterSetup], Awaitable[MeteredLedger]]


class LimitsSuite:
    """Subclass it in a test module and give the subclass a `counting` fixture."""

    @pytest.fixture
    async def begin(self, counting: LimitCounting, tmp_path: Path) -> AsyncIterator[Starter]:
        from renga.store.database import open_database

        meters: list[MeteredLedger] = []
        with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:

            async def start(setup: MeterSetup) -> MeteredLedger:
                meter = MeteredLedger(setup, counting, setup.database or database)
                meters.append(meter)
                await meter.start()
                return meter

            yield start
            for meter in meters:
                await meter.stop()

    async def test_what_is_taken_and_what_stays(self, begin: Starter) -> None:
        meter = await begin(
            MeterSetup({"requests_per_minute": 10, "input_tokens_per_minute": 1000, "output_tokens_per_minute": 500})
        )
        lease = await meter.reserve(MeteredRequest(max_tokens=200))
        reading = read_state(lease)
        now_s = meter.clock.now_us() // 1_000_000
        assert reading.requests and reading.input_tokens and reading.output_tokens
        assert (reading.requests.remaining, reading.requests.full_s) == (9, now_s + 6)
        assert (reading.input_tokens.remaining, reading.input_tokens.full_s) == (900, now_s + 6)
        assert (reading.output_tokens.remaining, reading.output_tokens.full_s) == (300, now_s + 24)
        usage = Usage(40, cache_creation_input_tokens=10, cache_read_input_tokens=5000, output_tokens=20)
        meter.settle(lease, usage)
        for reading in (read_state(lease), await meter.state()):
            assert reading.requests and reading.input_tokens and reading.output_tokens
            # Cache reads count for nothing, and a request stays a request.
            assert reading.requests.remaining == 9
            left = (reading.input_tokens.remaining, reading.output_tokens.remaining)
            assert left == (950, 480)

    @pytest.mark.parametrize(
        ("limits", "asked", "named"),
        [
            ({"requests_per_minute": 3}, MeteredRequest(), "3 requests per minute"),
            ({"input_tokens_per_minute": 1200}, MeteredRequest(input_bytes=1596), "1,200 input tokens per minute"),
            ({"output_tokens_per_minute": 900}, MeteredRequest(max_tokens=300), "900 output tokens per minute"),
        ],
    )
    async def test_the_wait_is_exact(
        self, begin: Starter, limits: dict[str, float], asked: MeteredRequest, named: str
    ) -> None:
        meter = await begin(MeterSetup(limits))
        for _ in range(3):
            await meter.reserve(asked)
        refused = await meter.refusal(asked)
        assert refused.message == f"This key has reached its limit: {named}."
        assert (refused.retry_after_s, refused.status, refused.type) == (20, 429, "rate_limit_error")
        await meter.advance(19.9)
        await meter.refusal(asked)
        await meter.advance(0.1)
        await meter.reserve(asked)
        assert meter.ledger.open_leases == 4

    async def test_a_refusal_takes_nothing(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"requests_per_minute": 10, "output_tokens_per_minute": 100}))
        await meter.reserve(MeteredRequest(max_tokens=60))
        refused = [await meter.refusal(MeteredRequest(max_tokens=60)) for _ in range(5)][-1]
        for reading in (refused.state, await meter.state()):
            assert reading.requests and reading.output_tokens
            assert (reading.requests.remaining, reading.output_tokens.remaining) == (9, 40)

    async def test_so_many_run_at_once(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"concurrent_requests": 2}))
        first, second = await meter.reserve(), await meter.reserve()
        refused = await meter.refusal()
        assert "2 concurrent requests" in refused.message
        assert refused.retry_after_s == 1
        await meter.reserve(MeteredRequest(key="key_b"))
        meter.settle(first, None, "canceled")
        await meter.reserve()
        await meter.refusal()
        meter.settle(second, Usage(1, output_tokens=1))
        await meter.reserve()

    async def test_a_failed_request_gives_its_tokens_back(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"input_tokens_per_minute": 1000, "output_tokens_per_minute": 500}))
        lease = await meter.reserve(MeteredRequest(max_tokens=500))
        meter.settle(lease, None, "failed")
        reading = await meter.state()
        assert reading.tokens and reading.tokens.remaining == 1500

    async def test_more_than_was_taken_is_a_debt(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"output_tokens_per_minute": 60}))
        meter.settle(await meter.reserve(MeteredRequest(max_tokens=1000)), Usage(1, output_tokens=90))
        refused = await meter.refusal(MeteredRequest(max_tokens=1))
        assert refused.retry_after_s == 31

    # Workspaces

    async def test_the_keys_of_a_workspace_share_its_limits(self, begin: Starter) -> None:
        meter = await begin(
            MeterSetup({"requests_per_minute": 5}, {"ws": KeyLimits(requests_per_minute=6, concurrent_requests=7)})
        )
        for key in ("key_a", "key_b", "key_c"):
            for _ in range(2):
                await meter.reserve(MeteredRequest(key=key, workspace="ws"))
        refused = await meter.refusal(MeteredRequest(key="key_c", workspace="ws"))
        assert refused.message == "This key's workspace has reached its limit: 6 requests per minute."
        assert refused.retry_after_s == 10
        # The tighter one is told, and nothing was taken of either.
        assert refused.state.requests
        assert (refused.state.requests.limit, refused.state.requests.remaining) == (6, 0)
        outside = (await meter.state(MeteredRequest(key="key_c"))).requests
        assert outside and (outside.limit, outside.remaining) == (5, 3)

    async def test_a_key_at_its_limit_takes_nothing_of_its_workspace(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"requests_per_minute": 2}, {"ws": KeyLimits(requests_per_minute=10)}))
        asked = MeteredRequest(workspace="ws")
        await meter.reserve(asked)
        await meter.reserve(asked)
        refused = [await meter.refusal(asked) for _ in range(3)][-1]
        assert refused.message.startswith("This key has reached its limit: 2 ")
        common = (await meter.state(MeteredRequest(key="key_b", workspace="ws"))).requests
        assert common and common.remaining == 2, "of key_b's own, which is tighter"
        for _ in range(2):
            await meter.reserve(MeteredRequest(key="key_b", workspace="ws"))
        common = (await meter.state(MeteredRequest(key="key_c", workspace="ws"))).requests
        assert common and common.remaining == 2

    async def test_a_workspace_may_have_limits_where_keys_have_none(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({}, {"ws": KeyLimits(concurrent_requests=1, budget_nano_usd_per_day=USD)}))
        assert (await meter.reserve()).hold is None
        lease = await meter.reserve(MeteredRequest(workspace="ws"))
        assert "workspace" in (await meter.refusal(MeteredRequest(key="key_b", workspace="ws"))).message
        meter.settle(lease, DEAR)
        refused = await meter.refusal(MeteredRequest(key="key_b", workspace="ws"))
        assert refused.message == "This key's workspace has spent its budget of $1.00 a day."
        assert isinstance(refused, BudgetSpent)
        assert (await meter.reserve(MeteredRequest(key="key_b"))).hold is None

    async def test_of_two_limits_the_longer_wait_is_told(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"concurrent_requests": 1}, {"ws": KeyLimits(budget_nano_usd_per_day=USD)}))
        meter.settle(await meter.reserve(MeteredRequest(workspace="ws", key="key_b")), DEAR)
        await meter.reserve()
        refused = await meter.refusal(MeteredRequest(workspace="ws"))
        assert refused.retry_after_s == 12 * 3600

    # Batches

    async def test_batches_know_budgets_only(self, begin: Starter) -> None:
        limits = {
            "requests_per_minute": 2, "input_tokens_per_minute": 100, "output_tokens_per_minute": 100,
            "concurrent_requests": 1, "budget_usd_per_day": 1.0,
        }  # fmt: skip
        meter = await begin(MeterSetup(limits))
        batch = MeteredRequest(tier="batch", max_tokens=1000, input_bytes=4000)
        leases = [await meter.reserve(batch) for _ in range(5)]
        state = await meter.state()
        assert state.requests and state.tokens
        assert (state.requests.remaining, state.tokens.remaining) == (2, 200)
        live = await meter.reserve()
        for lease in leases:
            assert meter.settle(lease, DEAR) == USD // 2
        meter.settle(live, Usage(1, output_tokens=1))
        assert "budget of $1.00 a day" in (await meter.refusal(batch)).message

    async def test_batches_hold_half_the_price(self, begin: Starter) -> None:
        # 2,000 tokens at twice $1 and 100,000 at $5: $0.504, $0.252 in a batch.
        meter = await begin(MeterSetup({"budget_usd_per_day": 0.5}))
        batch = MeteredRequest(tier="batch", max_tokens=100_000, input_bytes=3998)
        await meter.reserve(batch)
        await meter.reserve(batch)
        assert "running requests" in (await meter.refusal(batch)).message
        await meter.reserve(replace(batch, key="key_b", tier="standard"))
        assert "running requests" in (await meter.refusal(replace(batch, key="key_b"))).message

    # Budgets

    async def test_a_spent_budget_refuses_until_the_day_ends(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"budget_usd_per_day": 2.5}))
        for _ in range(3):
            await meter.ask(DEAR)
        refused = await meter.refusal()
        assert isinstance(refused, BudgetSpent)
        assert refused.error_code == "enforced_spend_limit_reached"
        assert refused.message == "This key has spent its budget of $2.50 a day."
        assert refused.retry_after_s == 12 * 3600
        assert refused.state.budget_left_nano_usd == -USD // 2
        await meter.ask(DEAR, MeteredRequest(key="key_b"))
        await meter.advance(12 * 3600 - 1)
        await meter.refusal()
        await meter.advance(1)
        await meter.ask(DEAR)

    async def test_the_month_outlasts_the_day(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"budget_usd_per_day": 2, "budget_usd_per_month": 3}))
        await meter.ask(DEAR)
        await meter.ask(DEAR)
        assert "a day" in (await meter.refusal()).message
        await meter.advance(86_400)
        await meter.ask(DEAR)
        refused = await meter.refusal()
        assert "a month" in refused.message
        end = meter.clock.now().timestamp() + (refused.retry_after_s or 0)
        assert datetime.fromtimestamp(end, UTC) == datetime(2026, 12, 1, tzinfo=UTC)
        await meter.advance(86_400 * 10)
        await meter.ask(DEAR)

    async def test_running_requests_hold_what_they_may_cost(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"budget_usd_per_day": 1}))
        # 2 tokens of input at $2, 200,000 of output at $5: $1.000004.
        lease = await meter.reserve(MeteredRequest(max_tokens=200_000, input_bytes=2))
        refused = await meter.refusal()
        assert "running requests may spend" in refused.message
        assert (refused.retry_after_s, refused.error_code) == (1, None)
        meter.settle(lease, Usage(1, output_tokens=10))
        await meter.reserve()

    async def test_a_budget_is_passed_by_one_request(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"budget_usd_per_day": 1}))
        leases: list[Lease] = []
        with pytest.raises(LimitReached):
            for _ in range(1000):
                leases.append(await meter.reserve(MeteredRequest(max_tokens=30_000, input_bytes=2)))
        # $0.150004 each: six fit, the seventh finds something left.
        assert len(leases) == 7
        for lease in leases:
            meter.settle(lease, Usage(1, output_tokens=30_000))
        assert -USD * 3 // 20 < ((await meter.refusal()).state.budget_left_nano_usd or 0) < 0

    async def test_soft_budgets_are_told(self, begin: Starter, caplog: pytest.LogCaptureFixture) -> None:
        meter = await begin(
            MeterSetup({"warn_usd_per_day": 2, "warn_usd_per_month": 4}, {"ws": KeyLimits(warn_nano_usd_per_day=USD)})
        )
        asked = MeteredRequest(workspace="ws")
        await meter.ask(DEAR, asked)
        assert (await meter.state(asked)).warnings == ("workspace day",)
        await meter.ask(DEAR, asked)
        assert (await meter.state()).warnings == ("day",)
        assert (await meter.state(asked)).warnings == ("day", "workspace day")
        await meter.ask(DEAR)
        await meter.ask(DEAR)
        assert (await meter.state()).warnings == ("day", "month")
        await meter.advance(86_400)
        assert (await meter.state(asked)).warnings == ("month",)
        text = "past its soft budget"
        assert [record.args for record in caplog.records if text in record.msg] == [
            ("workspace", "ws", "$1.00", "day"), ("key", "key_a", "$2.00", "day"), ("key", "key_a", "$4.00", "month")
        ]  # fmt: skip

    async def test_dollars_need_prices(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"warn_usd_per_day": 1}, {"ws": KeyLimits(budget_nano_usd_per_day=USD)}))
        unknown = MeteredRequest(target="vllm/unknown")
        with pytest.raises(PermissionDenied, match="This key's workspace has a budget in dollars, and vllm/unknown"):
            await meter.reserve(replace(unknown, workspace="ws"))
        assert meter.ledger.open_leases == 0
        await meter.reserve(unknown)
        await meter.reserve(MeteredRequest(target="local/hokku", workspace="ws"))

    async def test_a_request_that_nobody_counted_costs_its_input(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"budget_usd_per_day": 1}))
        meter.settle(await meter.reserve(MeteredRequest(input_bytes=1998, max_tokens=1000)), None, "canceled")
        # 1,000 tokens at twice $1 per million, the price of writing them to a cache for an hour.
        assert (await meter.state()).budget_left_nano_usd == USD - 2_000_000

    async def test_what_the_ledger_knows_counts(self, begin: Starter) -> None:
        """Of yesterday, of today, of a workspace; and a budget that comes later knows what was spent without it."""
        clock = ToldClock()
        before = await begin(MeterSetup({}, clock=clock))
        await before.ask(DEAR, MeteredRequest(workspace="ws"))
        await before.advance(86_400)
        await before.ask(DEAR, MeteredRequest(workspace="ws"))
        before.ledger.run(before.database)
        await before.advance(10)
        await before.stop()
        after = await begin(
            MeterSetup(
                {"budget_usd_per_day": 3, "budget_usd_per_month": 10},
                {"ws": KeyLimits(budget_nano_usd_per_month=4 * USD)},
                clock=clock,
            )
        )
        assert (await after.state()).budget_left_nano_usd == 2 * USD
        assert (await after.state(MeteredRequest(key="key_b", workspace="ws"))).budget_left_nano_usd == 2 * USD
        await after.ask(DEAR)
        assert (await after.state()).budget_left_nano_usd == USD
        await after.advance(86_400)
        assert (await after.state()).budget_left_nano_usd == 3 * USD
        await after.advance(86_400 * 20)
        assert (await after.state(MeteredRequest(workspace="ws"))).budget_left_nano_usd == 3 * USD

    async def test_limits_may_change_while_requests_run(self, begin: Starter) -> None:
        meter = await begin(MeterSetup({"requests_per_minute": 1}))
        await meter.reserve()
        await meter.refusal()
        row = KeyRow("key_a", "team", b"", "", 0, limits=KeyLimits(requests_per_minute=3))
        await meter.load(row)
        await meter.reserve()
        await meter.reserve()
        assert "3 requests per minute" in (await meter.refusal()).message
        await meter.load(replace(row, limits=KeyLimits(requests_per_minute=None)))
        assert (await meter.reserve()).hold is None
