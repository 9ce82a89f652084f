"""Budgets in dollars: what is held while requests run, and who is refused or warned."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.accounting.conftest import PRICED
from tests.accounting.limits.meter import DEAR, USD, Meter, state

from renga.accounting.ledger.lease import Lease
from renga.accounting.limits.token_buckets import BudgetSpent, LimitReached
from renga.errors import PermissionDenied
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request


def test_a_spent_budget_refuses_until_the_day_ends(clock: ToldClock) -> None:
    meter = Meter(clock, budget_usd_per_day=2.5)
    for _ in range(3):
        meter.ask(DEAR)
    with pytest.raises(BudgetSpent, match=r"\$2\.50 a day") as refused:
        meter.reserve()
    assert refused.value.error_code == "enforced_spend_limit_reached"
    assert refused.value.retry_after_s == 12 * 3600
    assert refused.value.state.budget_left_nano_usd == -USD // 2
    meter.ask(DEAR, key="key_b")
    clock.advance(12 * 3600 - 1)
    with pytest.raises(BudgetSpent):
        meter.reserve()
    clock.advance(1)
    meter.ask(DEAR)
    assert meter.count("renga_limited_requests_total", limit="budget_day", owner="key") == 2


def test_the_month_outlasts_the_day(clock: ToldClock) -> None:
    meter = Meter(clock, budget_usd_per_day=2, budget_usd_per_month=3)
    meter.ask(DEAR)
    meter.ask(DEAR)
    clock.advance(86_400)
    meter.ask(DEAR)
    with pytest.raises(BudgetSpent, match="a month") as refused:
        meter.reserve()
    end = clock.now().timestamp() + (refused.value.retry_after_s or 0)
    assert datetime.fromtimestamp(end, UTC) == datetime(2026, 12, 1, tzinfo=UTC)
    clock.advance(refused.value.retry_after_s or 0)
    meter.reserve()


def test_what_runs_is_held_at_its_worst_price(clock: ToldClock) -> None:
    """$1 is left; the first request may cost $1 and more, so the second waits for it although nothing is spent yet."""
    meter = Meter(clock, budget_usd_per_day=1)
    first = meter.reserve(max_tokens=200_000)
    with pytest.raises(LimitReached, match="running requests") as refused:
        meter.reserve()
    assert not isinstance(refused.value, BudgetSpent)
    assert refused.value.retry_after_s == 1
    meter.settle(first, Usage(10, output_tokens=10))
    meter.reserve()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), cents=st.integers(1, 60))
def test_a_budget_is_passed_by_at_most_one_request(seed: int, cents: int) -> None:
    chance, clock = random.Random(seed), ToldClock()
    meter = Meter(clock, budget_usd_per_day=cents / 100)
    running: list[tuple[Lease, Usage, int]] = []
    spent, dearest = 0, 0
    for _ in range(150):
        if chance.random() < 0.6:
            max_tokens, input_bytes = chance.randrange(1, 40_000), chance.randrange(0, 100_000)
            usage = Usage(chance.randrange(0, input_bytes // 2 + 1), output_tokens=chance.randrange(0, max_tokens + 1))
            try:
                running.append((meter.reserve(max_tokens, input_bytes), usage, max_tokens))
            except LimitReached:
                continue
        elif running:
            lease, usage, _ = running.pop(chance.randrange(len(running)))
            cost = meter.settle(lease, usage) or 0
            spent, dearest = spent + cost, max(dearest, cost)
    for lease, usage, _ in running:
        cost = meter.settle(lease, usage) or 0
        spent, dearest = spent + cost, max(dearest, cost)
    assert spent <= cents * USD // 100 + dearest


def test_dollars_need_prices(clock: ToldClock) -> None:
    hard, soft = Meter(clock, budget_usd_per_day=1), Meter(clock, warn_usd_per_day=1)
    with pytest.raises(PermissionDenied, match="vllm/unknown has no known price") as refused:
        hard.reserve(target="vllm/unknown")
    assert '[prices."vllm/unknown"]' in refused.value.sentence()
    assert hard.ledger.open_leases == 0
    soft.reserve(target="vllm/unknown")
    hard.reserve(target="local/hokku")


def test_a_request_that_nobody_counted_costs_its_input(clock: ToldClock) -> None:
    meter = Meter(clock, budget_usd_per_day=1)
    lease = meter.reserve(input_bytes=1998, max_tokens=1000)
    meter.settle(lease, None, status="canceled")
    # 1,000 tokens at twice $1 per million, the price of writing them to a cache for an hour.
    assert state(lease).budget_left_nano_usd == USD - 2_000_000


def test_a_request_that_grows_holds_what_it_may_cost_then(clock: ToldClock) -> None:
    """As where it names a file: many small requests that name large ones must not pass a budget together."""
    meter = Meter(clock, budget_usd_per_day=2)
    small = make_request("req_small", Caller("key_a"), input_bytes=396)
    lease = meter.ledger.extend(meter.ledger.reserve(small), small.with_body(small.message, b" " * 8_000_000))
    meter.ledger.hold_price(lease, [PRICED])
    with pytest.raises(LimitReached):
        meter.reserve()
    assert meter.ledger.open_leases == 1
    meter.settle(lease, DEAR)
    meter.ask(DEAR)


def test_a_soft_budget_warns_once_a_period(clock: ToldClock, caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(clock, warn_usd_per_day=2, warn_usd_per_month=4)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            meter.ask(DEAR)
        assert caplog.text.count("soft budget") == 1
        assert "$2.00 this day" in caplog.text
        lease = meter.reserve()
        assert (state(lease).warnings, state(lease).budget_left_nano_usd) == (("day",), None)
        meter.settle(lease, DEAR)
        assert state(lease).warnings == ("day", "month")
        clock.advance(86_400)
        assert state(lease).warnings == ("month",)
    assert caplog.text.count("soft budget") == 2
    assert meter.count("renga_budget_warnings_total", period="day") == 1


# Keys and the ledger's memory
