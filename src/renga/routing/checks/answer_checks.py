"""Verify: look at the small tier's answer before the client sees it, and accept it or escalate.

Owns: the order of the checks, what each concludes, and what would help next.
Must never know: how a second answer or a judgement is fetched; the path does that and asks again.
Invariants: pure, a case gives the same verdict every time; an answer with a structural fault is never accepted;
evidence that has no calibrated curve can ask for more, but not accept.

    verdict = verify(case, policy)
    while verdict.needs:                      # the path fetches what is named, and asks again
        case = replace(case, seconds=(*case.seconds, ...))
        verdict = verify(case, policy)

| check | needs | concludes |
|---|---|---|
| structural | the answer | reject on a fault, else nothing |
| logprob | the engine's log-probabilities and a curve | accept above, reject below, else nothing |
| agreement | second cheap answers, one at a time | accept above, else nothing |
| judge | a judgement from another tier | accept or reject |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from renga.protocols.messages.blocks import ToolUseBlock
from renga.protocols.messages.events.event_types import Evidence, Message
from renga.protocols.messages.request import MessageRequest
from renga.routing.checks.agreement import AnswerKind, agree
from renga.routing.checks.calibration import Curve
from renga.routing.checks.structural_check import answer_text, fault_code, find_fault

CheckName: TypeAlias = Literal["structural", "logprob", "agreement", "judge"]
Needed: TypeAlias = Literal["second", "judgement"]


AGREES_FROM = 0.5
"""The share from which a second answer counts as a vote for the first; numbers, labels and choices have 0 or 1."""


class Judgement(Struct, frozen=True):
    """The confidence that a judge gave an answer, and what asking it cost."""

    confidence: float
    """That the answer is good enough, 0..1."""
    cost_nano_usd: int | None
    """None: not known."""


class SecondOpinion(Struct, frozen=True):
    """A second answer to the same request, from the same tier or another cheap target."""

    answer: Message
    cost_nano_usd: int | None


class CheckCase(Struct, frozen=True):
    """An answer and all that is known of it."""

    request: MessageRequest
    answer: Message
    evidence: Evidence | None = None
    seconds: tuple[SecondOpinion, ...] = ()
    """Second answers in the order they were asked for."""
    judgement: Judgement | None = None


class CheckPolicy(Struct, frozen=True):
    """Which checks run on a route, and where they cut. A check that is not named is skipped."""

    checks: tuple[CheckName, ...] = ("structural", "logprob", "agreement")
    accept_from: float = 0.9
    """Confidence from which an answer is accepted; the certificate's threshold once there is one."""
    seconds_max: int = 1
    """Second answers to ask for; the next only where those before disagree. With two, 9.7 % of opus calls kept 99 % of
    opus on GSM8K, with one 13.9 % (docs/concepts/routing.md)."""
    reject_below: float = 0.2
    """Confidence of the log-probabilities below which a second answer is not worth its price."""
    curves: dict[CheckName, Curve] = {}
    """Evidence -> probability that the answer is good enough. Agreement without one counts as its share.
    Structure's is asked at 1: what an answer without a fault is worth where nothing else is checked."""
    kind: AnswerKind | None = None
    """How answers are compared; None: as what they look like."""


class CheckFinding(Struct, frozen=True):
    """What one check found, without a word of the answer."""

    check: CheckName | Needed
    """The check, or what it needed and could not get."""
    code: str
    """As `ok`, `not_empty`, `number=1.00`; or the error that kept it from looking."""

    @property
    def text(self) -> str:
        """The finding as the ledger has it, as `structural:not_empty`."""
        return f"{self.check}:{self.code}"


class CheckVerdict(Struct, frozen=True):
    """What is known of an answer so far."""

    accept: bool
    confidence: float
    findings: tuple[CheckFinding, ...]
    """In the order of the checks."""
    cost_nano_usd: int | None
    """Of the checks so far; None where a price is not known."""
    needs: Needed | None = None
    """What would settle it; None: it is settled. Until then `accept` is False."""
    agreement: float | None = None
    """The mean share of agreement with the second answers; None where none were compared."""


