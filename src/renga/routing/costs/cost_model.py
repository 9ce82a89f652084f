"""What a plan is expected to cost: dollars, not calls.

Owns: a request's price at a target, with its prompt's length and its cached prefix; the expected cost of a cascade;
which tiers a cascade does not need.
Must never know: where prices come from (`accounting/pricing/price_book.py` fills the rows), requests, answers.
Invariants: money is integer nano-dollars; an unknown price is None and makes every sum None, never 0.

The saving sits at the haiku border (20 : 1), not between the large tiers (2 : 1): a stage that is nearly as dear as the
next costs more than it saves, and a change of model in mid-conversation pays for the whole prefix again.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from renga.clock import Clock

PREFIXES_MAX = 50_000
LENGTH_PRIOR_TOKENS = 256
LENGTH_PRIOR_WEIGHT = 20.0
"""Until about 20 answers were seen, a target's length is drawn towards the prior."""
ACCEPT_PRIOR = 0.6
ACCEPT_PRIOR_WEIGHT = 20.0
ACCEPT_MEMORY = 400.0
"""A stage is tried until it has shown that its answers do not pass: at prices of 1 : 20 that takes long."""


class PriceStep(Struct, frozen=True):
    """Prices in nano-dollars per token, for prompts up to a length. Source: the dated price table."""

    up_to_tokens: int | None
    """None: any length."""
    input_nano_usd: int
    output_nano_usd: int
    cache_read_nano_usd: int
    cache_write_5m_nano_usd: int
    cache_write_1h_nano_usd: int


class PriceRow(Struct, frozen=True):
    """A target's prices: steps by the prompt's length, shortest first. A prompt's whole length is billed at its
    step.
    """

    target: str
    steps: tuple[PriceStep, ...]

    def step(self, prompt_tokens: int) -> PriceStep | None:
        """The step for a prompt; None where its length has no price."""
        for step in self.steps:
            if step.up_to_tokens is None or prompt_tokens <= step.up_to_tokens:
                return step
        return None


