"""The prompt cache as the API defines it: what a request reads from it, what it writes, and what it pays in full.

Owns: entries, their lives, and the three counts.
Must never know: what holds the keys and values (an engine does), texts, prices.
Invariants: input, read and written tokens are disjoint and add up to the prompt; an entry belongs to one owner and no
other owner's request can find, renew or see it; an entry is written only where a breakpoint stood, and found again from
at most 20 blocks behind one; memory is bounded, and an owner that fills it loses entries of its own first.

How a request is counted, with A the end of the longest prefix found, B the end of the last hour's breakpoint behind A
(else A), and C the end of the last breakpoint: A is read, A to B is written for an hour, B to C for five minutes, and
the rest is input.

Source: public documentation "Prompt caching": sections "How automatic prefix checking works", "Cache limitations",
"Mixing different TTLs", "Tracking cache performance"; docs/reference/messages-api.md, "Prompt caching".
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

from msgspec import Struct

from renga.clock import Clock

LOOK_BACK_BLOCKS = 20
"""Positions that are tried for each breakpoint, its own the first."""

TTL_NS = 300 * 1_000_000_000
HOUR_TTL_NS = 3600 * 1_000_000_000

MINIMUM_TOKENS: tuple[tuple[str, int], ...] = (
    ("claude-opus-4-8", 1024),
    ("claude-opus-4-7", 2048),
    ("claude-opus-4-6", 4096),
    ("claude-opus-4-5", 4096),
    ("claude-haiku-4-5", 4096),
    ("claude-sonnet-4", 1024),
    ("claude-sonnet-5", 1024),
)
"""The shortest prefix that is cached, by how the model's id begins; others: 512.

Source: docs/reference/messages-api.md, "Prompt caching".
"""

_ENTRIES_PER_OWNER = 1_024
_ENTRIES = 65_536
"""Both are far above what an engine's own cache can hold prefixes of, and about 20 MB at most."""


@lru_cache(maxsize=1_024)
def minimum_tokens(model: str) -> int:
    """The shortest prefix that a model of Anthropic's caches."""
    return next((tokens for prefix, tokens in MINIMUM_TOKENS if model.startswith(prefix)), 512)


class CacheMark(Struct, frozen=True):
    """A breakpoint in a prompt of tokens."""

    index: int
    """Of its block in the chain."""
    tokens: int
    """From the prompt's start to the end of its block. Never less than that of the mark before it."""
    hour: bool = False


class MarkedPrompt(Struct, frozen=True):
    """A prompt and where its prefix is to be cached."""

    chain: tuple[bytes, ...]
    """What the prefix that ends at each block is known by (`models/cache/prefix_chain.py`)."""
    marks: tuple[CacheMark, ...]
    total_tokens: int


class CacheSplit(Struct, frozen=True):
    """How the tokens of a prompt are counted. The four are disjoint."""

    input_tokens: int
    read_tokens: int = 0
    written_5m_tokens: int = 0
    written_1h_tokens: int = 0

    @property
    def written_tokens(self) -> int:
        return self.written_5m_tokens + self.written_1h_tokens


class _PrefixEntry(Struct):
    tokens: int
    ttl_ns: int
    expires_ns: int


