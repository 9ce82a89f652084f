"""Second answers: asking in the background what nobody waits for, comparing it, and writing down what came of it.

Owns: the tasks in the background, the request that is asked there, the row.
Must never know: HTTP, SQL, why a request is answered twice (`services/shadow/shadow_sampler.py`,
`services/shadow/canary_sampler.py`).
Invariants: live traffic waits for nothing here; what is asked here enters by `answer()` under a key of its own, so that
nobody's limits or budget pay for it; neither prompts nor answers are kept, only scores and evidence; every request that
was drawn is released.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from renga import ids
from renga.accounting.ledger.lease import RequestOutcome
from renga.domain.outcomes import Label, OutcomeRecord
from renga.errors import ApiError, RengaError
from renga.inference import Caller, InferenceRequest, Services, answer
from renga.inference.judging import ask_judge, read_judgement
from renga.models.providers.provider_seam import Target
from renga.protocols.messages.events.accumulator import fold
from renga.protocols.messages.events.event_types import Evidence, Message
from renga.routing.checks.paired_scores import score_against
from renga.routing.monitoring.sampler import Sampler
from renga.routing.outcomes.outcome_book import OutcomeBook

_log = logging.getLogger("renga.shadow")

SURFACE = "shadow"
KEY_ID = "shadow"
"""Under which the ledger has what is asked here."""


class AnswerPair(Struct, frozen=True):
    """The two targets that are compared, with the sampler that picks requests and the judge of their answers."""

    sampler: Sampler
    small: Target
    """Whose answers may be worse."""
    top: Target
    judge: Target | None = None
    """Who grades answers that cannot be compared; None: they go unjudged."""


class AnsweredRequest(Struct, frozen=True):
    """A second answer with its cost and the evidence of its quality."""

    message: Message
    cost_nano_usd: int | None
    evidence: Evidence | None


class ComparisonResult(Struct, frozen=True):
    """The result of comparing the two answers to a sampled request."""

    label: Label
    scores: dict[str, float] = {}
    costs_nano_usd: dict[str, int] = {}
    """Of the side that was asked in the background."""
    second_nano_usd: int | None = 0
    """Of everything that was asked in the background."""
    evidence: dict[str, float] = {}
    """Beside what the request itself brought."""
    check_nano_usd: int | None = None
    is_billed: bool = True
    """Whether the request's own row says what the small side cost."""


class SecondAnswers:
    """Asks another target the same question, compares both answers and records the outcome."""

    def __init__(self, parts: Services, book: OutcomeBook) -> None:
        """`parts` is the path without observers: what is asked here is not drawn again."""
        self._parts = parts
        self._book = book
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, pair: AnswerPair, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; its end releases a drawn request."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            pair.sampler.release()
            if not task.cancelled() and task.exception() is not None:
                # its words may quote the prompt
                _log.error("a shadow request failed: %s", type(task.exception()).__name__)

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def settle(self) -> None:
        """Wait for what runs in the background."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def stop(self) -> None:
        """Give up what runs in the background; it leaves no row here. Idempotent."""
        for task in tuple(self._tasks):
            task.cancel()
        await self.settle()

    def write(
        self, pair: AnswerPair, request: InferenceRequest, outcome: RequestOutcome, found: ComparisonResult
    ) -> None:
        """Write down what came of a drawn request."""
        terms = pair.sampler.terms
        self._book.add(
            OutcomeRecord(
                request_id=request.request_id,
                time_us=int(self._parts.clock.now().timestamp() * 1_000_000),
                key_id=request.caller.key_id,
                policy=terms.subject,
                source=terms.source,
                label=found.label,
                scores=found.scores,
                costs_nano_usd=found.costs_nano_usd,
                check_nano_usd=found.check_nano_usd,
                evidence=read_evidence(outcome) | found.evidence,
                propensity=terms.share,
                second_nano_usd=found.second_nano_usd,
                certificate=terms.digest or None,
                small=terms.small if found.is_billed else None,
                top=terms.top,
            )
        )

    async def score(
        self, pair: AnswerPair, request: InferenceRequest, top: Message, small: Message
    ) -> tuple[dict[str, float], int | None]:
        """Both sides' scores, {} where nobody can tell, and what it cost to find out."""
        terms = pair.sampler.terms
        score = score_against(request.message, top, small)
        if score is not None:
            return {terms.small: score, terms.top: 1.0}, 0
        if pair.judge is None:
            return {}, 0
        grades: list[float] = []
        spent: int | None = 0
        for message in (small, top):
            graded = await self.ask(ask_judge(request, message), pair.judge)
            if graded is None:
                return {}, spent
            spent = add_costs(spent, graded.cost_nano_usd)
            try:
                grades.append(read_judgement(graded.message))
            except ApiError:
                return {}, spent
        return {terms.small: grades[0], terms.top: grades[1]}, spent

    async def ask(self, request: InferenceRequest, target: Target) -> AnsweredRequest | None:
        """One answer of a target; None where it has none."""
        try:
            answered = await answer(readdress(request, target, self._parts), self._parts)
        except RengaError:
            return None
        try:
            folded = await fold(answered)
        finally:
            settled = await answered.close()
        if settled.outcome.status != "succeeded":
            return None
        return AnsweredRequest(folded.message(), settled.cost_nano_usd, folded.evidence)


def readdress(request: InferenceRequest, target: Target, parts: Services) -> InferenceRequest:
    """The same request to a target of our choice, under the key of what is asked in the background."""
    return replace(
        request,
        message=replace(request.message, model=target.name),
        caller=Caller(KEY_ID),
        request_id=ids.request_id(),
        surface=SURFACE,
        arrived_ns=parts.clock.monotonic_ns(),
        # The local engine lets live requests go first; of an upstream it would ask another price.
        service_tier="batch" if target.provider == "local" else request.service_tier,
    )


def read_evidence(outcome: RequestOutcome) -> dict[str, float]:
    """What was known when a request was kept or handed on, under the names of `routing/outcomes/outcome_file.py`."""
    found = {
        "confidence": outcome.confidence,
        "agreement": outcome.agreement,
        "mean_logprob": None if outcome.mean_logprob is None else min(0.0, outcome.mean_logprob),
        "triage": outcome.triage_score,
    }
    return {name: value for name, value in found.items() if value is not None}


def add_costs(first: int | None, second: int | None) -> int | None:
    """A sum of money, of which an unknown part makes all unknown."""
    return None if first is None or second is None else first + second
