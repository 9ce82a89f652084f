"""One request on its way, as a chain of states: reserved, planned, answering, settled.

Owns: what exists in each state and how one becomes the next; who is told of the end.
Must never know: HTTP, SQL, which kind of provider answers, what a check looks at (`inference/verification.py`).
Invariants: after a rejected answer only a higher tier is asked; an answer with a fault is never sent; a request is
settled once; whatever was used on the way is in the row, whether it was sent or not.

    Reserved ── plan ──> Planned ── answer_with ──> Answering ── settle ──> Settled
        └── fail             └── fail                          (the ledger's row, and what it cost)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator

from msgspec import Struct

from renga.accounting.ledger.lease import Lease, RequestOutcome, Status
from renga.accounting.limits.token_buckets import LimitReached
from renga.domain.reasons import Reason, Reasons
from renga.errors import ApiError, RengaError
from renga.inference.attempt import Attempt, AttemptLog
from renga.inference.cache_miss import CacheMiss
from renga.inference.crash_log import log_crash
from renga.inference.outcome import Ending, Findings, classify_failure, compose_failure, compose_outcome
from renga.inference.services import Observation, Permit, Services
from renga.inference.verification import BufferedAnswer, CheckedAnswer, check_answer
from renga.protocols.messages.edits.request_rewrite import add_exchange
from renga.protocols.messages.events.event_types import Batch, Message
from renga.protocols.messages.inference_request import InferenceRequest
from renga.routing.catalog.catalog import TIERS
from renga.routing.plan import Plan, PlannedAttempt
from renga.routing.policy.decision import SettledDecision

_REMARK = "This answer did not pass a check. Answer the request above yourself, without mentioning this."
"""What a tier is told that sees the answer before it, where the policy shows it."""


class Reserved(Struct, frozen=True):
    """A request whose place in its key's limits is taken; who answers is not known yet."""

    request: InferenceRequest
    lease: Lease
    services: Services

    def with_request(self, request: InferenceRequest) -> Reserved:
        """The same for a request that has grown: files were put into it."""
        return Reserved(request, self.services.ledger.extend(self.lease, request), self.services)

    def plan(self, miss: CacheMiss | None) -> Planned:
        """Plan the attempts, and begin every observation of this request. `miss` waits for the answer, to store it.

        Raises: as `Router.plan`.
        """
        request, services = self.request, self.services
        plan = services.router.plan(request.message, request.caller, len(request.body))
        observations: list[Observation] = [] if miss is None else [miss]
        for observer in services.observers:
            observation = observer.observe_request(request, plan)
            if observation is not None:
                observations.append(observation)
        return Planned(self, plan, miss, observations, AttemptLog(services, plan.answered_as), Findings())

    def elapsed_us(self) -> int:
        """How many microseconds ago the request arrived."""
        return (self.services.clock.monotonic_ns() - self.request.arrived_ns) // 1000

    def fail(self, error: BaseException) -> None:
        """Settle a request that came to no plan. One that a limit kept out leaves no row."""
        if isinstance(error, LimitReached):
            self.services.ledger.drop(self.lease)
        else:
            self.services.ledger.settle(self.lease, compose_failure(error, self.elapsed_us()))


class Settled(Struct, frozen=True):
    """A request whose row is written."""

    outcome: RequestOutcome
    cost_nano_usd: int | None
    """What it cost; None where the price is not known."""