class PrefixCache:
    """Which prefixes each owner has cached."""

    def __init__(self, clock: Clock, minimum: int) -> None:
        """`minimum` is the shortest prefix, in tokens, that is cached at all."""
        self._clock = clock
        self._minimum_tokens = minimum
        self._owners: OrderedDict[str, OrderedDict[bytes, _PrefixEntry]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Entries that are kept, expired ones that nobody has met yet included."""
        return self._count

    def read(self, cache_owner: str, prompt: MarkedPrompt, held_tokens: int | None = None) -> CacheSplit:
        """Find the longest cached prefix, renew what is used, and count the prompt.

        `held_tokens` is how much of the prompt the engine still holds; entries beyond it are forgotten.
        """
        marks = [mark for mark in prompt.marks if mark.tokens >= self._minimum_tokens]
        if not marks:
            return CacheSplit(prompt.total_tokens)
        found = self._find(cache_owner, prompt.chain, marks, held_tokens)
        end = marks[-1].tokens
        read = 0 if found is None else self._read_tokens(cache_owner, prompt.chain, marks, found)
        hours = max((mark.tokens for mark in marks if mark.hour), default=0)
        hours_end = max(read, hours)
        return CacheSplit(prompt.total_tokens - end, read, end - hours_end, hours_end - read)

    def write(self, cache_owner: str, prompt: MarkedPrompt) -> None:
        """Enter the prompt's breakpoints. Called when its answer begins: only then others can read them."""
        now_ns = self._clock.monotonic_ns()
        marks = [mark for mark in prompt.marks if mark.tokens >= self._minimum_tokens]
        if not marks:
            return
        entries = self._owners.setdefault(cache_owner, OrderedDict())
        self._owners.move_to_end(cache_owner)
        for mark in marks:
            key = prompt.chain[mark.index]
            known = entries.get(key)
            if known is not None and known.expires_ns > now_ns:
                continue  # it was read, or written by a request beside this one, and keeps its own time to live
            ttl_ns = HOUR_TTL_NS if mark.hour else TTL_NS
            self._count += known is None
            entries[key] = _PrefixEntry(mark.tokens, ttl_ns, now_ns + ttl_ns)
            entries.move_to_end(key)
        self._trim(cache_owner, entries, now_ns)

    def forget(self) -> None:
        """Forget every prefix, because the engine that held them is gone."""
        self._owners.clear()
        self._count = 0

    def _find(
        self, cache_owner: str, chain: tuple[bytes, ...], marks: list[CacheMark], held_tokens: int | None
    ) -> int | None:
        """The block at which the longest cached prefix ends."""
        entries = self._owners.get(cache_owner)
        if entries is None:
            return None
        now_ns = self._clock.monotonic_ns()
        for mark in reversed(marks):
            for index in range(mark.index, max(-1, mark.index - LOOK_BACK_BLOCKS), -1):
                entry = entries.get(chain[index])
                if entry is None:
                    continue
                if entry.expires_ns <= now_ns or (held_tokens is not None and entry.tokens > held_tokens):
                    del entries[chain[index]]
                    self._count -= 1
                    continue
                return index
        return None

    def _read_tokens(self, cache_owner: str, chain: tuple[bytes, ...], marks: list[CacheMark], found: int) -> int:
        """Renew the entries that are used, and give the length of the longest."""
        entries = self._owners[cache_owner]
        self._owners.move_to_end(cache_owner)
        now_ns = self._clock.monotonic_ns()
        for index in {*(mark.index for mark in marks if mark.index < found), found}:
            entry = entries.get(chain[index])
            if entry is not None and entry.expires_ns > now_ns:
                entry.expires_ns = now_ns + entry.ttl_ns
                entries.move_to_end(chain[index])
        # where a breakpoint stands at the very block, it knows better than the entry how long this prompt is there
        known = next((mark.tokens for mark in marks if mark.index == found), entries[chain[found]].tokens)
        return min(known, marks[-1].tokens)

    def _trim(self, cache_owner: str, entries: OrderedDict[bytes, _PrefixEntry], now_ns: int) -> None:
        """Drop what has expired at the old end, and what is too much: this owner's first."""
        while entries and next(iter(entries.values())).expires_ns <= now_ns:
            entries.popitem(last=False)
            self._count -= 1
        while len(entries) > _ENTRIES_PER_OWNER or (self._count > _ENTRIES and len(entries) > 1):
            entries.popitem(last=False)
            self._count -= 1
        while self._count > _ENTRIES:
            self._count -= len(self._owners.popitem(last=False)[1])
