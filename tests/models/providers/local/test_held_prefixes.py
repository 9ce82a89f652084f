"""The mirror of the engine's cache, without an engine."""

from __future__ import annotations

import random

import pytest

from renga.models.cache.prefix_cache import CacheMark, CacheSplit, MarkedPrompt
from renga.models.providers.local.held_prefixes import HeldPrefixes
from renga.testing.fake_clock import ToldClock

DRAW = random.Random(7)
PROMPT = [DRAW.randrange(1000) for _ in range(3200)]


def mirror(*, hides: bool = True) -> tuple[HeldPrefixes, ToldClock]:
    clock = ToldClock()
    prefixes = HeldPrefixes(clock, 512, hides=hides)
    prefixes.fit(1000, 0)
    return prefixes, clock


def marked(tokens: int = 3000) -> MarkedPrompt:
    return MarkedPrompt((b"prefix",), (CacheMark(0, tokens),), len(PROMPT))


async def send(
    prefixes: HeldPrefixes, clock: ToldClock, cache_owner: str, seconds: float = 0.5
) -> tuple[CacheSplit, float]:
    """A request whose first token takes this long: its counts, and how long it was held back."""
    before = sum(clock.slept_s)
    claim = await prefixes.claim(cache_owner, PROMPT, marked())
    waited = sum(clock.slept_s) - before
    clock.advance(seconds)
    claim.begin_answer(alone=True)
    claim.end_answer([*PROMPT, 1, 2, 3])
    return claim.split, waited


async def test_another_owner_waits_for_what_the_engine_would_have_read() -> None:
    prefixes, clock = mirror()
    assert await send(prefixes, clock, "key_a") == (CacheSplit(200, 0, 3000), 0)
    assert await send(prefixes, clock, "key_a", 0.01) == (CacheSplit(200, 3000), 0)
    split, waited = await send(prefixes, clock, "key_b", 0.01)
    assert split == CacheSplit(200, 0, 3000)
    assert waited == pytest.approx(0.5)
    assert (await send(prefixes, clock, "key_b", 0.01))[1] == 0


async def test_where_owners_trust_each_other_nobody_waits() -> None:
    prefixes, clock = mirror(hides=False)
    await send(prefixes, clock, "key_a")
    assert await send(prefixes, clock, "key_b", 0.01) == (CacheSplit(200, 0, 3000), 0)


async def test_one_odd_prompt_does_not_change_the_speed() -> None:
    prefixes, clock = mirror()
    for number in range(5):
        prefixes.fit(1000, number)  # a new engine each time, so that every prompt is new
        await send(prefixes, clock, "key_a", 100.0 if number == 3 else 0.5)
    assert (await send(prefixes, clock, "key_b"))[1] == pytest.approx(0.5)


async def test_what_the_engine_cannot_hold_is_not_claimed() -> None:
    prefixes, clock = mirror()
    prefixes.fit(60, 0)  # 1,920 tokens
    await send(prefixes, clock, "key_a")
    assert (await send(prefixes, clock, "key_a"))[0] == CacheSplit(200, 0, 3000)


async def test_a_new_engine_holds_nothing() -> None:
    prefixes, clock = mirror()
    await send(prefixes, clock, "key_a")
    prefixes.fit(1000, 1)
    assert (await send(prefixes, clock, "key_a"))[0] == CacheSplit(200, 0, 3000)