class Planned(Struct, frozen=True):
    """A request with a plan, while its attempts are made."""

    reserved: Reserved
    plan: Plan
    miss: CacheMiss | None
    """What stores the answer; None where the response cache was not asked."""
    observations: list[Observation]
    log: AttemptLog
    findings: Findings

    @property
    def reasons(self) -> Reasons:
        """The plan's reasons, and what has become of it so far."""
        return (*self.plan.reasons, *self.findings.reasons)

    def hold_price(self) -> Awaitable[None] | None:
        """Set aside what the request may cost at most. Returns what must be waited for, if anything: limits that
        servers share are taken here, all of them in one round trip.

        Raises: as `Ledger.hold_price`.
        """
        lease = self.reserved.lease
        if lease.hold is None:
            return None
        targets = [attempt.target.name for attempt in self.plan.attempts]
        return self.reserved.services.ledger.hold_price(lease, targets, self.plan.also_billed)

    def admit(self) -> Iterator[tuple[PlannedAttempt, Permit | None]]:
        """The attempts whose targets may be asked now; then, for want of another, those that are cooling down. After a
        rejected answer only those above its tier.
        """
        health = self.reserved.services.health
        if health is None:
            for planned in self.plan.attempts:
                if self._is_above_rejected(planned):
                    yield planned, None
            return
        cooling: list[PlannedAttempt] = []
        for planned in self.plan.attempts:
            name = planned.target.name
            permit = health.enter(name)
            if permit is None:
                self.log.skip(name, health.refusal(name))
                cooling.append(planned)
            elif self._is_above_rejected(planned):
                yield planned, permit
            else:
                permit.end(False, None)
        for planned in cooling:
            permit = health.enter(planned.target.name, anyway=True) if self._is_above_rejected(planned) else None
            if permit is not None:
                yield planned, permit

    def start_attempt(self, planned: PlannedAttempt, permit: Permit | None) -> Attempt:
        """Begin an attempt; where its policy says so, the target sees the answer that was not accepted."""
        request = self.reserved.request
        rejected = self.findings.last_rejected
        if rejected is not None:
            check = rejected.attempt.planned.check
            if check is not None and check.shows_failed_answer and rejected.answer.text:
                request = add_exchange(request, rejected.answer.text, _REMARK)
        return self.log.start(request, planned, "answer", permit)

    def is_final(self, error: RengaError, planned: PlannedAttempt) -> bool:
        """Whether no other target could mend what this one refused: a tier above may take what is too long below."""
        if error.retryable:
            return False
        return self.plan.policy is None or all(_rank(other) <= _rank(planned) for other in self.plan.attempts)

    def answer_with(self, attempt: Attempt, answer: BufferedAnswer | Batch) -> Answering:
        """The state in which an attempt answers: with a whole answer, or with its first batch."""
        return Answering(self, attempt, answer, self.reserved.elapsed_us())

    def answer_with_rejected(self) -> Answering | None:
        """The last resort: the answer that was not accepted, where it has no fault and the policy allows it."""
        rejected = self.findings.last_rejected
        if rejected is None or rejected.result.has_fault or not self.plan.last_resort:
            return None
        self.findings.reasons.append(Reason("last_resort"))
        return self.answer_with(rejected.attempt, rejected.answer)

    def fail(self, error: BaseException) -> None:
        """Settle a request that brought nothing. One that a limit kept out leaves no row."""
        if isinstance(error, LimitReached):
            self.reserved.services.ledger.drop(self.reserved.lease)
            return
        status, error_type = classify_failure(error)
        attempt = self.log.last_answering
        overhead_us = 0 if attempt is None else self.overhead_us(attempt)
        self.settle(Ending(status, error_type, attempt, overhead_us, self.reserved.elapsed_us()), None)

    def overhead_us(self, attempt: Attempt) -> int:
        """Microseconds from arrival until an attempt was sent, failed attempts included."""
        return (attempt.started_ns - self.reserved.request.arrived_ns) // 1000

    def settle(self, ending: Ending, message: Message | None) -> Settled:
        """Write the row, and tell everybody who waits for the end."""
        outcome = compose_outcome(self.plan, self.log, self.findings, ending)
        settled = Settled(outcome, self.reserved.services.ledger.settle(self.reserved.lease, outcome))
        if self.plan.policy is not None:
            self.reserved.services.router.settled(self.plan, self._describe_decision(ending, outcome))
        self.tell_observers(outcome, message if ending.status == "succeeded" else None)
        return settled

    def tell_observers(self, outcome: RequestOutcome, message: Message | None) -> None:
        """Tell whoever observes the request how it ended; what breaks there breaks nothing here."""
        for observation in self.observations:
            try:
                observation.ended(outcome, message)
            except Exception as error:
                log_crash(self.reserved.request.request_id, error)

    def _describe_decision(self, ending: Ending, outcome: RequestOutcome) -> SettledDecision:
        """What became of the plan, for the router to learn from."""
        first = self.findings.checked[0] if self.findings.checked else None
        answered = ending.attempt.planned if ending.attempt and ending.status in ("succeeded", "partial") else None
        return SettledDecision(
            answered.target.name if answered else None,
            answered.tier if answered else None,
            outcome.usage,
            first.attempt.planned.target.name if first else None,
            first.result.accept if first else None,
            "sent" if self.findings.is_sent_first else "held",
            ending.status == "succeeded",
        )

    def _is_above_rejected(self, planned: PlannedAttempt) -> bool:
        rejected = self.findings.last_rejected
        return rejected is None or _rank(planned) > _rank(rejected.attempt.planned)


class Answering(Struct, frozen=True):
    """A request whose answer has begun: nothing can be retried any more."""

    planned: Planned
    attempt: Attempt
    answer: BufferedAnswer | Batch
    """The whole answer, where it was held until it was checked; else its first batch."""
    first_event_us: int

    @property
    def checks_afterwards(self) -> bool:
        """Whether the answer is checked when the client has it all."""
        check = self.attempt.planned.check
        return check is not None and check.optimistic and not self.planned.findings.checked

    async def check_afterwards(self, message: Message) -> None:
        """Check an answer that has been sent already: what is found is recorded, and steers the next turn."""
        check = self.attempt.planned.check
        if check is None or not self.checks_afterwards:
            return
        self.attempt.end(None)
        answer = BufferedAnswer((), message, self.attempt.tracker.evidence)
        planned = self.planned
        target = self.attempt.planned.target
        result = await check_answer(planned.reserved.request, target, check, answer, planned.log)
        planned.findings.note_check(CheckedAnswer(self.attempt, answer, result), is_sent=True)

    def settle(self, *, left_early: bool, message: Message | None) -> Settled:
        """Settle a request whose stream has ended or whose client has gone. `message`: the whole answer, if known."""
        attempt, tracker = self.attempt, self.attempt.tracker
        error = tracker.error
        is_buffered = isinstance(self.answer, BufferedAnswer)
        is_whole = tracker.ended and error is None and not (left_early and is_buffered)
        status: Status = "succeeded" if is_whole else "canceled" if left_early and error is None else "partial"
        attempt.end(error if tracker.ended else asyncio.CancelledError() if left_early else ApiError(""))
        ending = Ending(
            status,
            error.type if error is not None else None,
            attempt,
            self.planned.overhead_us(attempt),
            self.planned.reserved.elapsed_us(),
            self.first_event_us,
        )
        return self.planned.settle(ending, self.answer.message if isinstance(self.answer, BufferedAnswer) else message)


def _rank(planned: PlannedAttempt) -> int:
    return TIERS.index(planned.tier) if planned.tier is not None else 0
