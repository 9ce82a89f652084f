"""Canaries: a candidate's answers beside those of the target that it may replace.

Owns: which of a candidate's requests are answered by the other target too, and what a failure of it counts.
Must never know: HTTP, SQL, how a tier's requests are shared (`routing/targets/traffic_split.py`), what is concluded
(`routing/monitoring/guarantee_monitor.py`).
Invariant: a candidate that fails a request has lost it, though another target answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from renga.accounting.ledger.lease import AttemptRecord, RequestOutcome
from renga.domain.outcomes import OutcomeRecord
from renga.inference import InferenceRequest
from renga.protocols.messages.events.event_types import Message
from renga.routing.monitoring.sampler import Sampler
from renga.routing.plan import Plan
from renga.services.shadow.second_answers import AnswerPair, ComparisonResult, SecondAnswers, add_costs

if TYPE_CHECKING:
    from renga.store.database import Database


class CanarySampler:
    """Compares the answers of canary candidates with those of the targets they may replace."""

    def __init__(self, second: SecondAnswers, pairs: Sequence[AnswerPair]) -> None:
        self.second = second
        self._pairs = {pair.small.name: pair for pair in pairs}

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """The samplers of all candidates, one for each of them."""
        return tuple(pair.sampler for pair in self._pairs.values())

    def observe_request(self, request: InferenceRequest, plan: Plan) -> _CanaryObservation | None:
        """An observation of a request that a candidate is to answer."""
        for reason in plan.reasons:
            pair = self._pairs.get(reason.detail) if reason.kind == "canary" else None
            if pair is not None:
                return _CanaryObservation(self, pair, request) if pair.sampler.sample() else None
        return None

    def restore(self, database: Database) -> None:
        """Do nothing: today's spending is read from the outcome rows that follow."""

    def observe(self, record: OutcomeRecord, database: Database) -> None:
        """Count what second answers cost, those of other processes and of earlier today too."""
        pair = self._pairs.get(record.policy)
        if pair is not None and record.source == "canary":
            pair.sampler.note_spent(record)

    async def pair_up(self, pair: AnswerPair, request: InferenceRequest, outcome: RequestOutcome, own: Message) -> None:
        """Let the other target answer what the candidate answered, and compare."""
        answered = await self.second.ask(request, pair.top)
        if answered is None:
            self.second.write(pair, request, outcome, ComparisonResult("failed", is_billed=False))
            return
        scores, judging = await self.second.score(pair, request, answered.message, own)
        spent = add_costs(answered.cost_nano_usd, judging)
        label = "kept" if scores else "unjudged"
        self.second.write(pair, request, outcome, ComparisonResult(label, scores, {}, spent, is_billed=False))


def _was_sent(record: AttemptRecord) -> bool:
    return record.role == "answer" and record.was_sent


class _CanaryObservation:
    """Follows one request that a candidate was asked, to compare its answer."""

    def __init__(self, sampler: CanarySampler, pair: AnswerPair, request: InferenceRequest) -> None:
        self._sampler = sampler
        self._pair = pair
        self._request = request

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        """Start the comparison, if the candidate was asked and its answer can be compared."""
        sampler, pair, request = self._sampler, self._pair, self._request
        name = pair.small.name
        tried = next((each for each in outcome.attempts if each.target == name and _was_sent(each)), None)
        own = message if outcome.target == name and outcome.status == "succeeded" else outcome.rejected
        if tried is None or tried.error_type == "canceled" or outcome.status == "canceled":
            pair.sampler.release()
        elif tried.error_type is not None:
            terms = pair.sampler.terms
            lost = ComparisonResult("kept", {terms.small: 0.0, terms.top: 1.0}, is_billed=False)
            sampler.second.write(pair, request, outcome, lost)
            pair.sampler.release()
        elif own is not None:
            sampler.second.start(pair, sampler.pair_up(pair, request, outcome, own))
        else:
            pair.sampler.release()
