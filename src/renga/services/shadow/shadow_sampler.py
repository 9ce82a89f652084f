"""Shadow traffic: a share of what policies decide is answered a second time in the background, and compared.

Owns: whom to ask for the other side of a drawn request.
Must never know: HTTP, SQL, how requests are drawn (`routing/monitoring/sampler.py`), how they are asked
(`services/shadow/second_answers.py`).
Invariant: what the client got decides what a label says, not what a check thought of it.

| what the policy did | what is asked in the background | label |
|---|---|---|
| kept the small tier's answer | the top tier | kept; the loss is what the top's answer scores more |
| tried it and escalated | nothing: both answers are there | escalated; a loss of 0 |
| went straight up | the small tier and its second answers, checked as the policy does | escalated; a loss of 0 |

The last line is how a floor that has no certificate yet gets its labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from renga.accounting.ledger.lease import RequestOutcome
from renga.domain.outcomes import OutcomeRecord
from renga.inference import InferenceRequest
from renga.protocols.messages.events.event_types import Message
from renga.routing.monitoring.sampler import Sampler
from renga.routing.plan import Plan
from renga.routing.policy.policies import Policies
from renga.services.shadow.second_answers import AnsweredRequest, AnswerPair, ComparisonResult, SecondAnswers, add_costs

if TYPE_CHECKING:
    from renga.store.database import Database


class ShadowSampler:
    """Watches requests; draws, and asks the side that did not answer."""

    def __init__(self, second: SecondAnswers, pairs: Mapping[str, AnswerPair], policies: Policies) -> None:
        self.second = second
        self._pairs = pairs
        self._policies = policies

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """The samplers of all policies with shadow traffic, one for each."""
        return tuple(pair.sampler for pair in self._pairs.values())

    def observe_request(self, request: InferenceRequest, plan: Plan) -> _ShadowObservation | None:
        """An observation of a request that is drawn. Never one whose key may not use both tiers."""
        if plan.policy is None:
            return None
        pair = self._pairs.get(plan.policy)
        allowed = request.caller.tiers
        if pair is None or (allowed and not {pair.sampler.terms.small, pair.sampler.terms.top} <= set(allowed)):
            return None
        return _ShadowObservation(self, pair, request) if pair.sampler.sample() else None

    def restore(self, database: Database) -> None:
        """Do nothing: today's spending is read from the outcome rows that follow."""

    def observe(self, record: OutcomeRecord, database: Database) -> None:
        """Count what second answers cost, those of other processes and of earlier today too."""
        pair = self._pairs.get(record.policy)
        if pair is not None and record.source == "shadow":
            pair.sampler.note_spent(record)

    async def ask_top(
        self, pair: AnswerPair, request: InferenceRequest, outcome: RequestOutcome, kept: Message
    ) -> None:
        """Let the top tier answer what the small one kept, or one between."""
        terms = pair.sampler.terms
        answered = await self.second.ask(request, pair.top)
        if answered is None:
            self.second.write(pair, request, outcome, ComparisonResult("failed"))
            return
        costs = {} if answered.cost_nano_usd is None else {terms.top: answered.cost_nano_usd}
        scores, judging = await self.second.score(pair, request, answered.message, kept)
        if scores and outcome.tier != terms.small:
            scores = {str(outcome.tier): scores[terms.small], terms.top: scores[terms.top]}
        second = add_costs(answered.cost_nano_usd, judging)
        self.second.write(
            pair, request, outcome, ComparisonResult("kept" if scores else "unjudged", scores, costs, second)
        )

    async def ask_small(
        self, pair: AnswerPair, request: InferenceRequest, outcome: RequestOutcome, top: Message
    ) -> None:
        """Let the small tier answer what went straight up, with the evidence that its policy would have had."""
        answered = await self.second.ask(request, pair.small)
        if answered is None:
            self.second.write(pair, request, outcome, ComparisonResult("failed"))
            return
        evidence, check = await self._gather(pair, request, answered)
        costs = {} if answered.cost_nano_usd is None else {pair.sampler.terms.small: answered.cost_nano_usd}
        scores, judging = await self.second.score(pair, request, top, answered.message)
        second = add_costs(add_costs(answered.cost_nano_usd, check), judging)
        self.second.write(pair, request, outcome, ComparisonResult("escalated", scores, costs, second, evidence, check))

    async def compare_rejected(
        self, pair: AnswerPair, request: InferenceRequest, outcome: RequestOutcome, answers: tuple[Message, Message]
    ) -> None:
        """Compare the small tier's answer that was not accepted with the top's, which took its place."""
        scores, judging = await self.second.score(pair, request, answers[1], answers[0])
        self.second.write(pair, request, outcome, ComparisonResult("escalated", scores, {}, judging))

    async def _gather(
        self, pair: AnswerPair, request: InferenceRequest, first: AnsweredRequest
    ) -> tuple[dict[str, float], int | None]:
        """The evidence that the policy's checks would find, and what its second answers cost."""
        from renga.routing.checks.answer_checks import CheckCase, SecondOpinion, verify

        policy = self._policies.find(pair.sampler.terms.subject)
        if policy is None:
            return {}, 0
        checks = policy.rules.checks_for(pair.small.name)
        # A judge's grade is an evidence that nobody ranks by, and dear.
        checks = replace(checks, checks=tuple(check for check in checks.checks if check != "judge"))
        case = CheckCase(request.message, first.message, first.evidence)
        verdict = verify(case, checks)
        spent: int | None = 0
        while verdict.needs is not None:
            other = await self.second.ask(request, pair.small)
            if other is None:
                return {}, spent
            spent = add_costs(spent, other.cost_nano_usd)
            case = replace(case, seconds=(*case.seconds, SecondOpinion(other.message, other.cost_nano_usd)))
            verdict = verify(case, checks)
        evidence = {"confidence": verdict.confidence}
        if verdict.agreement is not None:
            evidence["agreement"] = verdict.agreement
        if first.evidence is not None:
            evidence["mean_logprob"] = min(0.0, first.evidence.mean_logprob)
        return evidence, spent


class _ShadowObservation:
    """Follows one request that was sampled for a shadow comparison."""

    def __init__(self, sampler: ShadowSampler, pair: AnswerPair, request: InferenceRequest) -> None:
        self._sampler = sampler
        self._pair = pair
        self._request = request

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        """The request is settled: ask the other side.

        An answer that was sent before its check, or for want of a better one, is the small tier's all the same.
        """
        sampler, pair, request = self._sampler, self._pair, self._request
        if outcome.status != "succeeded" or message is None or outcome.tier is None:
            pair.sampler.release()
        elif outcome.tier != pair.sampler.terms.top:
            sampler.second.start(pair, sampler.ask_top(pair, request, outcome, message))
        elif outcome.rejected is not None:
            sampler.second.start(pair, sampler.compare_rejected(pair, request, outcome, (outcome.rejected, message)))
        else:
            sampler.second.start(pair, sampler.ask_small(pair, request, outcome, message))
