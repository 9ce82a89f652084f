"""The prompt cache's counts, held against a slow reading of the documentation's sentences."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from renga.models.cache.prefix_cache import CacheMark, CacheSplit, MarkedPrompt, PrefixCache, minimum_tokens
from renga.testing.fake_clock import ToldClock

MINIMUM = 100


class Block(Struct, frozen=True):
    """A block of a prompt in these tests: what it says, and whether a breakpoint stands on it."""

    name: str
    tokens: int
    ttl_s: int = 0
    """0: no breakpoint."""


def mark_prompt(blocks: list[Block], rest_tokens: int = 0) -> MarkedPrompt:
    chain: list[bytes] = []
    marks: list[CacheMark] = []
    link, tokens = b"", 0
    for index, block in enumerate(blocks):
        link = sha256(link + block.name.encode() + b"/%d" % block.tokens).digest()
        chain.append(link)
        tokens += block.tokens
        if block.ttl_s:
            marks.append(CacheMark(index, tokens, block.ttl_s == 3600))
    return MarkedPrompt(tuple(chain), tuple(marks), tokens + rest_tokens)


class Written(Struct):
    """What the oracle remembers of one write: the very blocks."""

    cache_owner: str
    blocks: list[tuple[str, int]]
    ttl_s: int
    used_at_s: float


class Oracle:
    """The documentation's sentences, one after another, over a plain list of whole prefixes."""

    def __init__(self) -> None:
        self.written: list[Written] = []

    def lookup(self, cache_owner: str, prefix: list[Block], now_s: float) -> Written | None:
        plain = [(block.name, block.tokens) for block in prefix]
        for entry in self.written:
            if entry.cache_owner == cache_owner and entry.blocks == plain and now_s < entry.used_at_s + entry.ttl_s:
                return entry
        return None

    def ask(self, cache_owner: str, blocks: list[Block], rest_tokens: int, now_s: float) -> CacheSplit:
        def tokens_to(end: int) -> int:
            return sum(block.tokens for block in blocks[:end])

        # "Shorter prompts cannot be cached, even if marked with cache_control."
        ends = [end for end in range(1, len(blocks) + 1) if blocks[end - 1].ttl_s and tokens_to(end) >= MINIMUM]
        total = tokens_to(len(blocks)) + rest_tokens
        if not ends:
            return CacheSplit(total)
        # "The system checks at most 20 positions per breakpoint, counting the breakpoint itself as the first."
        windows = {end: [at for at in range(end, end - 20, -1) if at >= 1] for end in ends}
        hits = [at for window in windows.values() for at in window if self.lookup(cache_owner, blocks[:at], now_s)]
        a = tokens_to(max(hits)) if hits else 0
        # "The cache is refreshed for no additional cost each time the cached content is used."
        for end in {*(end for end in ends if hits and end <= max(hits)), *([max(hits)] if hits else [])}:
            used = self.lookup(cache_owner, blocks[:end], now_s)
            if used is not None:
                used.used_at_s = now_s
        # "B: the highest 1-hour cache_control block after A (or A); C: the last cache_control block."
        b = max([a, *(tokens_to(end) for end in ends if blocks[end - 1].ttl_s == 3600)])
        c = tokens_to(max(ends))
        # "Cache writes happen only at your breakpoint."
        for end in ends:
            if self.lookup(cache_owner, blocks[:end], now_s) is None:
                plain = [(block.name, block.tokens) for block in blocks[:end]]
                self.written.append(Written(cache_owner, plain, blocks[end - 1].ttl_s, now_s))
        return CacheSplit(total - c, a, c - b, b - a)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, list[Block], int, float]:
    """An owner, a prompt of few different blocks, tokens behind it, and the seconds that passed before."""
    cache_owner = draw(st.sampled_from(["key_a", "key_b"]))
    branch = draw(st.sampled_from(["x", "y"]))
    turns = draw(st.integers(1, 45))
    fork = draw(st.integers(0, 45))
    sizes = (30, 60, 200)
    blocks = [Block(f"{branch if at >= fork else 'x'}{at}", sizes[at % 3]) for at in range(turns)]
    places = sorted(draw(st.lists(st.integers(0, turns - 1), max_size=4, unique=True)))
    hours = draw(st.integers(0, len(places)))
    for order, place in enumerate(places):
        blocks[place] = Block(blocks[place].name, blocks[place].tokens, 3600 if order < hours else 300)
    return (
        cache_owner,
        blocks,
        draw(st.integers(0, 50)),
        draw(st.sampled_from([0.0, 1.0, 200.0, 299.0, 300.0, 1000.0, 3600.0])),
    )


