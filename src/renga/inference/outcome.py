"""What became of a request that was planned, as one outcome for the ledger.

Owns: which attempt's usage is the answer's, whether the small tier's answer was kept, and if not, why.
Must never know: how a request was answered; it reads what was noted on the way.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct

from renga.accounting.ledger.lease import RequestOutcome, Status
from renga.domain.reasons import Reason
from renga.errors import RengaError
from renga.inference.attempt import Attempt, AttemptLog
from renga.inference.verification import CheckedAnswer
from renga.protocols.messages.events.event_types import Message
from renga.routing.plan import Plan


class Findings:
    """What was found of a request's answers on the way, in the order in which it was found."""

    __slots__ = ("checked", "reasons")

    def __init__(self) -> None:
        self.checked: list[CheckedAnswer] = []
        """Answers that were held until they were checked, and at last the one that was sent before its check."""
        self.reasons: list[Reason] = []

    def note_check(self, checked: CheckedAnswer, *, is_sent: bool = False) -> None:
        """Note a check; `is_sent`: its answer is with the client already."""
        result = checked.result
        self.checked.append(checked)
        self.reasons.append(Reason("check", ",".join([finding.text for finding in result.findings])))
        if result.accept:
            self.reasons.append(Reason("sent_kept" if is_sent else "kept"))
        else:
            self.reasons.append(Reason("sent_escalated" if is_sent else "escalated", result.decided_by or "none"))

    @property
    def is_sent_first(self) -> bool:
        """Whether an answer was checked after the client had it."""
        return any(reason.kind in ("sent_kept", "sent_escalated") for reason in self.reasons)

    @property
    def last_rejected(self) -> CheckedAnswer | None:
        """The last answer that was not accepted, where none was since."""
        return self.checked[-1] if self.checked and not self.checked[-1].result.accept else None


class Ending(Struct, frozen=True):
    """How a request that had a plan has ended."""

    status: Status
    error_type: str | None
    attempt: Attempt | None
    """The one that answered, or the last that was tried."""
    overhead_us: int
    total_us: int
    first_event_us: int | None = None
    """When the client could be answered; None where nothing came."""


def classify_failure(error: BaseException) -> tuple[Status, str | None]:
    """The status and the error's type of a request that brought nothing."""
    if isinstance(error, RengaError):
        return "failed", error.type
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "canceled", None
    return "failed", "api_error"


def compose_failure(error: BaseException, total_us: int) -> RequestOutcome:
    """The outcome of a request that came to no plan."""
    status, error_type = classify_failure(error)
    return RequestOutcome(status, None, None, (), (), None, None, error_type, 0, None, total_us, winner=None)


def compose_outcome(plan: Plan, log: AttemptLog, findings: Findings, ending: Ending) -> RequestOutcome:
    """The outcome of a request that was planned, however it ended."""
    attempt = ending.attempt
    is_failed = ending.status == "failed"
    tracker = attempt.tracker if attempt is not None else None
    first = findings.checked[0].result if findings.checked else None
    kept, because = _judge_outcome(plan, log, findings, ending)
    # What must be given stands in the order of the fields, which is several times faster than by name.
    return RequestOutcome(
        ending.status,
        attempt.planned.target.name if attempt is not None else None,
        attempt.planned.tier if attempt is not None else None,
        (*plan.reasons, *findings.reasons),
        log.records(),
        tracker.usage if tracker is not None and not is_failed else None,
        tracker.stop_reason if tracker is not None and not is_failed else None,
        ending.error_type,
        ending.overhead_us,
        ending.first_event_us,
        ending.total_us,
        mean_logprob=_mean_logprob(attempt, findings),
        winner=log.attempts.index(attempt) if attempt is not None and not is_failed else None,
        policy=plan.policy,
        triage_score=plan.triage_score,
        confidence=None if first is None else first.confidence,
        kept=kept,
        escalated_because=because,
        agreement=None if first is None else first.agreement,
        message_id=None if tracker is None else tracker.message_id,
        rejected=_find_rejected(findings, ending),
    )


def _find_rejected(findings: Findings, ending: Ending) -> Message | None:
    """The answer that was not accepted, where another took its place or none could."""
    rejected = next((checked for checked in reversed(findings.checked) if not checked.result.accept), None)
    is_answer = ending.first_event_us is not None and rejected is not None and rejected.attempt is ending.attempt
    return None if rejected is None or is_answer else rejected.answer.message


def _judge_outcome(plan: Plan, log: AttemptLog, findings: Findings, ending: Ending) -> tuple[bool | None, str | None]:
    """Say whether the small tier's answer was kept, and if not, why."""
    if plan.policy is None or ending.attempt is None or ending.status == "failed":
        return None, None
    if findings.checked:
        result = findings.checked[0].result
        return result.accept, None if result.accept else result.decided_by
    if ending.first_event_us is None:
        return None, None
    if ending.attempt.planned.tier == plan.small:
        return True, None
    return False, _why_not_tried(plan, log, ending.attempt)


def _why_not_tried(plan: Plan, log: AttemptLog, answering: Attempt) -> str:
    """Why a tier above answered although nothing was rejected."""
    failed = next((each for each in log.attempts if each is not answering), None)
    if failed is not None:
        return f"failed:{failed.record().error_type}"
    if log.skipped:
        return str(log.skipped[0].error_type)
    if any(other.check is not None for other in plan.attempts):
        # It was to be tried, and stood behind because it could not take work.
        return "not_ready"
    return plan.reasons[-1].text


def _mean_logprob(attempt: Attempt | None, findings: Findings) -> float | None:
    """The mean log-probability of the answer, or of the answer that was checked before it."""
    if attempt is not None and attempt.tracker.evidence is not None:
        return attempt.tracker.evidence.mean_logprob
    return findings.checked[0].result.mean_logprob if findings.checked else None
