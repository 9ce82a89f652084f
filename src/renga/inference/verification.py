"""Checking an answer before the client sees it: what a check needs is fetched, and asked again.

Owns: buffered answers, second opinions, judgements, and that a check which cannot be made does not accept.
Must never know: what the checks conclude (`routing/checks/answer_checks.py`), who is asked next.
Invariants: a check that fails, for whatever reason, escalates; what it used is in the request's log of attempts; a
client that leaves stops whatever is being fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from renga.accounting.ledger.lease import Role
from renga.errors import ApiError, Overloaded, RengaError
from renga.inference.attempt import Attempt, AttemptLog
from renga.inference.judging import ask_judge, read_judgement
from renga.models.providers.provider_seam import Target
from renga.protocols.messages.blocks import TextBlock, ToolUseBlock
from renga.protocols.messages.edits.request_rewrite import ask_whole
from renga.protocols.messages.events.accumulator import fold_batches
from renga.protocols.messages.events.event_types import Batch, Evidence, Message
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import ThinkingAdaptive, ThinkingEnabled
from renga.routing.plan import PlannedAttempt, Verification

if TYPE_CHECKING:
    from renga.routing.checks.answer_checks import CheckCase, CheckFinding, CheckVerdict

SECOND_TEMPERATURE = 0.8
"""For the model that gave the first answer: at 0 it would only repeat itself."""


class BufferedAnswer(Struct, frozen=True):
    """A whole answer that the client has not seen."""

    batches: Sequence[Batch]
    message: Message
    evidence: Evidence | None

    @property
    def text(self) -> str:
        """Its text; "" where it calls tools, for nothing but their results can follow those."""
        if any(isinstance(block, ToolUseBlock) for block in self.message.content):
            return ""
        return "\n".join(block.text for block in self.message.content if isinstance(block, TextBlock))


class CheckResult(Struct, frozen=True):
    """What the checks found of one answer."""

    accept: bool
    confidence: float
    findings: tuple[CheckFinding, ...]
    agreement: float | None
    mean_logprob: float | None

    @property
    def has_fault(self) -> bool:
        """Whether the answer cannot stand, whatever else is known of it."""
        return any(finding.check == "structural" and finding.code != "ok" for finding in self.findings)

    @property
    def decided_by(self) -> str:
        """The finding that decided, in words; "" where no check ran."""
        return self.findings[-1].text if self.findings else ""


class CheckedAnswer(Struct, frozen=True):
    """An answer that was checked, and what was found."""

    attempt: Attempt
    answer: BufferedAnswer
    result: CheckResult


def buffer_answer(batches: Sequence[Batch]) -> BufferedAnswer:
    """Add up what a target sent.

    Raises: ApiError if it is no whole answer.
    """
    folded = fold_batches(batches)
    return BufferedAnswer(batches, folded.message(), folded.evidence)


async def check_answer(
    request: InferenceRequest, target: Target, check: Verification, answer: BufferedAnswer, log: AttemptLog
) -> CheckResult:
    """Check a target's answer to a request, fetching what the checks need; what is asked for that is in the log."""
    # It needs numpy, which was loaded when the policy decided.
    from renga.routing.checks.answer_checks import CheckCase, CheckFinding, verify

    case = CheckCase(request.message, answer.message, answer.evidence)
    while True:
        verdict = verify(case, check.policy)
        if verdict.needs is None:
            return _conclude(verdict, answer, verdict.findings)
        try:
            async with asyncio.timeout(check.timeout_s):
                if verdict.needs == "second":
                    case = await _add_second_opinion(case, request, target, check, log)
                else:
                    case = await _add_judgement(case, request, check, log)
        except (RengaError, TimeoutError) as error:
            named = error.type if isinstance(error, RengaError) else "timeout"
            missed = CheckFinding(verdict.needs, named)
            return _conclude(replace(verdict, accept=False), answer, (*verdict.findings, missed))


async def _add_second_opinion(
    case: CheckCase, request: InferenceRequest, target: Target, check: Verification, log: AttemptLog
) -> CheckCase:
    """The case with one more second opinion.

    Raises: RengaError when it cannot be had.
    """
    from renga.routing.checks.answer_checks import SecondOpinion

    asked = check.second or target
    temperature = SECOND_TEMPERATURE if asked == target and _is_cold(request) else None
    answer = await _ask_for_check(ask_whole(request, temperature), asked, "second", log)
    return replace(case, seconds=(*case.seconds, SecondOpinion(answer, None)))


async def _add_judgement(case: CheckCase, request: InferenceRequest, check: Verification, log: AttemptLog) -> CheckCase:
    """The case with a judge's grade.

    Raises: RengaError when it cannot be had.
    """
    from renga.routing.checks.answer_checks import Judgement

    if check.judge is None:
        raise ApiError("no target judges here")
    question = replace(ask_judge(request, case.answer), betas=(), forwarded_headers=())
    answer = await _ask_for_check(question, check.judge, "judge", log)
    return replace(case, judgement=Judgement(read_judgement(answer), None))


async def _ask_for_check(request: InferenceRequest, target: Target, role: Role, log: AttemptLog) -> Message:
    """One more answer, for the check alone.

    Raises: RengaError when it cannot be had.
    """
    health = log.services.health
    permit = None
    if health is not None:
        permit = health.enter(target.name)
        if permit is None:
            raise Overloaded(f"{target.name} is {health.refusal(target.name)}")
    # An id of its own: an engine knows its requests by them.
    named = replace(request, request_id=f"{request.request_id}_{role}{len(log.attempts)}")
    attempt = log.start(named, PlannedAttempt(target, None), role, permit)
    try:
        first = attempt.take_first(await anext(attempt.stream, None))
    except BaseException as error:
        attempt.end(error)
        raise
    return buffer_answer(await attempt.collect(first)).message


def _is_cold(request: InferenceRequest) -> bool:
    """Whether the same model would say the same again. One that thinks takes no temperature, and varies by itself."""
    message = request.message
    thinks = isinstance(message.thinking, ThinkingEnabled | ThinkingAdaptive)
    return not thinks and not message.temperature


def _conclude(verdict: CheckVerdict, answer: BufferedAnswer, findings: tuple[CheckFinding, ...]) -> CheckResult:
    logprob = None if answer.evidence is None else answer.evidence.mean_logprob
    return CheckResult(verdict.accept, verdict.confidence, findings, verdict.agreement, logprob)
