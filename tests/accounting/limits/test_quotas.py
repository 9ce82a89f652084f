"""Limits and budgets on the ledger's path: exact refusals, exact corrections, nothing left over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.accounting.limits.meter import DEAR, LIMITED, USD, Meter, state

from renga.accounting.keys.key_ring import KeyRing, make_key
from renga.accounting.ledger.lease import Lease
from renga.accounting.ledger.spool import Spool
from renga.accounting.limits.token_buckets import BudgetSpent, LimitReached
from renga.config import load_config
from renga.domain.keys import KeyChange, KeyLimits
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.inference_request import Caller
from renga.store.database import Database, open_database
from renga.testing.fake_clock import ToldClock
from renga.testing.metering import make_request


def test_without_limits_nothing_is_held(clock: ToldClock) -> None:
    meter = Meter(clock)
    lease = meter.reserve(max_tokens=10**9)
    assert lease.hold is None
    assert meter.settle(lease, DEAR) == USD


def test_what_the_server_asks_on_its_own_account_has_no_limits(clock: ToldClock) -> None:
    meter = Meter(clock, requests_per_minute=1, budget_usd_per_day=0.0)
    for number in range(3):
        request = make_request(f"req_{number}", Caller("shadow"), surface="shadow")
        assert meter.ledger.reserve(request).hold is None


def test_what_is_taken_and_what_stays(clock: ToldClock) -> None:
    meter = Meter(clock, **LIMITED)
    lease = meter.reserve(max_tokens=200, input_bytes=396)
    reading = state(lease)
    assert reading.requests and reading.input_tokens and reading.output_tokens
    assert (reading.requests.remaining, reading.input_tokens.remaining) == (9, 900)
    assert (reading.output_tokens.remaining, reading.output_tokens.limit) == (300, 500)
    now_s = int(clock.now().timestamp())
    assert (reading.requests.full_s, reading.input_tokens.full_s) == (now_s + 6, now_s + 6)
    assert reading.output_tokens.full_s == now_s + 24
    meter.settle(lease, Usage(40, cache_creation_input_tokens=10, cache_read_input_tokens=5000, output_tokens=20))
    reading = state(lease)
    assert reading.requests and reading.input_tokens and reading.output_tokens
    # Cache reads count for nothing, and a request stays a request.
    assert (reading.requests.remaining, reading.input_tokens.remaining, reading.output_tokens.remaining) == (
        9,
        950,
        480,
    )


@pytest.mark.parametrize(
    ("limits", "terms", "named"),
    [
        ({"requests_per_minute": 3}, {}, "3 requests per minute"),
        ({"input_tokens_per_minute": 1200}, {"input_bytes": 1596}, "1,200 input tokens per minute"),
        ({"output_tokens_per_minute": 900}, {"max_tokens": 300}, "900 output tokens per minute"),
    ],
)
def test_the_wait_is_exact(clock: ToldClock, limits: dict[str, int], terms: dict[str, int], named: str) -> None:
    meter = Meter(clock, **limits)
    for _ in range(3):
        meter.reserve(**terms)
    with pytest.raises(LimitReached, match=named) as refused:
        meter.reserve(**terms)
    assert refused.value.retry_after_s == 20
    assert (refused.value.status, refused.value.type) == (429, "rate_limit_error")
    clock.advance(19.9)
    with pytest.raises(LimitReached):
        meter.reserve(**terms)
    clock.advance(0.1)
    meter.reserve(**terms)
    assert meter.count("renga_limited_requests_total", limit=next(iter(limits)), owner="key") == 2
    assert meter.ledger.open_leases == 4


def test_a_refusal_takes_nothing(clock: ToldClock) -> None:
    meter = Meter(clock, requests_per_minute=10, output_tokens_per_minute=100)
    lease = meter.reserve(max_tokens=60)
    for _ in range(5):
        with pytest.raises(LimitReached):
            meter.reserve(max_tokens=60)
    reading = state(lease)
    assert reading.requests and reading.output_tokens
    assert (reading.requests.remaining, reading.output_tokens.remaining) == (9, 40)


def test_so_many_run_at_once(clock: ToldClock) -> None:
    meter = Meter(clock, concurrent_requests=2)
    first, _ = meter.reserve(), meter.reserve()
    with pytest.raises(LimitReached, match="2 concurrent requests") as refused:
        meter.reserve()
    assert refused.value.retry_after_s == 1
    meter.reserve(key="key_b")
    meter.settle(first, None, status="canceled")
    meter.reserve()


def test_a_failed_request_gives_its_tokens_back(clock: ToldClock) -> None:
    meter = Meter(clock, **LIMITED)
    lease = meter.reserve(max_tokens=500)
    meter.settle(lease, None, status="failed")
    reading = state(lease)
    assert reading.tokens and reading.requests
    assert (reading.tokens.remaining, reading.requests.remaining) == (1500, 9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 40), parallel=st.integers(1, 12))
def test_under_concurrency_nothing_is_left_over(seed: int, limit: int, parallel: int) -> None:
    """Many requests at once, ending in any order and any way: at the end nothing runs and nothing is held."""
    chance, clock = random.Random(seed), ToldClock()
    meter = Meter(
        clock, requests_per_minute=limit, input_tokens_per_minute=limit * 100, output_tokens_per_minute=limit * 50,
        concurrent_requests=parallel, budget_usd_per_day=0.01,
    )  # fmt: skip
    running: list[Lease] = []
    admitted_ns: list[int] = []
    seen: Lease | None = None
    for _ in range(120):
        if chance.random() < 0.6:
            try:
                seen = meter.reserve(chance.randrange(1, 200), chance.randrange(0, 2000))
            except LimitReached as refusal:
                assert refusal.retry_after_s is not None and refusal.retry_after_s > 0
            else:
                running.append(seen)
                admitted_ns.append(clock.ns)
        elif running:
            usage = chance.choice([None, Usage(chance.randrange(0, 900), output_tokens=chance.randrange(0, 200))])
            status = chance.choice(["succeeded", "failed", "canceled", "partial"])
            meter.settle(running.pop(chance.randrange(len(running))), usage, status)
        assert len(running) <= parallel
        clock.advance(chance.choice([0, 0, 0.01, 1, 20]))
    for lease in running:
        meter.settle(lease, None, status="failed")
    for first, start_ns in enumerate(admitted_ns):
        for count, end_ns in enumerate(admitted_ns[first:], 1):
            assert count * 60_000_000_000 <= limit * (60_000_000_000 + end_ns - start_ns)
    assert seen is not None and seen.hold is not None
    assert (seen.hold.account.running, seen.hold.account.held_nano_usd, meter.ledger.open_leases) == (0, 0, 0)
    clock.advance(10_000)
    reading = state(seen)
    assert reading.requests and reading.tokens
    assert (reading.requests.remaining, reading.tokens.remaining) == (limit, limit * 150)


# Budgets


@pytest.fixture
def fresh(tmp_path: Path):
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        yield database


def make_ring(meter: Meter, database: Database) -> KeyRing:
    ring = KeyRing(meter.clock, quotas=meter.quotas)
    ring.opened(database)
    return ring


def test_a_key_has_limits_of_its_own(clock: ToldClock, fresh: Database) -> None:
    key = make_key("team", 0).row
    fresh.keys.create(key)
    meter = Meter(clock, requests_per_minute=1, concurrent_requests=5)
    ring = make_ring(meter, fresh)
    meter.reserve(key=key.key_id)
    with pytest.raises(LimitReached, match="1 requests per minute"):
        meter.reserve(key=key.key_id)
    fresh.keys.change(key.key_id, KeyChange(limits=KeyLimits(requests_per_minute=3)))
    ring.run(fresh)
    meter.reserve(key=key.key_id)
    meter.reserve(key=key.key_id)
    with pytest.raises(LimitReached, match="3 requests per minute"):
        meter.reserve(key=key.key_id)
    fresh.keys.change(key.key_id, KeyChange(limits=KeyLimits(requests_per_minute=None)))
    ring.run(fresh)
    meter.reserve(key=key.key_id)
    meter.reserve(key=key.key_id)
    with pytest.raises(LimitReached, match="5 concurrent"):
        meter.reserve(key=key.key_id)
    fresh.keys.change(key.key_id, KeyChange(limits=KeyLimits(requests_per_minute=None, concurrent_requests=None)))
    ring.run(fresh)
    assert meter.reserve(key=key.key_id).hold is None


def test_a_restart_forgets_no_spending(clock: ToldClock, fresh: Database, spool: Spool) -> None:
    """Of yesterday, of today, and what waits in the spool because the database was away when the server stopped."""
    limits = {"budget_usd_per_day": 3.0, "budget_usd_per_month": 10.0}
    before = Meter(clock, **limits)
    before.ask(DEAR)
    clock.advance(86_400)
    before.ask(DEAR)
    before.ledger.run(fresh)
    last = Meter(clock, spool, **limits)
    last.ask(DEAR)
    last.ledger.abandon()
    clock.advance(1)
    after = Meter(clock, spool, **limits)
    after.ledger.opened(fresh)
    make_ring(after, fresh)
    lease = after.reserve()
    assert state(lease).budget_left_nano_usd == USD
    after.settle(lease, DEAR)
    with pytest.raises(BudgetSpent, match="a day"):
        after.reserve()
    clock.advance(86_400)
    assert state(lease).budget_left_nano_usd == 3 * USD
    clock.advance(86_400 * 20)
    assert state(lease).budget_left_nano_usd == 3 * USD


def test_a_budget_set_while_the_server_runs_knows_what_was_spent(clock: ToldClock, fresh: Database) -> None:
    key = make_key("team", 0).row
    fresh.keys.create(key)
    earlier = Meter(clock)
    earlier.ask(DEAR, key=key.key_id)
    earlier.ledger.run(fresh)
    clock.advance(1)
    meter = Meter(clock)
    ring = make_ring(meter, fresh)
    meter.ask(DEAR, key=key.key_id)
    meter.ledger.run(fresh)
    meter.ask(DEAR, key=key.key_id)
    fresh.keys.change(key.key_id, KeyChange(limits=KeyLimits(budget_nano_usd_per_month=3 * USD)))
    ring.run(fresh)
    with pytest.raises(BudgetSpent, match=r"\$3\.00 a month"):
        meter.reserve(key=key.key_id)


def test_the_settings_of_the_guide_load(tmp_path: Path) -> None:
    guide = Path(__file__).parents[3] / "docs" / "guides" / "limits.md"
    file = tmp_path / "renga.toml"
    file.write_text(guide.read_text("utf-8").partition("```toml\n")[2].partition("```")[0])
    config = load_config(file, {})
    assert config.limits.requests_per_minute == 600
    assert config.limits.warn_usd_per_month == 200
    assert config.prices["vllm/*"].output_usd == 0
