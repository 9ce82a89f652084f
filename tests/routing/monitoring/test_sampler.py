"""What is drawn: its share, its room, its dollars, its day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from renga.routing.monitoring.sampler import Sampler, SamplerTerms
from renga.testing.fake_clock import ToldClock
from renga.testing.suites.outcome_suite import make_outcome

DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
TERMS = SamplerTerms("shadow", "auto", "haiku", "opus", share=0.25, usd_per_day=0.000_001, concurrent_requests=100_000)


def spent(nano_usd: int | None, at: datetime = DAY):
    return replace(make_outcome("req_1"), second_nano_usd=nano_usd, time_us=int(at.timestamp() * 1_000_000))


def test_a_share_is_drawn() -> None:
    sampler = Sampler(TERMS, ToldClock(), random.Random(1).random)
    drawn = sum(sampler.sample() for _ in range(4_000))
    assert abs(drawn / 4_000 - 0.25) < 0.03 and sampler.running == drawn


def test_so_many_at_a_time() -> None:
    sampler = Sampler(replace(TERMS, share=1.0, concurrent_requests=2), ToldClock())
    assert [sampler.sample() for _ in range(3)] == [True, True, False]
    sampler.release()
    assert sampler.sample()


def test_a_days_dollars_end_with_the_day() -> None:
    clock = ToldClock()
    sampler = Sampler(replace(TERMS, share=1.0), clock)
    sampler.note_spent(spent(600))
    assert sampler.sample() and sampler.spent_nano_usd == 600
    sampler.note_spent(spent(600, DAY - timedelta(days=1)))
    assert sampler.sample(), "yesterday's dollars are not today's"
    sampler.note_spent(spent(400))
    assert not sampler.sample()
    clock.advance(86_400)
    assert sampler.sample() and sampler.spent_nano_usd == 0


def test_an_unknown_price_ends_the_drawing() -> None:
    sampler = Sampler(replace(TERMS, share=1.0), ToldClock())
    sampler.note_spent(spent(None))
    assert not sampler.sample()


def test_nothing_is_drawn_of_nothing() -> None:
    assert not Sampler(replace(TERMS, share=0.0), ToldClock(), lambda: 0.0).sample()
