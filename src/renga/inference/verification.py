"""Checking an answer before the client sees it: what a check needs is fetched, and asked again.

Owns: held answers, second answers, judgements, and that a check which cannot be made does not accept.
Must never know: what the checks conclude (`routing/checks/answer_checks.py`), who is asked next.
Invariants: a check that fails, for whatever reason, escalates; what it used is in the passage's trials; a client that
leaves stops whatever is being fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from renga.accounting.ledger.lease import Role
from renga.errors import Overloaded, RengaError
from renga.inference.attempt import Attempt
from renga.inference.judging import ask_judge, read_judgement
from renga.inference.services import InferenceRequest, build_call
from renga.models.providers.provider_seam import Target
from renga.protocols.messages.blocks import TextBlock, ToolUseBlock
from renga.protocols.messages.edits.request_rewrite import ask_whole
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Batch, Evidence, Message
from renga.protocols.messages.request import ThinkingAdaptive, ThinkingEnabled
from renga.routing.plan import PlannedAttempt, Verification

if TYPE_CHECKING:
    from renga.inference.execution import RequestExecution
    from renga.routing.checks.answer_checks import CheckCase, CheckVerdict

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

    def replay(self) -> tuple[AsyncIterator[Batch], Batch]:
        """The answer as the stream that it came as."""
        return _iterate(self.batches[1:]), self.batches[0]


class CheckResult(Struct, frozen=True):
    """What the checks found."""

    accept: bool
    confidence: float
    reasons: tuple[str, ...]
    agreement: float | None
    mean_logprob: float | None

    @property
    def has_fault(self) -> bool:
        """Whether the answer cannot stand, whatever else is known of it."""
        return any(reason.startswith("structural:") and reason != "structural:ok" for reason in self.reasons)


def hold(batches: Sequence[Batch]) -> BufferedAnswer:
    """Fold what a target sent.

    Raises: ApiError if it is no whole answer.
    """
    folder = MessageAccumulator()
    for batch in batches:
        for event in batch:
            folder.add_event(event)
    return BufferedAnswer(batches, folder.message(), folder.evidence)


async def examine(passage: RequestExecution, attempt: PlannedAttempt, held: BufferedAnswer) -> CheckResult:
    """Run an attempt's checks on its answer, fetching what they need."""
    # It needs numpy, which was loaded when the policy decided.
    from renga.routing.checks.answer_checks import CheckCase, verify

    check = attempt.check
    assert check is not None
    case = CheckCase(passage.ask.request, held.message, held.evidence)
    while True:
        verdict = verify(case, check.policy)
        if verdict.needs is None:
            return _examined(verdict, held, verdict.reasons)
        try:
            async with asyncio.timeout(check.timeout_s):
                case = await _fetch(passage, attempt, check, case, verdict)
        except (RengaError, TimeoutError) as error:
            named = error.type if isinstance(error, RengaError) else "timeout"
            failed = replace(verdict, accept=False)
            return _examined(failed, held, (*verdict.reasons, f"{verdict.needs}:{named}"))


async def _fetch(
    passage: RequestExecution, attempt: PlannedAttempt, check: Verification, case: CheckCase, verdict: CheckVerdict
) -> CheckCase:
    """The case with what the verdict asks for.

    Raises: RengaError when it cannot be had.
    """
    from renga.routing.checks.answer_checks import Judgement, SecondOpinion

    ask = passage.ask
    if verdict.needs == "second":
        target = check.second or attempt.target
        temperature = SECOND_TEMPERATURE if target == attempt.target and _is_cold(ask) else None
        request, raw = ask_whole(ask.request, ask.raw, temperature)
        second = await _ask(passage, ask.renewed(request, raw), target, "second")
        return replace(case, seconds=(*case.seconds, SecondOpinion(second, None)))
    assert check.judge is not None
    request, raw = ask_judge(case.request, case.answer)
    grading = replace(ask, request=request, raw=raw, betas=(), forwarded_headers=())
    judged = await _ask(passage, grading, check.judge, "judge")
    return replace(case, judgement=Judgement(read_judgement(judged), None))


async def _ask(passage: RequestExecution, ask: InferenceRequest, target: Target, role: Role) -> Message:
    """One more answer, for the check alone."""
    assert passage.plan is not None
    parts = passage.parts
    permission = None
    if parts.health is not None:
        permission = parts.health.enter(target.name)
        if permission is None:
            raise Overloaded(f"{target.name} is {parts.health.refusal(target.name)}")
    call = build_call(ask, passage.plan, PlannedAttempt(target, None))
    # An id of its own: an engine knows its requests by them.
    call = replace(call, request_id=f"{ask.request_id}_{role}{len(passage.trials)}")
    trial = Attempt(parts, call, role, permission)
    passage.trials.append(trial)
    return hold(await trial.collect()).message


def _is_cold(ask: InferenceRequest) -> bool:
    """Whether the same model would say the same again. One that thinks takes no temperature, and varies by itself."""
    thinks = isinstance(ask.request.thinking, ThinkingEnabled | ThinkingAdaptive)
    return not thinks and not ask.request.temperature


def _examined(verdict: CheckVerdict, held: BufferedAnswer, reasons: tuple[str, ...]) -> CheckResult:
    logprob = None if held.evidence is None else held.evidence.mean_logprob
    return CheckResult(verdict.accept, verdict.confidence, reasons, verdict.agreement, logprob)


async def _iterate(batches: Sequence[Batch]) -> AsyncIterator[Batch]:
    for batch in batches:
        yield batch
