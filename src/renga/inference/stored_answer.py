"""Answers from the response cache, as the path gives them.

Owns: who may be answered so, and the settling of such an answer (it cost nothing and no target gave it).
Must never know: HTTP, how answers are stored (`models/cache/response_cache.py`).
Invariants: only where the key, the policy of the name that it asked for, or the settings say so; a stored answer passes
no target and no check, and its row says `cache:hit` or `cache:stale`; a stale one is the last resort, after every
target failed, and never a batch's, which has time to ask again.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from renga.accounting.ledger.lease import AttemptRecord, RequestOutcome, Status
from renga.accounting.limits.token_buckets import LimitReached, LimitState
from renga.domain.reasons import Reason, Reasons
from renga.errors import RengaError
from renga.inference.answer import CacheStatus
from renga.inference.cache_miss import CacheMiss
from renga.inference.execution import Planned, Reserved, Settled
from renga.models.cache.response_cache import StoredAnswer, name_question
from renga.protocols.messages.events.event_types import Batch, CompleteMessage, Message
from renga.protocols.messages.events.message_split import split

_BACKGROUND = frozenset({"shadow"})
"""Surfaces whose answers are samples, which must be new."""


def look_up(reserved: Reserved) -> ReplayedAnswer | CacheMiss | None:
    """The answer that was given to the same question before, or what waits for its first one; None where nobody asked
    for stored answers, or the question is not one whose answers are given again.
    """
    request, services = reserved.request, reserved.services
    responses = services.responses
    if responses is None or request.surface in _BACKGROUND:
        return None
    is_wanted = request.caller.response_cache or responses.for_all
    if not (is_wanted or services.router.stores_answers(request.message.model)):
        return None
    name = name_question(request)
    if name is None:
        return None
    stored = responses.find(name)
    if stored is None:
        return CacheMiss(responses, name)
    return ReplayedAnswer(Replay(reserved, stored, (Reason("cache", "hit"),), reserved.elapsed_us()))


def find_stale(state: Reserved | Planned, error: BaseException) -> ReplayedAnswer | None:
    """The answer from before for a request that every target failed; None where there is none."""
    is_down = isinstance(error, RengaError) and error.retryable and not isinstance(error, LimitReached)
    if not is_down or isinstance(state, Reserved) or state.miss is None:
        return None
    is_batch = state.reserved.request.service_tier == "batch"
    if is_batch or not (state.log.attempts or state.log.skipped):
        return None
    stored = state.miss.find_stale()
    if stored is None:
        return None
    reasons = (*state.reasons, Reason("cache", "stale"))
    replay = Replay(state.reserved, stored, reasons, state.reserved.elapsed_us(), state.log.records())
    # Nobody answered: whoever waits for a target's answer waits no longer.
    state.tell_observers(replay.compose_outcome("failed", None), None)
    return ReplayedAnswer(replay)


class Replay(Struct, frozen=True):
    """A stored answer on its way to a client, and what was tried before it."""

    reserved: Reserved
    stored: StoredAnswer
    reasons: Reasons
    overhead_us: int
    attempts: tuple[AttemptRecord, ...] = ()

    def settle(self, *, is_taken: bool) -> Settled:
        """Write the row: nobody answered, and it cost nothing."""
        outcome = self.compose_outcome(
            "succeeded" if is_taken else "canceled", self.stored.message if is_taken else None
        )
        return Settled(outcome, self.reserved.services.ledger.settle(self.reserved.lease, outcome))

    def compose_outcome(self, status: Status, message: Message | None) -> RequestOutcome:
        """The outcome, with the message that the client got."""
        return RequestOutcome(
            status,
            None,
            None,
            self.reasons,
            self.attempts,
            None,
            None if message is None else message.stop_reason,
            None,
            self.overhead_us,
            self.overhead_us,
            self.reserved.elapsed_us(),
            winner=None,
            message_id=None if message is None else message.id,
        )


class ReplayedAnswer:
    """An answer from the response cache, as a surface reads it."""

    __slots__ = ("_events", "_replay", "_state")

    confidence: float | None = None
    mean_logprob: float | None = None

    def __init__(self, replay: Replay) -> None:
        message = replay.stored.message
        is_stream = replay.reserved.request.message.stream
        whole = CompleteMessage(msgspec.json.encode(message), message)
        self._replay = replay
        self._state: Replay | Settled = replay
        self._events: list[Batch] = [split(message) if is_stream else [whole]]
        """What the client has not taken yet: all of a stored answer is one batch."""

    @property
    def target_name(self) -> str:
        return self._replay.stored.target

    @property
    def reasons(self) -> Reasons:
        return self._replay.reasons

    @property
    def cache_status(self) -> CacheStatus | None:
        return self._replay.stored.freshness

    @property
    def overhead_us(self) -> int:
        return self._replay.overhead_us

    @property
    def limits(self) -> LimitState | None:
        hold = self._replay.reserved.lease.hold
        return None if hold is None else hold.read()

    def __aiter__(self) -> ReplayedAnswer:
        return self

    async def __anext__(self) -> Batch:
        if not self._events:
            await self.close()
            raise StopAsyncIteration
        return self._events.pop()

    async def close(self) -> Settled:
        state = self._state
        if isinstance(state, Replay):
            self._state = state = state.settle(is_taken=not self._events)
        return state
