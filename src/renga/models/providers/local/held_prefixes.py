"""What the local engine still holds of earlier prompts, and what of it a request may claim.

Owns: a mirror of the engine's cache of key-value blocks, and the time a request is held back so that it learns nothing
of other owners.
Must never know: texts, HTTP, how prompts are made.
Invariants: a claim never goes beyond what the mirror holds; the mirror is no larger than the engine's cache and forgets
all when the engine's process ends; a prefix that only others sent is neither counted nor felt.

The engine (OpenVINO GenAI 2026.4.1) shares blocks of 32 tokens between all requests whose tokens are the same up to
there, throws the least recently used away, and tells nothing of it: no count of cached tokens, no salt. Hence a mirror,
kept by the same rule. It is a little pessimistic: blocks count from the first token of an answer on.

Time is the other way to learn what others sent: a prompt whose first 4,096 tokens are held begins 15 times sooner. So a
request waits, before it goes to the engine, for as long as the engine would have worked on what its owner did not send:
see docs/decisions/0017.
"""

from __future__ import annotations

from array import array
from collections import deque
from hashlib import blake2b
from statistics import median

from msgspec import Struct

from renga.clock import Clock
from renga.models.cache.prefix_cache import CacheSplit, MarkedPrompt, PrefixCache
from renga.models.engine.loading.model_loader import KV_BLOCK_TOKENS

_UNKNOWN_CAPACITY_BLOCKS = 4_096
"""Where a model does not say how large its blocks are."""

_SLACK_TOKENS = 2 * KV_BLOCK_TOKENS
"""How far a claim may end behind the last whole block that is held: its own block is never whole."""

_SPEED_TOKENS = 64
"""The fewest newly computed tokens from which a speed is read."""

_SPEEDS = 15
"""Of so many prompts the median counts: one that met a restart of the engine says nothing of its speed."""

_HIDDEN_MAX_S = 60.0


class PrefixReading(Struct, frozen=True):
    """A request's claim on the cache, from before it goes to the engine until its answer begins."""

    cache_owner: str
    blocks: tuple[bytes, ...]
    """What each whole block of its prompt is known by."""
    held: int
    """Leading blocks that the engine holds."""
    prompt: MarkedPrompt | None
    """None where it has no breakpoint."""
    split: CacheSplit
    wait_s: float
    """How long it is held back."""
    prompt_tokens: int


class HeldPrefixes:
    """The engine's cache as its clients may see it. Use it from one event loop."""

    def __init__(self, clock: Clock, minimum_tokens: int, *, hides: bool) -> None:
        self._cache = PrefixCache(clock, minimum_tokens)
        self._clock = clock
        self._hides = hides
        self._capacity = _UNKNOWN_CAPACITY_BLOCKS
        self._owners: dict[bytes, set[str]] = {}
        """Who sent each block that is held; least recently used first."""
        self._deaths = 0
        self._token_s: deque[float] = deque(maxlen=_SPEEDS)
        """What a new token took in the last prompts."""

    def fit(self, capacity_blocks: int, deaths: int) -> None:
        """Keep up with the engine: its size, and whether it began anew."""
        self._capacity = capacity_blocks or _UNKNOWN_CAPACITY_BLOCKS
        if deaths != self._deaths:
            self._deaths = deaths
            self._owners.clear()
            self._cache.forget()

    def read_prefix(self, cache_owner: str, token_ids: list[int], prompt: MarkedPrompt | None) -> PrefixReading:
        """What a prompt finds, and how long it has to wait for that."""
        blocks = _hash_blocks(token_ids)
        held = self._count_held(blocks, None)
        own = self._count_held(blocks[:held], cache_owner)
        split = CacheSplit(len(token_ids))
        if prompt is not None:
            split = self._cache.read(cache_owner, prompt, own * KV_BLOCK_TOKENS + _SLACK_TOKENS)
        hidden_tokens = (held - own) * KV_BLOCK_TOKENS if self._hides else 0
        wait_s = min(_HIDDEN_MAX_S, hidden_tokens * median(self._token_s)) if hidden_tokens and self._token_s else 0.0
        return PrefixReading(cache_owner, blocks, held, prompt, split, wait_s, len(token_ids))

    def begin_answer(self, reading: PrefixReading, first_token_s: float, *, alone: bool) -> None:
        """The answer has begun, this long after the prompt went to the engine: its prompt is held now.

        `alone`: no other request ran beside it, so that its time tells how fast the engine reads.
        """
        new_tokens = reading.prompt_tokens - reading.held * KV_BLOCK_TOKENS
        if new_tokens >= _SPEED_TOKENS and (alone or not self._token_s):
            self._token_s.append(first_token_s / new_tokens)
        self._keep(reading.blocks, reading.cache_owner)
        if reading.prompt is not None:
            self._cache.write(reading.cache_owner, reading.prompt)

    def end_answer(self, cache_owner: str, token_ids: list[int]) -> None:
        """An answer has ended: prompt and answer together are what a next turn begins with."""
        self._keep(_hash_blocks(token_ids), cache_owner)

    async def claim(self, cache_owner: str, token_ids: list[int], prompt: MarkedPrompt | None) -> PrefixClaim:
        """Read the cache for a prompt that is to go to the engine, and wait as long as it has to."""
        reading = self.read_prefix(cache_owner, token_ids, prompt)
        if reading.wait_s:
            await self._clock.sleep(reading.wait_s)
        return PrefixClaim(self, reading, self._clock)

    def _count_held(self, blocks: tuple[bytes, ...], cache_owner: str | None) -> int:
        """Leading blocks that are held; with an owner, those that it sent itself."""
        for index, block in enumerate(blocks):
            owners = self._owners.get(block)
            if owners is None or (cache_owner is not None and cache_owner not in owners):
                return index
        return len(blocks)

    def _keep(self, blocks: tuple[bytes, ...], cache_owner: str) -> None:
        for block in blocks:
            owners = self._owners.pop(block, None) or set()
            owners.add(cache_owner)
            self._owners[block] = owners
        while len(self._owners) > self._capacity:
            del self._owners[next(iter(self._owners))]


class PrefixClaim:
    """One request's use of the cache. Made when it goes to the engine; `begin_answer` once its first token is there."""

    def __init__(self, prefixes: HeldPrefixes, reading: PrefixReading, clock: Clock) -> None:
        self.split = reading.split
        self._prefixes = prefixes
        self._reading = reading
        self._clock = clock
        self._sent_ns = clock.monotonic_ns()

    def begin_answer(self, *, alone: bool) -> None:
        """The first token is there. `alone`: no other request was with the engine."""
        self._prefixes.begin_answer(self._reading, (self._clock.monotonic_ns() - self._sent_ns) / 1e9, alone=alone)

    def end_answer(self, token_ids: list[int]) -> None:
        """The engine works on it no more; these are its prompt's tokens and its answer's."""
        self._prefixes.end_answer(self._reading.cache_owner, token_ids)


def _hash_blocks(token_ids: list[int]) -> tuple[bytes, ...]:
    """What each whole block of a prompt is known by, and with it all that stands before it. Cost: 0.8 us a block."""
    data = array("I", token_ids).tobytes()
    size = KV_BLOCK_TOKENS * array("I").itemsize
    link = b""
    links: list[bytes] = []
    for start in range(0, len(data) - size + 1, size):
        link = blake2b(link + data[start : start + size], digest_size=16).digest()
        links.append(link)
    return tuple(links)
