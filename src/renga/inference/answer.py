"""An answer that has begun: what of it a surface reads, and the answer of a target.

Owns: reading to the end, turning what breaks on the way into an error event, and settling when it is read or closed.
Must never know: how the answer was chosen.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol, TypeAlias

from renga.accounting.limits.token_buckets import LimitState
from renga.domain.reasons import Reasons
from renga.errors import ApiError, RengaError
from renga.inference.crash_log import log_crash
from renga.inference.execution import Answering, Settled
from renga.inference.verification import BufferedAnswer
from renga.models.cache.response_cache import Freshness
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_types import Batch, Message

CacheStatus: TypeAlias = Freshness | Literal["miss"]


class Answer(Protocol):
    """An answer that has begun. Iterate it to its end or close it; either settles the request."""

    @property
    def target_name(self) -> str:
        """Who answers, or gave the answer that was stored."""
        ...

    @property
    def reasons(self) -> Reasons:
        """The plan's reasons and what has become of it so far, for the `renga-plan` header."""
        ...

    @property
    def confidence(self) -> float | None:
        """That the small tier's answer is good enough, as its check found; None where nothing was checked."""
        ...

    @property
    def cache_status(self) -> CacheStatus | None:
        """Whether it came from the response cache; None where that was not asked."""
        ...

    @property
    def overhead_us(self) -> int:
        """Microseconds from arrival until the winning attempt was sent, failed attempts included."""
        ...

    @property
    def limits(self) -> LimitState | None:
        """What is left of the key's limits now; None where it has none."""
        ...

    @property
    def mean_logprob(self) -> float | None:
        """The target's confidence in what it wrote, once it was read to its end; None where it gives none."""
        ...

    def __aiter__(self) -> Answer: ...

    async def __anext__(self) -> Batch: ...

    async def close(self) -> Settled:
        """Stop the work, if it still runs, and settle. Gives the same every time."""
        ...


class TargetAnswer:
    """The answer of a target. A class and not a generator, so that closing it settles even if nothing was read."""

    __slots__ = ("_accumulator", "_answering", "_arrived", "_is_buffered", "_is_read", "_state")

    def __init__(self, answering: Answering) -> None:
        answer = answering.answer
        self._answering = answering
        self._state: Answering | Settled = answering
        self._is_buffered = isinstance(answer, BufferedAnswer)
        self._arrived = iter(answer.batches if isinstance(answer, BufferedAnswer) else (answer,))
        is_awaited = bool(answering.planned.observations) or answering.checks_afterwards
        self._accumulator = MessageAccumulator() if is_awaited and not self._is_buffered else None
        self._is_read = False

    @property
    def target_name(self) -> str:
        return self._answering.attempt.planned.target.name

    @property
    def reasons(self) -> Reasons:
        return self._answering.planned.reasons

    @property
    def confidence(self) -> float | None:
        checked = self._answering.planned.findings.checked
        return checked[0].result.confidence if checked else None

    @property
    def cache_status(self) -> CacheStatus | None:
        return None if self._answering.planned.miss is None else "miss"

    @property
    def overhead_us(self) -> int:
        return self._answering.planned.overhead_us(self._answering.attempt)

    @property
    def limits(self) -> LimitState | None:
        hold = self._answering.planned.reserved.lease.hold
        return None if hold is None else hold.read()

    @property
    def mean_logprob(self) -> float | None:
        evidence = self._answering.attempt.tracker.evidence
        return evidence.mean_logprob if evidence else None

    def __aiter__(self) -> TargetAnswer:
        return self

    async def __anext__(self) -> Batch:
        batch = next(self._arrived, None)
        if batch is None:
            batch = await self._read_stream()
        if not self._is_buffered:
            self._answering.attempt.tracker.watch(batch)
            if self._accumulator is not None:
                self._accumulate(self._accumulator, batch)
        return batch

    async def _read_stream(self) -> Batch:
        attempt = self._answering.attempt
        try:
            return await anext(attempt.stream)
        except StopAsyncIteration:
            if not attempt.tracker.ended:
                return [error_event(ApiError("The answer broke off before its end."))]
            await self._finish()
            raise
        except RengaError as error:
            return [error_event(error)]
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log_crash(self._answering.planned.reserved.request.request_id, error)
            return [error_event(ApiError("Internal error."))]

    async def _finish(self) -> None:
        """Finish an answer that was read to its end: checks that run after sending run now."""
        self._is_read = True
        try:
            message = self._message()
            if message is not None:
                await self._answering.check_afterwards(message)
        finally:
            await self.close()

    def _accumulate(self, accumulator: MessageAccumulator, batch: Batch) -> None:
        try:
            accumulator.add_batch(batch)
        except RengaError:
            # It broke off, or is in no order; the client sees that, and whoever wanted the whole gets none.
            self._accumulator = None

    def _message(self) -> Message | None:
        try:
            return None if self._accumulator is None else self._accumulator.message()
        except RengaError:
            return None

    async def close(self) -> Settled:
        state = self._state
        if isinstance(state, Settled):
            return state
        try:
            close = getattr(state.attempt.stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._state = settled = state.settle(left_early=not self._is_read, message=self._message())
        return settled
