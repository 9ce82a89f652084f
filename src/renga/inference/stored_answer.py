"""Answers from the response cache, as the path gives them.

Owns: who may be answered so, the settling of such an answer (it cost nothing and no target gave it), and keeping new
ones.
Must never know: HTTP, how answers are stored (`models/cache/response_cache.py`).
Invariants: only where the key, the policy of the name that it asked for, or the settings say so; a stored answer passes
no target and no check, and its row says `cache:hit` or `cache:stale`; a stale one is the last resort, after every
target failed, and never a batch's, which has time to ask again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from renga.accounting.ledger.lease import RequestOutcome
from renga.accounting.limits.token_buckets import LimitReached
from renga.errors import RengaError
from renga.inference.answer import Answer
from renga.inference.execution import RequestExecution
from renga.models.cache.response_cache import CacheQuestion, ResponseCache, StoredAnswer, name_question
from renga.protocols.messages.events.event_types import Batch, CompleteMessage, Message
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.events.usage_tracker import UsageTracker
from renga.routing.plan import Plan

_BACKGROUND = frozenset({"shadow"})
"""Surfaces whose answers are samples, which must be new."""


def find_stored(passage: RequestExecution) -> Answer | None:
    """The answer that was given to the same question before; None where there is none, or nobody asked for it.

    A question without one is noted, so that its answer is kept.
    """
    ask, parts = passage.ask, passage.parts
    if parts.responses is None or ask.surface in _BACKGROUND:
        return None
    if not (ask.response_cache or parts.responses.for_all or parts.router.stores_answers(ask.request.model)):
        return None
    name = name_question(CacheQuestion(ask.key_id, ask.request, ask.raw, ask.version, ask.betas, ask.forwarded_headers))
    if name is None:
        return None
    stored = parts.responses.find(name)
    if stored is not None:
        return _replay(passage, stored)
    passage.cache_status, passage.question = "miss", name
    passage.watches.append(CacheWriter(parts.responses, name))
    return None


def find_stale(passage: RequestExecution, error: BaseException) -> Answer | None:
    """The answer from before for a request that every target failed; None where there is none."""
    is_down = isinstance(error, RengaError) and error.retryable and not isinstance(error, LimitReached)
    if not is_down or passage.ask.service_tier == "batch":
        return None
    if not passage.came_to_targets or passage.question is None or passage.parts.responses is None:
        return None
    stored = passage.parts.responses.find(passage.question, stale=True)
    return None if stored is None else _replay(passage, stored)


class CacheWriter:
    """Waits for the answer to a question that had none, to store it. A `Watch`."""

    def __init__(self, responses: ResponseCache, name: bytes) -> None:
        self._responses = responses
        self._name = name

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        # What was sent at once and did not pass its check afterwards is not given a second time.
        if message is not None and outcome.target is not None and "sent:escalated" not in outcome.why:
            self._responses.keep(self._name, message, outcome.target)


class StoredExecution(RequestExecution):
    """A request that is answered from the cache; what was tried before goes into its row."""

    def __init__(self, before: RequestExecution, stored: StoredAnswer) -> None:
        super().__init__(before.ask, before.lease, before.parts)
        self.trials = before.trials
        self.overhead_us = self.elapsed_us()
        self.cache_status = stored.freshness
        self.stored_target = stored.target
        self.plan = Plan((), f"{before.why};cache:stale" if stored.freshness == "stale" else "cache:hit", "")
        self._tally = UsageTracker()

    @property
    def tally(self) -> UsageTracker:
        return self._tally

    @property
    def wants_message(self) -> bool:
        return False

    async def examine_afterwards(self, message: Message) -> None:
        """It was examined when it was given first."""

    def settle(self, *, left_early: bool, message: Message | None = None) -> None:
        if self.outcome is not None:
            return
        whole = self._tally.ended and not left_early
        self.outcome = RequestOutcome(
            status="succeeded" if whole or self._tally.ended else "canceled",
            target=None,
            tier=None,
            why=self.why,
            attempts=tuple([trial.record() for trial in self.trials]),
            usage=None,
            stop_reason=self._tally.stop_reason,
            error_type=None,
            overhead_us=self.overhead_us,
            first_event_us=self.overhead_us,
            total_us=self.elapsed_us(),
            winner=None,
            message_id=self._tally.message_id,
        )
        self.cost_nano_usd = self.parts.ledger.settle(self.lease, self.outcome)


def _replay(before: RequestExecution, stored: StoredAnswer) -> Answer:
    message = stored.message
    if before.ask.request.stream:
        first: Batch = split(message)
    else:
        first = [CompleteMessage(msgspec.json.encode(message), message)]
    return Answer(StoredExecution(before, stored), _nothing_more(), first)


async def _nothing_more() -> AsyncIterator[Batch]:
    """A stream that has ended: all of a stored answer is in its first batch."""
    for batch in ():
        yield batch
