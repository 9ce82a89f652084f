"""One call to one target: its stream, what it used, and its record when it has ended.

Owns: sending, the health pass, and the record of how it ended.
Must never know: why this target is asked, what its answer is for.
Invariants: a trial ends once, whatever happens, and its pass with it; closing it stops the work at the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from renga.accounting.ledger.lease import AttemptRecord, Role
from renga.errors import ApiError, RengaError
from renga.inference.crash_log import log_crash
from renga.inference.services import Permit, Services
from renga.models.providers.provider_seam import ProviderRequest
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.events.usage_tracker import UsageTracker


class Attempt:
    """A call that has been sent, or is about to be."""

    __slots__ = (
        "_began_ns",
        "_duration_us",
        "_error",
        "_parts",
        "_pass",
        "call",
        "first_event_us",
        "role",
        "stream",
        "tally",
    )

    def __init__(self, parts: Services, call: ProviderRequest, role: Role, permission: Permit | None) -> None:
        self._parts = parts
        self._pass = permission
        self._began_ns = parts.clock.monotonic_ns()
        self._duration_us: int | None = None
        self._error: str | None = None
        self.call = call
        self.role: Role = role
        self.tally = UsageTracker()
        self.first_event_us: int | None = None
        """From when it was sent."""
        self.stream: AsyncIterator[Batch] = parts.providers[call.target.provider].send(call)

    async def open(self) -> Batch:
        """Send the call, and wait for its first batch.

        Raises: RengaError when none comes; the trial has ended then.
        """
        try:
            first = await anext(self.stream, None)
            if first is None:
                raise ApiError(f"{self.call.target.name} ended its answer before it began")
        except BaseException as error:
            self.end(error)
            raise
        self.first_event_us = self._elapsed_us()
        return first

    async def collect(self) -> list[Batch]:
        """Send the call and keep its whole answer, which nobody sees yet.

        Raises: RengaError when it fails or breaks off; the trial has ended then.
        """
        batches = [await self.open()]
        try:
            self.tally.watch(batches[0])
            async for batch in self.stream:
                self.tally.watch(batch)
                batches.append(batch)
            if self.tally.error is not None:
                raise self.tally.error
            if not self.tally.ended:
                raise ApiError("The answer broke off before its end.")
        except RengaError as error:
            self.end(error)
            raise
        except Exception as error:
            log_crash(self.call.request_id, error)
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
            if self._pass is not None:
                self._pass.end(False, self.first_event_us)
            return
        failed = isinstance(error, RengaError) and error.retryable
        if isinstance(error, RengaError):
            self._error = error.type
        elif isinstance(error, asyncio.CancelledError | GeneratorExit | TimeoutError):
            self._error = "canceled"
        else:
            self._error, failed = "api_error", True
        if self._pass is not None:
            retry_after_s = error.retry_after_s if isinstance(error, RengaError) else None
            self._pass.end(failed, self.first_event_us, retry_after_s)

    def record(self) -> AttemptRecord:
        """How it went, for the ledger."""
        duration_us = self._elapsed_us() if self._duration_us is None else self._duration_us
        usage = self.tally.usage
        abandoned = usage is None and self._error == "canceled"
        return AttemptRecord(self.call.target.name, self._error, duration_us, self.role, usage, abandoned)

    def _elapsed_us(self) -> int:
        return (self._parts.clock.monotonic_ns() - self._began_ns) // 1000
