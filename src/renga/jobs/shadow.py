"""Shadow traffic: a share of what policies decide is answered a second time in the background, and compared.

Owns: asking the other side of a drawn request, and the row that comes of it.
Must never know: HTTP, SQL, how requests are drawn (`route/arms.py`) or scores made (`route/pairing.py`).
Invariants: live traffic waits for nothing here; what is asked here enters by `answer()` under a key of its own, so that
nobody's limits or budget pay for it; neither prompts nor answers are kept, only scores and evidence; every request that
was drawn is released.

| what the policy did | what is asked in the background | label |
|---|---|---|
| kept the small tier's answer | the top tier | kept; the loss is what the top's answer scores more |
| tried it and escalated | nothing: both answers are there | escalated; a loss of 0 |
| went straight up | the small tier and its second answers, checked as the policy does | escalated; a loss of 0 |

The last line is how a floor that has no certificate yet gets its labels.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from renga import ids
from renga.answer import Ask, Parts, answer
from renga.answer.judging import ask_judge, read_judgement
from renga.errors import ApiError, RengaError
from renga.meter.lease import Outcome
from renga.providers.base import Target
from renga.route.arms import Arm
from renga.route.outcome_book import OutcomeBook
from renga.route.pairing import score_against
from renga.route.plan import Plan
from renga.route.policies import Policies
from renga.store.outcome_rows import Label, OutcomeRecord
from renga.wire.fold import Folder
from renga.wire.stream import Evidence, Message

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.shadow")

SURFACE = "shadow"
KEY_ID = "shadow"
"""Under which the ledger has what is asked here."""


class Pair(Struct, frozen=True):
    """The two sides of an arm."""

    arm: Arm
    small: Target
    """Whom to ask where the small tier was not."""
    top: Target
    judge: Target | None = None
    """Who grades answers that cannot be compared; None: they go unjudged."""


class _Answered(Struct, frozen=True):
    """A second answer."""

    message: Message
    cost_nano_usd: int | None
    evidence: Evidence | None


class _Found(Struct, frozen=True):
    """What came of a drawn request."""

    label: Label
    scores: dict[str, float] = {}
    costs_nano_usd: dict[str, int] = {}
    """Of the side that was asked in the background."""
    second_nano_usd: int | None = 0
    """Of everything that was asked in the background."""
    evidence: dict[str, float] = {}
    """Beside what the request itself brought."""
    check_nano_usd: int | None = None


class ShadowSampler:
    """Watches requests; draws, asks, compares, writes down."""

    def __init__(self, parts: Parts, pairs: Mapping[str, Pair], policies: Policies, book: OutcomeBook) -> None:
        """`parts` is the path without watchers: what is asked here is not drawn again."""
        self._parts = parts
        self._pairs = pairs
        self._policies = policies
        self._book = book
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(pair.arm for pair in self._pairs.values())

    def begin(self, ask: Ask, plan: Plan) -> _Watch | None:
        """A watch for a request that is drawn."""
        if plan.policy is None:
            return None
        pair = self._pairs.get(plan.policy)
        if pair is None or (ask.tiers and not {pair.arm.terms.small, pair.arm.terms.top} <= set(ask.tiers)):
            return None
        return _Watch(self, pair, ask) if pair.arm.draw() else None

    def restore(self, database: Database) -> None:
        """Nothing: what was spent today is in the rows that come."""

    def observe(self, record: OutcomeRecord, database: Database) -> None:
        """Count what second answers cost, those of other processes and of earlier today too."""
        pair = self._pairs.get(record.policy)
        if pair is not None and record.source == "shadow":
            pair.arm.note_spent(record)

    def start(self, pair: Pair, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; its end releases a drawn request."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            pair.arm.release()
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

    def write(self, pair: Pair, ask: Ask, outcome: Outcome, found: _Found) -> None:
        """Write down what came of a drawn request."""
        terms = pair.arm.terms
        self._book.add(
            OutcomeRecord(
                request_id=ask.request_id,
                time_us=int(self._parts.clock.now().timestamp() * 1_000_000),
                key_id=ask.key_id,
                policy=terms.subject,
                source=terms.source,
                label=found.label,
                scores=found.scores,
                costs_nano_usd=found.costs_nano_usd,
                check_nano_usd=found.check_nano_usd,
                evidence=read_evidence(outcome) | found.evidence,
                propensity=terms.share,
                second_nano_usd=found.second_nano_usd,
                certificate=terms.seal or None,
                small=terms.small,
                top=terms.top,
            )
        )

    async def ask_top(self, pair: Pair, ask: Ask, outcome: Outcome, kept: Message) -> None:
        """Let the top tier answer what the small one kept, or one between."""
        terms = pair.arm.terms
        answered = await self._ask(ask, pair.top)
        if answered is None:
            self.write(pair, ask, outcome, _Found("failed"))
            return
        costs = {} if answered.cost_nano_usd is None else {terms.top: answered.cost_nano_usd}
        scores, judging = await self._score(pair, ask, answered.message, kept)
        if scores and outcome.tier != terms.small:
            scores = {str(outcome.tier): scores[terms.small], terms.top: scores[terms.top]}
        second = _add(answered.cost_nano_usd, judging)
        self.write(pair, ask, outcome, _Found("kept" if scores else "unjudged", scores, costs, second))

    async def ask_small(self, pair: Pair, ask: Ask, outcome: Outcome, top: Message) -> None:
        """Let the small tier answer what went straight up, with the evidence that its policy would have had."""
        answered = await self._ask(ask, pair.small)
        if answered is None:
            self.write(pair, ask, outcome, _Found("failed"))
            return
        evidence, check = await self._gather(pair, ask, answered)
        costs = {} if answered.cost_nano_usd is None else {pair.arm.terms.small: answered.cost_nano_usd}
        scores, judging = await self._score(pair, ask, top, answered.message)
        second = _add(_add(answered.cost_nano_usd, check), judging)
        self.write(pair, ask, outcome, _Found("escalated", scores, costs, second, evidence, check))

    async def compare_rejected(self, pair: Pair, ask: Ask, outcome: Outcome, answers: tuple[Message, Message]) -> None:
        """Compare the small tier's answer that was not accepted with the top's, which took its place."""
        scores, judging = await self._score(pair, ask, answers[1], answers[0])
        self.write(pair, ask, outcome, _Found("escalated", scores, {}, judging))

    async def _score(self, pair: Pair, ask: Ask, top: Message, small: Message) -> tuple[dict[str, float], int | None]:
        """Both sides' scores, {} where nobody can tell, and what it cost to find out."""
        terms = pair.arm.terms
        score = score_against(ask.request, top, small)
        if score is not None:
            return {terms.small: score, terms.top: 1.0}, 0
        if pair.judge is None:
            return {}, 0
        grades: list[float] = []
        spent: int | None = 0
        for message in (small, top):
            request, raw = ask_judge(ask.request, message)
            graded = await self._ask(replace(ask, request=request, raw=raw), pair.judge)
            if graded is None:
                return {}, spent
            spent = _add(spent, graded.cost_nano_usd)
            try:
                grades.append(read_judgement(graded.message))
            except ApiError:
                return {}, spent
        return {terms.small: grades[0], terms.top: grades[1]}, spent

    async def _gather(self, pair: Pair, ask: Ask, first: _Answered) -> tuple[dict[str, float], int | None]:
        """The evidence that the policy's checks would find, and what its second answers cost."""
        from renga.route.verify import Case, Second, verify

        policy = self._policies.find(pair.arm.terms.subject)
        if policy is None:
            return {}, 0
        checks = policy.rules.checks_for(pair.small.name)
        # A judge's grade is an evidence that nobody ranks by, and dear.
        checks = replace(checks, checks=tuple(check for check in checks.checks if check != "judge"))
        case = Case(ask.request, first.message, first.evidence)
        verdict = verify(case, checks)
        spent: int | None = 0
        while verdict.needs is not None:
            other = await self._ask(ask, pair.small)
            if other is None:
                return {}, spent
            spent = _add(spent, other.cost_nano_usd)
            case = replace(case, seconds=(*case.seconds, Second(other.message, other.cost_nano_usd)))
            verdict = verify(case, checks)
        evidence = {"confidence": verdict.confidence}
        if verdict.agreement is not None:
            evidence["agreement"] = verdict.agreement
        if first.evidence is not None:
            evidence["mean_logprob"] = min(0.0, first.evidence.mean_logprob)
        return evidence, spent

    async def _ask(self, ask: Ask, target: Target) -> _Answered | None:
        """One answer of a target; None where it has none."""
        try:
            answered = await answer(readdress(ask, target, self._parts), self._parts)
        except RengaError:
            return None
        folder = Folder()
        try:
            async for batch in answered.events:
                for event in batch:
                    folder.push(event)
        finally:
            await answered.events.aclose()
        if answered.outcome is None or answered.outcome.status != "succeeded":
            return None
        return _Answered(folder.message(), answered.cost_nano_usd, folder.evidence)


