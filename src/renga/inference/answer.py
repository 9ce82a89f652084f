"""An answer that has begun, and the stream of its batches.

Owns: reading to the end, turning what breaks on the way into an error event, and settling when it is read or closed.
Must never know: how the answer was chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from renga.accounting.ledger.lease import RequestOutcome
from renga.accounting.limits.token_buckets import LimitState
from renga.errors import ApiError, RengaError
from renga.inference.crash_log import log_crash
from renga.inference.execution import CacheStatus, RequestExecution
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_types import Batch, Message
from renga.routing.plan import Plan, PlannedAttempt


class Answer:
    """An answer that has begun. Iterate `events` to its end or close it; either settles the request."""

    def __init__(self, passage: RequestExecution, stream: AsyncIterator[Batch], first: Batch) -> None:
        self._passage = passage
        self.events = AnswerEvents(passage, stream, first)

    @property
    def plan(self) -> Plan:
        assert self._passage.plan is not None
        return self._passage.plan

    @property
    def why(self) -> str:
        """The plan's reasons and what has become of it so far, for the `renga-plan` header."""
        return self._passage.why

    @property
    def confidence(self) -> float | None:
        """That the small tier's answer is good enough, as its check found; None where nothing was checked."""
        return self._passage.confidence

    @property
    def attempt(self) -> PlannedAttempt:
        """The attempt that answers."""
        assert self._passage.attempt is not None
        return self._passage.attempt

    @property
    def target_name(self) -> str:
        """Who answers, or gave the answer that was stored."""
        return self._passage.stored_target or self.attempt.target.name

    @property
    def cache_status(self) -> CacheStatus | None:
        """Whether it came from the response cache; None where that was not asked."""
        return self._passage.cache_status

    @property
    def overhead_us(self) -> int:
        """Microseconds from arrival until the winning attempt was sent, failed attempts included."""
        return self._passage.overhead_us

    @property
    def outcome(self) -> RequestOutcome | None:
        """How it ended; None while it runs."""
        return self._passage.outcome

    @property
    def cost_nano_usd(self) -> int | None:
        """What it cost; None while it runs, and where the price is not known."""
        return self._passage.cost_nano_usd

    @property
    def limits(self) -> LimitState | None:
        """What is left of the key's limits now; None where it has none."""
        hold = self._passage.lease.hold
        return None if hold is None else hold.read()

    @property
    def mean_logprob(self) -> float | None:
        """The target's confidence in what it wrote, where it gives one; None while it runs."""
        evidence = self._passage.tally.evidence
        return evidence.mean_logprob if evidence else None


class AnswerEvents:
    """The batches of an answer. A class and not a generator, so that closing it settles even if nothing was read."""

    def __init__(self, passage: RequestExecution, stream: AsyncIterator[Batch], first: Batch) -> None:
        self._passage = passage
        self._stream = stream
        self._first: Batch | None = first
        self._was_held = passage.held is not None
        self._folder = MessageAccumulator() if passage.wants_message else None
        self._is_read = False
        self._is_closed = False

    def __aiter__(self) -> AnswerEvents:
        return self

    async def __anext__(self) -> Batch:
        batch = self._first
        if batch is not None:
            self._first = None
        else:
            batch = await self._next()
        if not self._was_held:
            self._passage.tally.watch(batch)
            if self._folder is not None:
                self._fold(batch)
        return batch

    async def _next(self) -> Batch:
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            if not self._passage.tally.ended:
                return [error_event(ApiError("The answer broke off before its end."))]
            await self._finish()
            raise
        except RengaError as error:
            return [error_event(error)]
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log_crash(self._passage.ask.request_id, error)
            return [error_event(ApiError("Internal error."))]

    async def _finish(self) -> None:
        """It was read to its end: what is checked afterwards is checked now, for the client has everything."""
        self._is_read = True
        try:
            message = self._message()
            if message is not None:
                await self._passage.examine_afterwards(message)
        finally:
            await self.aclose()

    def _fold(self, batch: Batch) -> None:
        assert self._folder is not None
        try:
            for event in batch:
                self._folder.add_event(event)
        except RengaError:
            # It broke off, or is in no order; the client sees that, and whoever wanted the whole gets none.
            self._folder = None

    def _message(self) -> Message | None:
        try:
            return None if self._folder is None else self._folder.message()
        except RengaError:
            return None

    async def aclose(self) -> None:
        """Stop the work, if it still runs, and settle. Idempotent."""
        if self._is_closed:
            return
        try:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._passage.settle(left_early=not self._is_read, message=self._message())
        self._is_closed = True