@given(st.lists(requests(), min_size=1, max_size=12))
def test_counts_are_those_of_the_documentation(asked: list[tuple[str, list[Block], int, float]]) -> None:
    clock = ToldClock()
    cache, oracle = PrefixCache(clock, MINIMUM), Oracle()
    for cache_owner, blocks, rest_tokens, passed_s in asked:
        clock.ns += round(passed_s * 1e9)
        prompt = mark_prompt(blocks, rest_tokens)
        split = cache.read(cache_owner, prompt)
        cache.write(cache_owner, prompt)
        assert split == oracle.ask(cache_owner, blocks, rest_tokens, clock.ns / 1e9)
        counted = split.input_tokens + split.read_tokens + split.written_5m_tokens + split.written_1h_tokens
        assert counted == prompt.total_tokens
        assert min(split.input_tokens, split.read_tokens, split.written_5m_tokens, split.written_1h_tokens) >= 0


SYSTEM = Block("system", 5000, 300)
QUESTION = Block("question", 40)


def ask(
    cache: PrefixCache, blocks: list[Block], cache_owner: str = "key_a", held_tokens: int | None = None
) -> CacheSplit:
    prompt = mark_prompt(blocks)
    split = cache.read(cache_owner, prompt, held_tokens)
    cache.write(cache_owner, prompt)
    return split


def test_the_first_writes_and_the_second_reads():
    cache = PrefixCache(ToldClock(), MINIMUM)
    assert ask(cache, [SYSTEM, QUESTION]) == CacheSplit(40, 0, 5000)
    assert ask(cache, [SYSTEM, Block("another", 70)]) == CacheSplit(70, 5000)


def test_nothing_is_read_that_was_not_written_yet():
    cache = PrefixCache(ToldClock(), MINIMUM)
    prompt = mark_prompt([SYSTEM])
    assert cache.read("key_a", prompt) == cache.read("key_a", prompt) == CacheSplit(0, 0, 5000)


def test_keys_share_nothing():
    cache = PrefixCache(ToldClock(), MINIMUM)
    ask(cache, [SYSTEM], "key_a")
    assert ask(cache, [SYSTEM], "key_b").read_tokens == 0


def test_reading_renews():
    clock = ToldClock()
    cache = PrefixCache(clock, MINIMUM)
    ask(cache, [SYSTEM])
    for _ in range(3):
        clock.ns += 299_000_000_000
        assert ask(cache, [SYSTEM]).read_tokens == 5000
    clock.ns += 300_000_000_000
    assert ask(cache, [SYSTEM]) == CacheSplit(0, 0, 5000)


def test_twenty_blocks_back_and_no_further():
    def growing(count: int) -> list[Block]:
        return [SYSTEM, *(Block(str(at), 10) for at in range(count)), Block("end", 10, 300)]

    cache = PrefixCache(ToldClock(), MINIMUM)
    assert ask(cache, [SYSTEM]).read_tokens == 0
    plain = [Block("system", 5000), *growing(18)[1:]]
    assert ask(cache, plain).read_tokens == 5000  # 19 blocks behind the breakpoint: the twentieth position
    beyond = [Block("system", 5000), Block("z", 10), *growing(18)[1:]]
    assert ask(cache, beyond).read_tokens == 0


def test_what_the_engine_has_dropped_is_not_claimed():
    cache = PrefixCache(ToldClock(), MINIMUM)
    ask(cache, [SYSTEM])
    assert ask(cache, [SYSTEM], held_tokens=4000) == CacheSplit(0, 0, 5000)
    cache.forget()
    assert len(cache) == 0
    assert ask(cache, [SYSTEM]).read_tokens == 0


def test_memory_is_bounded_and_an_owner_displaces_itself_first():
    cache = PrefixCache(ToldClock(), 1)
    ask(cache, [SYSTEM], "key_b")
    for number in range(3000):
        ask(cache, [Block(str(number), 5, 300)], "key_a")
    assert len(cache) == 1025
    assert ask(cache, [SYSTEM], "key_b").read_tokens == 5000


def test_minimum_by_model():
    assert minimum_tokens("claude-haiku-5-5") == 512
    assert minimum_tokens("claude-haiku-4-5-20251001") == 4096
    assert minimum_tokens("claude-sonnet-4-5") == 1024