class _Watch:
    """One drawn request."""

    def __init__(self, sampler: ShadowSampler, pair: Pair, ask: Ask) -> None:
        self._sampler = sampler
        self._pair = pair
        self._ask = ask

    def ended(self, outcome: Outcome, message: Message | None) -> None:
        """The request is settled: ask the other side, or write down that it was handed on.

        What the client got decides, and not what a check thought of it: an answer that was sent before its check, or
        for want of a better one, is the small tier's all the same.
        """
        sampler, pair, ask = self._sampler, self._pair, self._ask
        if outcome.status != "succeeded" or message is None or outcome.tier is None:
            pair.arm.release()
        elif outcome.tier != pair.arm.terms.top:
            sampler.start(pair, sampler.ask_top(pair, ask, outcome, message))
        elif outcome.rejected is not None:
            sampler.start(pair, sampler.compare_rejected(pair, ask, outcome, (outcome.rejected, message)))
        else:
            sampler.start(pair, sampler.ask_small(pair, ask, outcome, message))


def _add(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def readdress(ask: Ask, target: Target, parts: Parts) -> Ask:
    """The same request to a target of our choice, under the key of what is asked in the background."""
    return replace(
        ask,
        request=replace(ask.request, model=target.name),
        request_id=ids.request_id(),
        key_id=KEY_ID,
        workspace_id=None,
        tiers=(),
        surface=SURFACE,
        # The local engine lets live requests go first; of an upstream it would ask another price.
        service_tier="batch" if target.provider == "local" else ask.service_tier,
        arrived_ns=parts.clock.monotonic_ns(),
    )


def read_evidence(outcome: Outcome) -> dict[str, float]:
    """What was known when a request was kept or handed on, under the names of `route/outcomes.py`."""
    found = {
        "confidence": outcome.confidence,
        "agreement": outcome.agreement,
        "mean_logprob": None if outcome.mean_logprob is None else min(0.0, outcome.mean_logprob),
        "triage": outcome.triage_score,
    }
    return {name: value for name, value in found.items() if value is not None}