class StageLoad(Struct, frozen=True):
    """The tokens that one attempt is expected to read, cache and write."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    """Of the prompt, what this target still holds."""
    written_tokens: int = 0
    """Of the rest, what will be written to its cache."""
    hour: bool = False
    """Written for an hour, not five minutes."""


class CascadeStage(Struct, frozen=True):
    """One tier of a cascade, for one request."""

    tier: str
    cost_nano_usd: int | None
    check_nano_usd: int
    """Of verifying its answer; not paid on the last stage."""
    accept_ratio: float
    """The chance that its answer passes its check."""
    accepted_quality: float
    """The expected score of the answers that pass, 0..1."""
    quality: float
    """The expected score of all its answers: what counts where it is the last stage and nothing is checked."""


class Cascade(Struct, frozen=True):
    """Stages in order, and what they are expected to cost and give."""

    stages: tuple[CascadeStage, ...]
    cost_nano_usd: int
    quality: float


def price_attempt(row: PriceRow, load: StageLoad) -> int | None:
    """What one attempt costs, in nano-dollars; None where the price is not known."""
    step = row.step(load.prompt_tokens)
    if step is None:
        return None
    cached = min(load.cached_tokens, load.prompt_tokens)
    written = min(load.written_tokens, load.prompt_tokens - cached)
    plain = load.prompt_tokens - cached - written
    write = step.cache_write_1h_nano_usd if load.hour else step.cache_write_5m_nano_usd
    prompt = plain * step.input_nano_usd + cached * step.cache_read_nano_usd + written * write
    return prompt + load.output_tokens * step.output_nano_usd


def expect_cascade(stages: tuple[CascadeStage, ...]) -> Cascade | None:
    """The expected cost and quality of asking one stage after the other until an answer passes.

    None where a price is not known.
    """
    reached, cost, quality = 1.0, 0.0, 0.0
    for index, stage in enumerate(stages):
        if stage.cost_nano_usd is None:
            return None
        is_last = index == len(stages) - 1
        cost += reached * (stage.cost_nano_usd + (0 if is_last else stage.check_nano_usd))
        quality += reached * (stage.quality if is_last else stage.accept_ratio * stage.accepted_quality)
        reached *= 1.0 - stage.accept_ratio
    return Cascade(stages, round(cost), quality)


def cheapest_cascade(stages: tuple[CascadeStage, ...], quality_min: float) -> Cascade | None:
    """The cascade of least expected cost, among all that keep the order and end at the last stage or before, whose
    quality is at least `quality_min`; None where no priced cascade reaches it.

    Cost: 2^n for n tiers; n is 3.
    """
    best: Cascade | None = None
    for chosen in range(1, 1 << len(stages)):
        cascade = expect_cascade(tuple(stage for bit, stage in enumerate(stages) if chosen >> bit & 1))
        if cascade is None or cascade.quality < quality_min - 1e-12:
            continue
        if best is None or (cascade.cost_nano_usd, -cascade.quality) < (best.cost_nano_usd, -best.quality):
            best = cascade
    return best


def worth_escalating(small: CascadeStage, top: CascadeStage, nano_usd_per_point: int) -> bool:
    """Whether the top tier's expected gain pays for it. False for a request that no tier solves: both qualities are
    low.
    """
    if top.cost_nano_usd is None:
        return False
    return (top.quality - small.quality) * 100.0 * nano_usd_per_point > top.cost_nano_usd


class Prefixes:
    """What each target still holds of each conversation, by the providers' clocks. Bounded; the oldest go first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def remember(self, conversation: str, target: str, tokens: int, ttl_s: int = 300) -> None:
        """A target read or wrote `tokens` of a conversation's prefix: they stay for `ttl_s` from now."""
        key = (conversation, target)
        self._held[key] = (tokens, self._clock.monotonic_ns() + ttl_s * 1_000_000_000)
        self._held.move_to_end(key)
        if len(self._held) > PREFIXES_MAX:
            self._held.popitem(last=False)

    def cached_tokens(self, conversation: str, target: str) -> int:
        """What a target still holds; 0 once its time has passed."""
        tokens, until_ns = self._held.get((conversation, target), (0, 0))
        return tokens if until_ns > self._clock.monotonic_ns() else 0


class Lengths:
    """How long each target's answers are: a mean that starts at the prior and learns from every answer."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def observe(self, target: str, output_tokens: int) -> None:
        """Add the length of a finished answer to its target's average."""
        total, count = self._sums.get(target, (LENGTH_PRIOR_WEIGHT * LENGTH_PRIOR_TOKENS, LENGTH_PRIOR_WEIGHT))
        self._sums[target] = (total + output_tokens, count + 1.0)

    def expect(self, target: str, max_tokens: int) -> int:
        """The length to expect from a target, never above what was asked for."""
        total, count = self._sums.get(target, (float(LENGTH_PRIOR_TOKENS), 1.0))
        return min(max_tokens, round(total / count))


class Acceptance:
    """How often a stage's answers pass their check: a share that starts at the prior and follows the last hundreds."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[float, float]] = {}

    def observe(self, policy: str, target: str, *, accepted: bool) -> None:
        """Count whether a checked answer was accepted, forgetting old ones gradually."""
        key = (policy, target)
        passed, count = self._counts.get(key, (ACCEPT_PRIOR * ACCEPT_PRIOR_WEIGHT, ACCEPT_PRIOR_WEIGHT))
        if count >= ACCEPT_MEMORY:
            passed, count = passed * (ACCEPT_MEMORY - 1.0) / count, ACCEPT_MEMORY - 1.0
        self._counts[key] = (passed + accepted, count + 1.0)

    def ratio(self, policy: str, target: str) -> float:
        """The share of a target's answers that the policy is expected to accept."""
        passed, count = self._counts.get((policy, target), (ACCEPT_PRIOR, 1.0))
        return passed / count
