"""One request on its way: its attempts, what its answers were found worth, and its one settling.

Owns: fallback and escalation before the first event, the record of every trial, and that the lease is settled once.
Must never know: HTTP, SQL, which kind of provider answers, or what a check looks at (`inference/verification.py`).
Invariants: after a rejected answer only a higher tier is asked; an answer with a fault is never sent; whatever was used
on the way is in the row, whether it was sent or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Literal, TypeAlias

from msgspec import Struct

from renga.accounting.ledger.lease import AttemptRecord, Lease, RequestOutcome, Status
from renga.accounting.limits.token_buckets import LimitReached
from renga.errors import ApiError, Overloaded, RengaError
from renga.inference.attempt import Attempt
from renga.inference.crash_log import log_crash
from renga.inference.services import InferenceRequest, Observation, Permit, Services, build_call
from renga.inference.verification import BufferedAnswer, CheckResult, examine, hold
from renga.models.cache.response_cache import Freshness
from renga.protocols.messages.edits.request_rewrite import add_exchange
from renga.protocols.messages.events.event_types import Batch, Message
from renga.protocols.messages.events.usage_tracker import UsageTracker
from renga.routing.catalog.catalog import TIERS
from renga.routing.plan import Plan, PlannedAttempt
from renga.routing.policy.decision import SettledDecision

CacheStatus: TypeAlias = Freshness | Literal["miss"]

_REMARK = "This answer did not pass a check. Answer the request above yourself, without mentioning this."
"""What a tier is told that sees the answer before it, where the policy shows it."""


class _Rejected(Struct, frozen=True):
    """An answer that was not accepted."""

    attempt: PlannedAttempt
    trial: Attempt
    held: BufferedAnswer
    examined: CheckResult


class RequestExecution:
    """One request on its way: what was tried, when, and the tally of what came."""

    def __init__(self, ask: InferenceRequest, lease: Lease, parts: Services) -> None:
        self.ask = ask
        self.plan: Plan | None = None
        self.attempt: PlannedAttempt | None = None
        self.overhead_us = 0
        self.outcome: RequestOutcome | None = None
        self.cost_nano_usd: int | None = None
        self.lease = lease
        self.parts = parts
        self.trial: Attempt | None = None
        """The one that answers, or the last that was tried."""
        self.trials: list[Attempt] = []
        self.held: BufferedAnswer | None = None
        """The answer, where it was whole before it was sent."""
        self.watches: list[Observation] = []
        self.cache_status: CacheStatus | None = None
        """What the response cache said; None where it was not asked."""
        self.question: bytes | None = None
        """What the response cache knows the request by, where it had no answer."""
        self.stored_target: str | None = None
        """Who gave the answer, where it came from the response cache."""
        self._notes: list[str] = []
        self._skipped: list[AttemptRecord] = []
        self._examined: CheckResult | None = None
        self._checked: str | None = None
        self._first_event_us: int | None = None
        self._rejected: Message | None = None

    @property
    def tally(self) -> UsageTracker:
        """Of the answer."""
        return _EMPTY if self.trial is None else self.trial.tally

    @property
    def why(self) -> str:
        """The plan's reasons, and what became of it."""
        why = self.plan.why if self.plan else ""
        return ";".join((why, *self._notes)) if self._notes else why

    @property
    def came_to_targets(self) -> bool:
        """Whether it came so far that targets were asked, or passed over because they fail."""
        return bool(self.trials or self._skipped)

    @property
    def confidence(self) -> float | None:
        """That the answer that was checked is good enough; None where nothing was checked."""
        return None if self._examined is None else self._examined.confidence

    @property
    def wants_message(self) -> bool:
        """Whether somebody waits for the answer as a whole, so that a stream has to be folded in passing."""
        return self.held is None and (bool(self.watches) or self._checks_afterwards)

    @property
    def _checks_afterwards(self) -> bool:
        check = self.attempt.check if self.attempt else None
        return check is not None and check.optimistic and self._examined is None

    def begin(self, plan: Plan) -> None:
        """The plan is made; whoever watches may follow it from here."""
        self.plan = plan
        for watcher in self.parts.watchers:
            watch = watcher.begin(self.ask, plan)
            if watch is not None:
                self.watches.append(watch)

    def elapsed_us(self) -> int:
        """Microseconds since the request arrived."""
        return (self.parts.clock.monotonic_ns() - self.ask.arrived_ns) // 1000

    async def open(self) -> tuple[AsyncIterator[Batch], Batch]:
        """Try the plan's attempts until one brings its first batch, or where it is checked, an answer that passes.

        Raises: the last attempt's RengaError, or the first that no other target could mend.
        """
        assert self.plan is not None
        failure: RengaError | None = None
        rejected: _Rejected | None = None
        for attempt, permission in self._entering():
            if rejected is not None and _rank(attempt) <= _rank(rejected.attempt):
                _leave(permission)
                continue
            self.attempt = attempt
            trial = self._send(attempt, permission, rejected)
            try:
                if attempt.check is None or attempt.check.optimistic:
                    first = await trial.open()
                    self._win(attempt, trial)
                    return trial.stream, first
                held = hold(await trial.collect())
            except RengaError as error:
                failure = error
                if not error.retryable and self._is_final(attempt):
                    break
                continue
            examined = await examine(self, attempt, held)
            self._note(attempt, examined)
            if examined.accept:
                self._win(attempt, trial, held)
                return held.replay()
            rejected = _Rejected(attempt, trial, held, examined)
            self._rejected = held.message
        if rejected is not None and not rejected.examined.has_fault and self.plan.last_resort:
            self._notes.append("last_resort")
            self._rejected = None
            self._win(rejected.attempt, rejected.trial, rejected.held)
            return rejected.held.replay()
        raise failure or Overloaded("Every target for this model is busy.", hint="send the request again")

    async def examine_afterwards(self, message: Message) -> None:
        """Check an answer that has been sent already: what is found is recorded, and steers the next turn."""
        assert self.attempt is not None
        if self._checks_afterwards:
            assert self.trial is not None
            self.trial.end(None)
            examined = await examine(self, self.attempt, BufferedAnswer((), message, self.tally.evidence))
            self._note(self.attempt, examined, sent=True)

    def settle_failure(self, error: BaseException) -> None:
        """Settle a request that brought nothing. One that a limit kept out leaves no row."""
        if isinstance(error, LimitReached):
            self.parts.ledger.drop(self.lease)
        elif isinstance(error, RengaError):
            self._settle("failed", error.type)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._settle("canceled", None)
        else:
            self._settle("failed", "api_error")

    def settle(self, *, left_early: bool, message: Message | None = None) -> None:
        """Settle a request whose stream has ended, or whose client has gone."""
        if self.outcome is not None:
            return
        tally = self.tally
        error = tally.error
        whole = tally.ended and error is None and not (left_early and self.held is not None)
        status: Status = "succeeded" if whole else "canceled" if left_early and error is None else "partial"
        if self.trial is not None:
            self.trial.end(error if tally.ended else asyncio.CancelledError() if left_early else ApiError(""))
        self._settle(status, error.type if error else None, message)

    def _entering(self) -> Iterator[tuple[PlannedAttempt, Permit | None]]:
        """The attempts whose targets may be asked now; then, for want of another, those that are cooling down."""
        assert self.plan is not None
        health = self.parts.health
        if health is None:
            for attempt in self.plan.attempts:
                yield attempt, None
            return
        cooling: list[PlannedAttempt] = []
        for attempt in self.plan.attempts:
            permission = health.enter(attempt.target.name)
            if permission is None:
                name = attempt.target.name
                self._skipped.append(AttemptRecord(name, f"skipped:{health.refusal(name)}", 0))
                cooling.append(attempt)
            else:
                yield attempt, permission
        for attempt in cooling:
            permission = health.enter(attempt.target.name, anyway=True)
            if permission is not None:
                yield attempt, permission

    def _send(self, attempt: PlannedAttempt, permission: Permit | None, rejected: _Rejected | None) -> Attempt:
        assert self.plan is not None
        ask = self.ask
        if rejected is not None and rejected.attempt.check is not None and rejected.attempt.check.shows_failed_answer:
            text = rejected.held.text
            if text:
                request, raw = add_exchange(ask.request, ask.raw, text, _REMARK)
                ask = ask.renewed(request, raw)
        self.overhead_us = self.elapsed_us()
        self.trial = Attempt(self.parts, build_call(ask, self.plan, attempt), "answer", permission)
        self.trials.append(self.trial)
        return self.trial

    def _is_final(self, attempt: PlannedAttempt) -> bool:
        """Whether no other target could mend what this one refused: a tier above may take what is too long below."""
        assert self.plan is not None
        return self.plan.policy is None or all(_rank(other) <= _rank(attempt) for other in self.plan.attempts)

    def _win(self, attempt: PlannedAttempt, trial: Attempt, held: BufferedAnswer | None = None) -> None:
        self.attempt, self.trial, self.held = attempt, trial, held
        self._first_event_us = self.elapsed_us()

    def _note(self, attempt: PlannedAttempt, examined: CheckResult, *, sent: bool = False) -> None:
        """What a check found, in the words of `why`."""
        if self._examined is None:
            self._examined, self._checked = examined, attempt.target.name
        self._notes.append(f"check:{','.join(examined.reasons)}")
        ending = "kept" if examined.accept else f"escalated:{examined.reasons[-1] if examined.reasons else 'none'}"
        self._notes.append(f"sent:{ending}" if sent else ending)

    def _settle(self, status: Status, error_type: str | None, message: Message | None = None) -> None:
        plan, trial, tally, examined = self.plan, self.trial, self.tally, self._examined
        if trial is not None and status == "canceled":
            trial.end(asyncio.CancelledError())
        attempt = self.attempt
        kept, because = self._judge_outcome(status)
        self.outcome = RequestOutcome(
            status,
            attempt.target.name if attempt else None,
            attempt.tier if attempt else None,
            self.why,
            (*[each.record() for each in self.trials], *self._skipped),
            tally.usage if status != "failed" else None,
            tally.stop_reason if status != "failed" else None,
            error_type,
            self.overhead_us,
            self._first_event_us,
            self.elapsed_us(),
            mean_logprob=_mean_logprob(tally, examined),
            winner=self.trials.index(trial) if trial is not None and status != "failed" else None,
            policy=plan.policy if plan else None,
            triage_score=plan.triage_score if plan else None,
            confidence=self.confidence,
            kept=kept,
            escalated_because=because,
            agreement=examined.agreement if examined else None,
            message_id=tally.message_id,
            rejected=self._rejected,
        )
        self.cost_nano_usd = self.parts.ledger.settle(self.lease, self.outcome)
        self._tell(status, message)

    def _judge_outcome(self, status: Status) -> tuple[bool | None, str | None]:
        """Whether the small tier's answer was kept, and if not, why."""
        plan, attempt = self.plan, self.attempt
        if plan is None or plan.policy is None or attempt is None or status == "failed":
            return None, None
        if self._examined is not None:
            return self._examined.accept, None if self._examined.accept else self._examined.reasons[-1]
        if self._first_event_us is None:
            return None, None
        if attempt.tier == plan.small:
            return True, None
        return False, self._why_not_tried(plan)

    def _why_not_tried(self, plan: Plan) -> str:
        """Why a tier above answered although nothing was rejected."""
        failed = next((each for each in self.trials if each is not self.trial), None)
        if failed is not None:
            return f"failed:{failed.record().error_type}"
        skipped = next((each.error_type for each in self._skipped), None)
        if skipped is None and any(other.check is not None for other in plan.attempts):
            # It was to be tried, and stood behind because it could not take work.
            return "not_ready"
        return skipped or plan.why.rpartition(";")[2]

    def _tell(self, status: Status, message: Message | None) -> None:
        """Tell the router and whoever watches how it ended."""
        plan, attempt, outcome = self.plan, self.attempt, self.outcome
        assert outcome is not None
        if plan is not None and plan.policy is not None:
            answered = attempt if status in ("succeeded", "partial") else None
            self.parts.router.settled(
                plan,
                SettledDecision(
                    answered.target.name if answered else None,
                    answered.tier if answered else None,
                    outcome.usage,
                    self._checked,
                    self._examined.accept if self._examined else None,
                    "sent" if any(note.startswith("sent:") for note in self._notes) else "held",
                    status == "succeeded",
                ),
            )
        if self.held is not None:
            message = self.held.message
        for watch in self.watches:
            try:
                watch.ended(outcome, message if status == "succeeded" else None)
            except Exception as error:
                log_crash(self.ask.request_id, error)


def _rank(attempt: PlannedAttempt) -> int:
    return TIERS.index(attempt.tier) if attempt.tier is not None else 0


def _leave(permission: Permit | None) -> None:
    """Give back a pass that was not used."""
    if permission is not None:
        permission.end(False, None)


def _mean_logprob(tally: UsageTracker, examined: CheckResult | None) -> float | None:
    """Of the answer, or where it has none, of the one that was checked before it."""
    if tally.evidence is not None:
        return tally.evidence.mean_logprob
    return None if examined is None else examined.mean_logprob


_EMPTY = UsageTracker()
