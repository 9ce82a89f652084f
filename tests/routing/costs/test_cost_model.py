"""Dollars: prices by length, prefixes by the clock, cascades without wasted stages."""

import pytest

from renga.routing.costs.cost_model import (
    CascadeStage,
    Lengths,
    Prefixes,
    PriceRow,
    PriceStep,
    StageLoad,
    cheapest_cascade,
    expect_cascade,
    price_attempt,
    worth_escalating,
)
from renga.testing.fake_clock import ToldClock

HAIKU = PriceRow("haiku", (PriceStep(100_000, 100, 500, 10, 125, 200), PriceStep(None, 500, 2_500, 50, 625, 1_000)))
SONNET = PriceRow("sonnet", (PriceStep(None, 2_000, 10_000, 100, 2_500, 4_000),))
OPUS = PriceRow("opus", (PriceStep(None, 4_000, 20_000, 200, 5_000, 8_000),))


def stage(tier: str, cost: int | None, accept: float = 1.0, quality: float = 1.0) -> CascadeStage:
    return CascadeStage(tier, cost, 0, accept, 0.98, quality)


def test_a_long_prompt_is_billed_whole_at_its_step() -> None:
    assert price_attempt(HAIKU, StageLoad(100_000, 10)) == 100_000 * 100 + 10 * 500
    assert price_attempt(HAIKU, StageLoad(100_001, 10)) == 100_001 * 500 + 10 * 2_500


def test_a_length_without_a_price_is_not_free() -> None:
    short = PriceRow("short", (PriceStep(1_000, 1, 1, 1, 1, 1),))
    assert price_attempt(short, StageLoad(1_001, 1)) is None
    assert expect_cascade((stage("haiku", None), stage("opus", 5))) is None


def test_cached_and_written_tokens_have_their_own_prices() -> None:
    load = StageLoad(prompt_tokens=1_000, output_tokens=0, cached_tokens=600, written_tokens=300)
    assert price_attempt(OPUS, load) == 600 * 200 + 300 * 5_000 + 100 * 4_000
    hour = StageLoad(prompt_tokens=1_000, output_tokens=0, written_tokens=1_000, hour=True)
    assert price_attempt(OPUS, hour) == 1_000 * 8_000


@pytest.mark.parametrize(("cached_tokens", "loses"), [(2_600, False), (2_800, True)])
def test_leaving_opus_for_one_turn_pays_only_below_2_7_k_cached_tokens(cached_tokens: int, loses: bool) -> None:
    stay = price_attempt(OPUS, StageLoad(cached_tokens + 500, 500, cached_tokens, 500))
    move = price_attempt(SONNET, StageLoad(cached_tokens + 500, 500, 0, cached_tokens + 500))
    assert stay is not None and move is not None
    assert (move > stay) == loses


def test_a_sonnet_rung_can_cost_more_than_opus_alone() -> None:
    with_sonnet = expect_cascade((stage("sonnet", 500, accept=0.4), stage("opus", 1_000)))
    alone = expect_cascade((stage("opus", 1_000),))
    assert with_sonnet is not None and alone is not None
    assert with_sonnet.cost_nano_usd > alone.cost_nano_usd


def test_the_cheapest_cascade_leaves_such_a_rung_out() -> None:
    stages = (
        stage("haiku", 25, 0.7, 0.8),
        stage("sonnet", 500, 0.4, 0.9),
        stage("opus", 1_000, 1.0, 0.98),
    )
    best = cheapest_cascade(stages, 0.97)
    assert best is not None
    assert [one.tier for one in best.stages] == ["haiku", "opus"]
    assert best.cost_nano_usd == 325
    assert cheapest_cascade(stages, 0.99) is None


def test_checks_are_paid_where_an_answer_is_checked() -> None:
    cascade = expect_cascade(
        (CascadeStage("haiku", 100, 50, 0.5, 1.0, 0.6), CascadeStage("opus", 1_000, 999, 1.0, 1.0, 1.0))
    )
    assert cascade is not None
    assert cascade.cost_nano_usd == 150 + 500


def test_a_request_that_no_tier_solves_is_not_escalated() -> None:
    assert worth_escalating(stage("haiku", 1, quality=0.2), stage("opus", 1_000, quality=0.9), 50)
    assert not worth_escalating(stage("haiku", 1, quality=0.05), stage("opus", 1_000, quality=0.06), 50)
    assert not worth_escalating(stage("haiku", 1, quality=0.2), stage("opus", None, quality=0.9), 50)


def test_a_prefix_is_held_until_its_time_has_passed() -> None:
    clock = ToldClock()
    prefixes = Prefixes(clock)
    prefixes.remember("c", "opus", 4_000, ttl_s=300)
    assert (prefixes.cached_tokens("c", "opus"), prefixes.cached_tokens("c", "haiku")) == (4_000, 0)
    clock.ns = 299 * 10**9
    assert prefixes.cached_tokens("c", "opus") == 4_000
    clock.ns = 300 * 10**9
    assert prefixes.cached_tokens("c", "opus") == 0


def test_lengths_start_at_the_prior_and_learn() -> None:
    lengths = Lengths()
    assert lengths.expect("haiku", 10_000) == 256
    assert lengths.expect("haiku", 100) == 100
    for _ in range(200):
        lengths.observe("haiku", 40)
    assert 40 < lengths.expect("haiku", 10_000) < 64
