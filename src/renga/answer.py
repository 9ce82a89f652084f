"""THE path of a request: reserve, plan, send, settle. Every surface enters here.

Owns: the order of the steps, fallback before the first event, and that every lease is settled exactly once.
Must never know: HTTP, SQL, or which kind of provider answers.
Invariants: when `answer` returns, the first batch has arrived and nothing can be retried any more; a client that leaves
closes `Answer.events`, which closes the provider's stream and settles what was used as partial.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from renga.clock import Clock
from renga.errors import ApiError, RengaError
from renga.meter.lease import AttemptRecord, Lease, Outcome, Status, Terms
from renga.meter.ledger import Ledger
from renga.meter.limits import LimitState
from renga.providers.base import Call, Provider
from renga.route.plan import Attempt, Plan
from renga.route.router import Router
from renga.wire.errors import error_event
from renga.wire.fold import Tally
from renga.wire.request import ApiVersion, MessageRequest, ServiceTier
from renga.wire.stream import Batch

_log = logging.getLogger(__name__)


class Parts(Struct, frozen=True):
    """What the path runs through. Put together in `app.build`."""

    providers: Mapping[str, Provider]
    router: Router
    ledger: Ledger
    clock: Clock


class Ask(Struct, frozen=True):
    """A request as it enters, from whichever surface."""

    request: MessageRequest
    raw: bytes
    """The body as a Messages request; an Anthropic-family target gets it with only `model` changed."""
    version: ApiVersion
    betas: tuple[str, ...]
    key_id: str
    request_id: str
    surface: str
    arrived_ns: int
    """Monotonic, from the same clock as `Parts.clock`."""
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    service_tier: ServiceTier = "standard"


async def answer(ask: Ask, parts: Parts) -> Answer:
    """Answer a request: returns when the first events are there.

    Raises: RengaError when no target could answer. The lease is settled then, and nothing was sent to the client.
    """
    lease = parts.ledger.reserve(
        Terms(
            ask.request_id,
            ask.key_id,
            ask.surface,
            ask.request.model,
            ask.request.max_tokens,
            ask.request.stream,
            len(ask.raw),
            ask.service_tier,
        )
    )
    passage = Passage(ask, lease, parts)
    try:
        passage.plan = parts.router.plan(ask.request)
        if lease.hold is not None:
            parts.ledger.hold_price(lease, [attempt.target.name for attempt in passage.plan.attempts])
        stream, first = await passage.open()
    except BaseException as error:
        passage.settle_failure(error)
        raise
    return Answer(passage, stream, first)


async def count_tokens(ask: Ask, parts: Parts) -> int:
    """The input tokens that this request would be billed for, by the first target of its plan that can tell.

    Raises: RengaError when no target could.
    """
    plan = parts.router.plan(ask.request)
    for attempt in plan.attempts[:-1]:
        try:
            return await parts.providers[attempt.target.provider].count_tokens(_call(ask, plan, attempt))
        except RengaError as error:
            if not error.retryable:
                raise
    last = plan.attempts[-1]
    return await parts.providers[last.target.provider].count_tokens(_call(ask, plan, last))


def _call(ask: Ask, plan: Plan, attempt: Attempt) -> Call:
    return Call(
        target=attempt.target,
        request=ask.request,
        raw=ask.raw,
        version=ask.version,
        betas=ask.betas,
        request_id=ask.request_id,
        owner=ask.key_id,
        forwarded_headers=ask.forwarded_headers,
        echo_model=plan.echo_model,
        service_tier=ask.service_tier,
    )


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
            stream = self._parts.providers[attempt.target.provider].send(_call(self.ask, self.plan, attempt))
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
        """Settle a request that brought nothing."""
        if isinstance(error, RengaError):
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
        )
        self.cost_nano_usd = self._parts.ledger.settle(self.lease, self.outcome)


class Answer:
    """An answer that has begun. Iterate `events` to its end or close it; either settles the request."""

    def __init__(self, passage: Passage, stream: AsyncIterator[Batch], first: Batch) -> None:
        self._passage = passage
        self.events = AnswerEvents(passage, stream, first)

    @property
    def plan(self) -> Plan:
        assert self._passage.plan is not None
        return self._passage.plan

    @property
    def attempt(self) -> Attempt:
        """The attempt that answers."""
        assert self._passage.attempt is not None
        return self._passage.attempt

    @property
    def overhead_us(self) -> int:
        """Microseconds from arrival until the winning attempt was sent, failed attempts included."""
        return self._passage.overhead_us

    @property
    def outcome(self) -> Outcome | None:
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

    def __init__(self, passage: Passage, stream: AsyncIterator[Batch], first: Batch) -> None:
        self._passage = passage
        self._stream = stream
        self._first: Batch | None = first

    def __aiter__(self) -> AnswerEvents:
        return self

    async def __anext__(self) -> Batch:
        batch = self._first
        if batch is not None:
            self._first = None
        else:
            batch = await self._next()
        self._passage.tally.watch(batch)
        return batch

    async def _next(self) -> Batch:
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            if not self._passage.tally.ended:
                return [error_event(ApiError("The answer broke off before its end."))]
            await self.aclose()
            raise
        except RengaError as error:
            return [error_event(error)]
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # the error's own words may quote the prompt
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("request %s: %s mid-stream\n%s", self._passage.ask.request_id, type(error).__name__, where)
            return [error_event(ApiError("Internal error."))]

    async def aclose(self) -> None:
        """Stop the work, if it still runs, and settle. Idempotent."""
        try:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._passage.settle(left_early=True)
