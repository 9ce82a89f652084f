"""Which tiers a request may try one after the other: the cheapest that end at the top, in expected dollars.

Owns: what is learned of prices in service (prefixes held, answer lengths, how often a check passes), and the choice.
Must never know: where prices come from, what a check looks at.
Invariants: every cascade ends at the top tier, so the choice never costs quality, only money; where a price is not
known the cascade is left as it was asked for.

A tier that is expected to cost more than it saves is left out: one between that is nearly as dear as the top, or the
small one where the top still holds the conversation's prefix and reading it there is cheaper than reading all of it
anew below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from renga.clock import Clock
from renga.models.providers.provider_seam import Tier
from renga.protocols.messages.blocks import Base64Source, CacheControl, DocumentBlock, ImageBlock, TextBlock
from renga.protocols.messages.request import MessageRequest
from renga.routing.costs.cost_model import (
    Acceptance,
    CascadeStage,
    Lengths,
    Prefixes,
    PriceRow,
    StageLoad,
    cheapest_cascade,
    expect_cascade,
    price_attempt,
)
from renga.routing.plan import PlannedAttempt

BYTES_A_TOKEN = 4
"""About what English text has."""
MEDIA_TOKENS = 1_600
"""Of an image. Source: Messages API documentation, vision: (width x height) / 750, at most about 1,600."""
JUDGEMENT_TOKENS = 8
EXPLORE_EVERY = 20
"""Of the requests that skip the small tier for its price, one in so many tries it all the same: or nobody would ever
know that it has become better."""


class PriceSource(Protocol):
    """Prices as the plan needs them."""

    def row(self, target: str) -> PriceRow | None:
        """A target's prices today; None where they are not known."""
        ...


class RequestSize(Struct, frozen=True):
    """What of a request decides its price."""

    prompt_tokens: int
    max_tokens: int
    conversation: str
    caches: bool
    """Whether it asks for its prompt to be written to a cache."""


class CascadeChoice(Struct, frozen=True):
    """The tiers to try in order, and what that is expected to cost."""

    tiers: tuple[Tier, ...]
    cost_nano_usd: int | None
    """None: a price is not known."""
    top_nano_usd: int | None
    """What the top tier alone is expected to cost."""


class CascadeChooser:
    """Chooses, and learns from what was settled."""

    def __init__(self, prices: PriceSource, clock: Clock) -> None:
        self._prices = prices
        self.prefixes = Prefixes(clock)
        self.lengths = Lengths()
        self.acceptance = Acceptance()
        self._skipped = 0

    def choose(self, policy: str, stages: Sequence[PlannedAttempt], size: RequestSize) -> CascadeChoice:
        """The cheapest of the cascades that end at the last stage; each stage is a tier's first attempt.

        Cost: 10 us.
        """
        priced = tuple(self._price_stage(policy, stages, index, size) for index in range(len(stages)))
        whole = expect_cascade(priced)
        best = cheapest_cascade(priced, 1.0) if whole is not None else None
        names: dict[str, Tier] = {stage.tier: stage.tier for stage in stages if stage.tier is not None}
        if whole is None or best is None:
            return CascadeChoice(tuple(names.values()), None, priced[-1].cost_nano_usd)
        if best.stages[0].tier != priced[0].tier:
            self._skipped += 1
            if self._skipped % EXPLORE_EVERY == 0:
                best = whole
        return CascadeChoice(
            tuple(names[stage.tier] for stage in best.stages), best.cost_nano_usd, priced[-1].cost_nano_usd
        )

    def expect(self, target: str, size: RequestSize) -> int | None:
        """What one answer of a target is expected to cost; None where its price is not known."""
        return self._expect(target, size, self.lengths.expect(target, size.max_tokens))

    def _expect(self, target: str, size: RequestSize, output_tokens: int) -> int | None:
        row = self._prices.row(target)
        if row is None:
            return None
        held = self.prefixes.cached_tokens(size.conversation, target)
        prompt = max(size.prompt_tokens, held)
        return price_attempt(row, StageLoad(prompt, output_tokens, held, prompt - held if size.caches else 0))

    def _price_stage(
        self, policy: str, stages: Sequence[PlannedAttempt], index: int, size: RequestSize
    ) -> CascadeStage:
        attempt, is_last = stages[index], index == len(stages) - 1
        target = attempt.target.name
        accept = 1.0 if is_last else self.acceptance.ratio(policy, target)
        # An answer that passes counts as good as the top's: so every cascade of quality 1 ends at the top.
        quality = 1.0 if is_last else 0.0
        check = self._expect_check(attempt, size)
        cost = None if check is None else self.expect(target, size)
        return CascadeStage(str(attempt.tier), cost, check or 0, accept, 1.0, quality)

    def _expect_check(self, attempt: PlannedAttempt, size: RequestSize) -> int | None:
        check = attempt.check
        if check is None:
            return 0
        total = 0
        if "agreement" in check.policy.checks:
            second = self.expect((check.second or attempt.target).name, size)
            if second is None:
                return None
            total += second
        if check.judge is not None:
            judged = self._expect(check.judge.name, size, JUDGEMENT_TOKENS)
            if judged is None:
                return None
            total += judged
        return total


def read_size(request: MessageRequest, body_bytes: int, conversation: str) -> RequestSize:
    """What a request will move, guessed from its size: media is not counted by its bytes."""
    media_bytes = media = 0
    caches = isinstance(request.cache_control, CacheControl)
    if request.system is not None and not isinstance(request.system, str):
        caches = caches or any(isinstance(block.cache_control, CacheControl) for block in request.system)
    for turn in request.messages:
        if isinstance(turn.content, str):
            continue
        for block in turn.content:
            if isinstance(block, ImageBlock | DocumentBlock):
                if isinstance(block.source, Base64Source):
                    media_bytes += len(block.source.data)
                media += 1
            if isinstance(block, TextBlock | ImageBlock | DocumentBlock):
                caches = caches or isinstance(block.cache_control, CacheControl)
    tokens = max(1, body_bytes - media_bytes) // BYTES_A_TOKEN + media * MEDIA_TOKENS
    return RequestSize(tokens, request.max_tokens, conversation, caches)
