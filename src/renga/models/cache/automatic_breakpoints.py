"""Breakpoints for clients that set none, where they pay.

Owns: what has been seen of each owner's prompts, how often they come back in time, and the arithmetic.
Must never know: how a body is written (`protocols/messages/edits/cache_control_insertion.py` does that), who the
target is beyond its model's name.
Invariants: a client that says anything of caching decides alone; at most three breakpoints; nothing is placed on what
was never seen to come back, unless such things usually do; owners share nothing; memory is bounded.

The arithmetic: a write costs a quarter more than plain input and a read nine tenths less. So a breakpoint pays where
the prefix is read again before its five minutes are over with a chance of more than 0.25 / 0.9 = 28 %. The chance is
counted by owner, model and kind of place: tools, system, the end of a conversation that has just begun, and of one that
goes on.

Source: docs/reference/messages-api.md, "Prompt caching"; prices: public documentation "Prompt caching", section
"Pricing".
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from typing import Literal, TypeAlias

from msgspec import Struct

from renga.clock import Clock
from renga.models.cache.prefix_cache import LOOK_BACK_BLOCKS, TTL_NS, minimum_tokens
from renga.models.cache.prefix_chain import link_blocks, render_block
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.rules.cache_breakpoints import PromptBlock, walk_blocks

WRITE_RATIO = 1.25
READ_RATIO = 0.1
"""Of the price of input. Source: as above."""

BREAK_EVEN = (WRITE_RATIO - 1) / (1 - READ_RATIO)

Place: TypeAlias = Literal["tools", "system", "opening", "ongoing"]

PRIORS: dict[Place, float] = {"tools": 0.25, "system": 0.25, "opening": 0.15, "ongoing": 0.5}
"""The chance that is taken for granted, with the weight of four prompts. Only of a conversation that goes on it is
above break-even: anything else must have come back once or twice before it is paid for."""

PRIOR_WEIGHT = 4.0

_BYTES_PER_TOKEN = 4
_SEEN = 32_768
_RATES = 4_096


class _Seen(Struct):
    """A prefix that may come back."""

    rate: _Rate
    last_ns: int


class _Rate(Struct):
    """How often prefixes of one kind came back in time."""

    place: Place
    came_back: float = 0.0
    counted: float = 0.0

    @property
    def chance(self) -> float:
        return (self.came_back + PRIOR_WEIGHT * PRIORS[self.place]) / (self.counted + PRIOR_WEIGHT)

    def count(self, *, came_back: bool) -> None:
        """Old counts fade: the last 200 prompts or so decide."""
        self.came_back = self.came_back * 0.995 + came_back
        self.counted = self.counted * 0.995 + 1


def pays(chance: float) -> bool:
    """Whether a breakpoint costs less than it is expected to save."""
    return chance > BREAK_EVEN


class AutomaticBreakpoints:
    """Chooses breakpoints, and learns from every prompt that it sees. Use it from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._rates: OrderedDict[tuple[str, str, Place], _Rate] = OrderedDict()

    def is_short(self, body_bytes: int, model: str) -> bool:
        """Whether no prompt in a body of this size can be long enough, so that there is nothing to choose or learn."""
        return 2 * body_bytes < minimum_tokens(model) * _BYTES_PER_TOKEN

    def choose(self, cache_owner: str, request: MessageRequest, model: str) -> tuple[PromptBlock, ...]:
        """The blocks on which a breakpoint pays; () where the client set its own.

        Cost: 2 us a block and 1 ms a megabyte.
        """
        if request.breakpoints or request.max_tokens == 0 or "thread" in request.required_features:
            return ()
        blocks = list(walk_blocks(request))
        # With its billing line, if it has one: an upstream may take the line for part of the prompt.
        rendered = [render_block(block, keep_billing=True) for block in blocks]
        salt = cache_owner.encode()
        chain = [salt + link for link in link_blocks(request, model, blocks, rendered)]
        sizes = list(accumulate(map(len, rendered)))
        chosen: list[PromptBlock] = []
        for index, place in self._places(blocks, chain):
            if sizes[index] < minimum_tokens(model) * _BYTES_PER_TOKEN:
                continue
            rate = self._rate(cache_owner, model, place)
            self._notice(chain[index], rate)
            if pays(rate.chance):
                chosen.append(blocks[index])
        return tuple(chosen)

    def _places(self, blocks: list[PromptBlock], chain: list[bytes]) -> list[tuple[int, Place]]:
        """Find the blocks of a prompt on which a breakpoint could be set."""
        found: dict[Place, int] = {}
        for index, block in enumerate(blocks):
            if block.can_be_marked:
                found["opening" if block.section == "messages" else block.section] = index
        last = found.get("opening")
        if last is not None:
            before = range(max(0, last - LOOK_BACK_BLOCKS + 1), last)
            earlier = next((chain[index] for index in reversed(before) if self._is_end(chain[index])), None)
            if earlier is not None:
                self._notice(earlier, self._seen[earlier].rate)
                del self._seen[earlier]  # the end is further on now, and is what may come back
            if earlier is not None or any(block.role == "assistant" for block in blocks):
                del found["opening"]
                found["ongoing"] = last
        return [(index, place) for place, index in sorted(found.items(), key=lambda item: item[1])]

    def _is_end(self, key: bytes) -> bool:
        """Whether a conversation ended here when it was last seen."""
        seen = self._seen.get(key)
        return seen is not None and seen.rate.place in ("opening", "ongoing")

    def _notice(self, key: bytes, rate: _Rate) -> None:
        """Record that a prefix was seen: a prefix seen before counts as come back, in time or too late."""
        now_ns = self._clock.monotonic_ns()
        seen = self._seen.pop(key, None)
        if seen is not None:
            seen.rate.count(came_back=now_ns - seen.last_ns < TTL_NS)
        self._seen[key] = _Seen(rate, now_ns)
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if len(self._seen) <= _SEEN and now_ns - oldest.last_ns < TTL_NS:
                break
            oldest.rate.count(came_back=False)
            self._seen.popitem(last=False)

    def _rate(self, cache_owner: str, model: str, place: Place) -> _Rate:
        key = cache_owner, model, place
        rate = self._rates.get(key) or _Rate(place)
        self._rates[key] = rate
        self._rates.move_to_end(key)
        if len(self._rates) > _RATES:
            self._rates.popitem(last=False)
        return rate
