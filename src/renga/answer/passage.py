"""One request on its way: its attempts, and its one settling.

Owns: fallback before the first event, the record of every attempt, and that the lease is settled exactly once.
Must never know: HTTP, SQL, or which kind of provider answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from renga.answer.parts import Ask, Parts, build_call
from renga.errors import ApiError, RengaError
from renga.meter.lease import AttemptRecord, Lease, Outcome, Status
from renga.meter.limits import LimitReached
from renga.route.plan import Attempt, Plan
from renga.wire.fold import Tally
from renga.wire.stream import Batch


class Passage:
    """One request on its way: what was tried, when, and the tally of what came."""

    def __init__(self, ask: Ask, lease: Lease, parts: Parts) -> None:
        self.ask = ask
        self.plan: Plan | None = None
        self.attempt: Attempt | None = None
        self.tally = Tally()
        self.overhead_us = 0
        self.outcome: Outcome | None = None
        self.cost_nano_usd: int | None = None
        self.lease = lease
        self._parts = parts
        self._records: list[AttemptRecord] = []
        self._first_event_us: int | None = None

    def elapsed_us(self) -> int:
        """Microseconds since the request arrived."""
        return (self._parts.clock.monotonic_ns() - self.ask.arrived_ns) // 1000

    async def open(self) -> tuple[AsyncIterator[Batch], Batch]:
        """Try the plan's attempts until one brings its first batch.

        Raises: the last attempt's RengaError, or the first that no other target could mend.
        """
        assert self.plan is not None
        failure: RengaError | None = None
        for attempt in self.plan.attempts:
            self.attempt = attempt
            self.overhead_us = self.elapsed_us()
            stream = self._parts.providers[attempt.target.provider].send(build_call(self.ask, self.plan, attempt))
            try:
                first = await anext(stream, None)
                if first is None:
                    raise ApiError(f"{attempt.target.name} ended its answer before it began")
            except RengaError as error:
                self._record(error)
                failure = error
                if not error.retryable:
                    raise
                continue
            self._first_event_us = self.elapsed_us()
            return stream, first
        raise failure or ApiError("the plan has no attempt")

    def _record(self, error: RengaError | None) -> None:
        """Note how the attempt in hand ended."""
        assert self.attempt is not None
        duration_us = self.elapsed_us() - self.overhead_us
        self._records.append(AttemptRecord(self.attempt.target.name, error.type if error else None, duration_us))

    def settle_failure(self, error: BaseException) -> None:
        """Settle a request that brought nothing. One that a limit kept out leaves no row."""
        if isinstance(error, LimitReached):
            self._parts.ledger.drop(self.lease)
        elif isinstance(error, RengaError):
            self._settle("failed", error.type)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._settle("canceled", None)
        else:
            self._settle("failed", "api_error")

    def settle(self, *, left_early: bool) -> None:
        """Settle a request whose stream has ended, or whose client has gone."""
        if self.outcome is not None:
            return
        error = self.tally.error
        status: Status = (
            "partial" if error else "succeeded" if self.tally.ended else "canceled" if left_early else "partial"
        )
        self._record(error)
        self._settle(status, error.type if error else None)

    def _settle(self, status: Status, error_type: str | None) -> None:
        tally = self.tally
        self.outcome = Outcome(
            status=status,
            target=self.attempt.target.name if self.attempt else None,
            tier=self.attempt.tier if self.attempt else None,
            why=self.plan.why if self.plan else "",
            attempts=tuple(self._records),
            usage=tally.usage,
            stop_reason=tally.stop_reason,
            error_type=error_type,
            overhead_us=self.overhead_us,
            first_event_us=self._first_event_us,
            total_us=self.elapsed_us(),
            mean_logprob=tally.evidence.mean_logprob if tally.evidence else None,
            message_id=tally.message_id,
        )
        self.cost_nano_usd = self._parts.ledger.settle(self.lease, self.outcome)
