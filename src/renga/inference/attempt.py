"""One try of one target: its stream, what it used, and its record when it has ended; and the log of all of them.

Owns: sending, the health permit, and the record of how each attempt ended.
Must never know: why this target is asked, what its answer is for.
Invariants: an attempt ends once, whatever happens, and its permit with it; closing it stops the work at the other end;
whatever was asked for a request is in its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from renga.accounting.ledger.lease import AttemptRecord, Role
from renga.clock import Clock
from renga.errors import ApiError, RengaError
from renga.inference.crash_log import log_crash
from renga.inference.services import Permit, Services
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.events.usage_tracker import UsageTracker
from renga.protocols.messages.inference_request import InferenceRequest
from renga.routing.plan import PlannedAttempt


class Attempt:
    """One try of one target that has been sent, or is about to be."""

    __slots__ = (
        "_clock",
        "_duration_us",
        "_error",
        "_permit",
        "_request_id",
        "first_event_us",
        "planned",
        "role",
        "started_ns",
        "stream",
        "tracker",
    )

    def __init__(
        self, request_id: str, planned: PlannedAttempt, role: Role, permit: Permit | None, clock: Clock
    ) -> None:
        self._request_id = request_id
        self._permit = permit
        self._clock = clock
        self._duration_us: int | None = None
        self._error: str | None = None
        self.planned = planned
        self.role: Role = role
        self.tracker = UsageTracker()
        self.first_event_us: int | None = None
        """From when it was sent."""
        self.started_ns = clock.monotonic_ns()
        self.stream: AsyncIterator[Batch]

    def take_first(self, batch: Batch | None) -> Batch:
        """Note that the first batch has come; None: the stream ended without one.

        Raises: ApiError when there is none.
        """
        if batch is None:
            raise ApiError(f"{self.planned.target.name} ended its answer before it began")
        self.first_event_us = self._elapsed_us()
        return batch

    async def collect(self, first: Batch) -> list[Batch]:
        """Keep the whole answer, of which the first batch has come and nobody sees any yet.

        Raises: RengaError when it fails or breaks off; the attempt has ended then.
        """
        batches = [first]
        try:
            self.tracker.watch(first)
            async for batch in self.stream:
                self.tracker.watch(batch)
                batches.append(batch)
            if self.tracker.error is not None:
                raise self.tracker.error
            if not self.tracker.ended:
                raise ApiError("The answer broke off before its end.")
        except RengaError as error:
            self.end(error)
            raise
        except Exception as error:
            log_crash(self._request_id, error)
            self.end(error)
            raise ApiError("Internal error.") from error
        except BaseException as error:
            await self.aclose(error)
            raise
        self.end(None)
        return batches

    async def aclose(self, error: BaseException | None = None) -> None:
        """Stop the work, if it still runs. Idempotent."""
        try:
            close = getattr(self.stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Note how it ended; the first time counts."""
        if self._duration_us is not None:
            return
        self._duration_us = self._elapsed_us()
        if error is None:
            if self._permit is not None:
                self._permit.end(False, self.first_event_us)
            return
        failed = isinstance(error, RengaError) and error.retryable
        if isinstance(error, RengaError):
            self._error = error.type
        elif isinstance(error, asyncio.CancelledError | GeneratorExit | TimeoutError):
            self._error = "canceled"
        else:
            self._error, failed = "api_error", True
        if self._permit is not None:
            retry_after_s = error.retry_after_s if isinstance(error, RengaError) else None
            self._permit.end(failed, self.first_event_us, retry_after_s)

    def record(self) -> AttemptRecord:
        """How it went, for the ledger."""
        duration_us = self._elapsed_us() if self._duration_us is None else self._duration_us
        usage = self.tracker.usage
        abandoned = usage is None and self._error == "canceled"
        return AttemptRecord(self.planned.target.name, self._error, duration_us, self.role, usage, abandoned)

    def _elapsed_us(self) -> int:
        return (self._clock.monotonic_ns() - self.started_ns) // 1000


class AttemptLog:
    """Everything that was asked for one request, in order, and the targets that were passed over."""

    __slots__ = ("_answered_as", "attempts", "services", "skipped")

    def __init__(self, services: Services, answered_as: str) -> None:
        self._answered_as = answered_as
        self.services = services
        self.attempts: list[Attempt] = []
        self.skipped: list[AttemptRecord] = []

    def start(
        self, request: InferenceRequest, planned: PlannedAttempt, role: Role, permit: Permit | None = None
    ) -> Attempt:
        """Begin one attempt. Its first batch is waited for by whoever reads its stream, in a frame of their own."""
        services, target = self.services, planned.target
        attempt = Attempt(request.request_id, planned, role, permit, services.clock)
        provider = services.providers[target.provider]
        attempt.stream = provider.send(request, target.model, self._answered_as or target.model)
        self.attempts.append(attempt)
        return attempt

    def skip(self, target_name: str, refusal: str) -> None:
        """Note that a target was passed over, and why."""
        self.skipped.append(AttemptRecord(target_name, f"skipped:{refusal}", 0, was_sent=False))

    @property
    def last_answering(self) -> Attempt | None:
        """The last attempt to answer the request itself."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.role == "answer"), None)

    def records(self) -> tuple[AttemptRecord, ...]:
        """How each went, for the ledger; the targets that were passed over stand last."""
        return (*[attempt.record() for attempt in self.attempts], *self.skipped)