class _Conclusion(Struct, frozen=True):
    """What one check concluded about an answer, or what it still needs."""

    code: str
    confidence: float | None = None
    settled: bool = False
    needs: Needed | None = None
    agreement: float | None = None


def verify(case: CheckCase, policy: CheckPolicy) -> CheckVerdict:
    """Run the policy's checks in order of cost until one settles the case or needs what is not there yet.

    Cost: structural checks are linear in the answer; no I/O.
    """
    confidence = 0.0
    agreement: float | None = None
    findings: list[CheckFinding] = []
    for name, run in CHECKS:
        if name not in policy.checks:
            continue
        found = run(case, policy)
        if found.needs is not None:
            return CheckVerdict(False, confidence, tuple(findings), _cost(case), found.needs, agreement)
        findings.append(CheckFinding(name, found.code))
        agreement = found.agreement if found.agreement is not None else agreement
        confidence = confidence if found.confidence is None else found.confidence
        if found.settled:
            break
    return CheckVerdict(confidence >= policy.accept_from, confidence, tuple(findings), _cost(case), agreement=agreement)


def _structural(case: CheckCase, policy: CheckPolicy) -> _Conclusion:
    fault = find_fault(case.request, case.answer)
    if fault is not None:
        return _Conclusion(fault_code(fault), 0.0, settled=True)
    curve = policy.curves.get("structural")
    return _Conclusion("ok", None if curve is None else curve.probability(1.0))


def _logprob(case: CheckCase, policy: CheckPolicy) -> _Conclusion:
    curve = policy.curves.get("logprob")
    if case.evidence is None or curve is None:
        return _Conclusion("none" if case.evidence is None else "uncalibrated")
    confidence = curve.probability(case.evidence.mean_logprob)
    settled = confidence >= policy.accept_from or confidence < policy.reject_below
    return _Conclusion(f"{confidence:.2f}", confidence, settled)


def _agreement(case: CheckCase, policy: CheckPolicy) -> _Conclusion:
    """The mean share of agreement: 1 where the first second agrees, a half where only the next does."""
    if not case.seconds:
        return _Conclusion("", needs="second")
    kind = policy.kind or (AnswerKind.JSON if _is_json(case.request) else None)
    own = comparable_text(case.answer)
    found = [agree(own, comparable_text(second.answer), kind) for second in case.seconds]
    share = sum(one.share for one in found) / len(found)
    curve = policy.curves.get("agreement")
    confidence = curve.probability(share) if curve is not None else share
    if confidence < policy.accept_from and found[-1].share < AGREES_FROM and len(found) < policy.seconds_max:
        return _Conclusion("", needs="second")
    return _Conclusion(f"{found[0].kind}={share:.2f}", confidence, confidence >= policy.accept_from, agreement=share)


def _judge(case: CheckCase, policy: CheckPolicy) -> _Conclusion:
    if case.judgement is None:
        return _Conclusion("", needs="judgement")
    return _Conclusion(f"{case.judgement.confidence:.2f}", case.judgement.confidence, settled=True)


CHECKS: tuple[tuple[CheckName, Callable[[CheckCase, CheckPolicy], _Conclusion]], ...] = (
    ("structural", _structural),
    ("logprob", _logprob),
    ("agreement", _agreement),
    ("judge", _judge),
)
"""In order of cost."""


def comparable_text(message: Message) -> str:
    """What of an answer is compared: its tool calls where it makes some, as JSON, else its text."""
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    if not calls:
        return answer_text(message)
    return "[" + ", ".join(f'{{"{call.name}": {bytes(call.input).decode()}}}' for call in calls) + "]"


def _is_json(request: MessageRequest) -> bool:
    return request.output_config is not None and request.output_config.format is not None


def _cost(case: CheckCase) -> int | None:
    total = 0
    for part in (*case.seconds, *((case.judgement,) if case.judgement is not None else ())):
        if part.cost_nano_usd is None:
            return None
        total += part.cost_nano_usd
    return total
