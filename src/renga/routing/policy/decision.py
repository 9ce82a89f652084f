"""What a policy makes of a request: who tries, what is checked, who comes next.

Owns: the order triage, floor, dollars; what is learned of a conversation when a request has ended.
Must never know: providers, how an answer is fetched or checked.
Invariants: a policy that promises a floor it cannot prove asks the top tier alone; where nothing stands above the small
tier its answer is sent on unchecked, for a check could change nothing; every target that can serve the request is in
the plan unless the policy says `fall_back = false`, so that a target that is down costs nobody an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from renga.domain.reasons import Reason, Reasons
from renga.models.providers.provider_seam import Target, Tier
from renga.protocols.messages.events.event_types import CacheCreation, Usage
from renga.protocols.messages.request import MessageRequest
from renga.routing.catalog.catalog import TIERS, parse_target
from renga.routing.costs.cascade import CascadeChoice, CascadeChooser, RequestSize, read_size
from renga.routing.costs.cost_model import CascadeStage, worth_escalating
from renga.routing.plan import Plan, PlannedAttempt, Verification
from renga.routing.policy.policies import Policies, Policy
from renga.routing.triage.conversations import Conversations
from renga.routing.triage.history import ESCALATIONS_MAX

if TYPE_CHECKING:
    from renga.routing.triage.scorer import TriageResult

_NANO = 1_000_000_000
_FIVE_MINUTES_S, _HOUR_S = 300, 3_600


class Candidates(Struct, frozen=True):
    """The attempts that could be planned, and a test whether a target can serve a request."""

    attempts: Sequence[PlannedAttempt]
    """By tier, the best first."""
    fits: Callable[[MessageRequest, Target], bool]
    """Whether another target, named for second answers or judgements, can serve the request."""


class SettledDecision(Struct, frozen=True):
    """What became of a request that a policy decided."""

    target: str | None
    """Who answered; None: nobody."""
    tier: Tier | None
    usage: Usage | None
    checked: str | None
    """The first target whose answer was checked."""
    accepted: bool | None
    """Whether that answer passed; None where nothing was checked."""
    checked_when: Literal["held", "sent"]
    """Before the client saw it, or afterwards."""
    whole: bool
    """The answer came to its end."""


class _DecisionCase(Struct, frozen=True):
    """One request as it is seen under one policy."""

    policy: Policy
    request: MessageRequest
    candidates: Candidates
    size: RequestSize

    def tier(self, tier: Tier | None) -> tuple[PlannedAttempt, ...]:
        """The candidate attempts that belong to the given tier."""
        return tuple(attempt for attempt in self.candidates.attempts if attempt.tier == tier)


class Decider:
    """Decides for every policy, and learns."""

    def __init__(self, policies: Policies, ladders: CascadeChooser) -> None:
        self.policies = policies
        self._ladders = ladders
        self._conversations = Conversations()

    def decide(
        self, name: str, request: MessageRequest, candidates: Candidates, conversation: str, body_bytes: int
    ) -> Plan:
        """The plan for a request of a conversation. `candidates` is not empty.

        Cost: 0.15 ms at 500 tokens, nearly all of it triage.
        """
        policy = self.policies.find(name)
        assert policy is not None
        triage = policy.rules.scorer.decide(request, self._conversations.history(conversation))
        case = _DecisionCase(policy, request, candidates, read_size(request, body_bytes, conversation))
        attempts, climb, reasons = self._climb(case, triage)
        chosen = {attempt.target for attempt in attempts}
        if policy.settings.fall_back:
            # The nearest to the top first.
            spare = sorted(candidates.attempts, key=_rank, reverse=True)
            attempts += tuple(attempt for attempt in spare if attempt.target not in chosen)
        return Plan(
            attempts,
            (Reason("policy", name), *reasons),
            "",
            name,
            policy.settings.small,
            triage.score,
            conversation,
            None if climb is None else climb.cost_nano_usd,
            None if climb is None else climb.top_nano_usd,
            policy.settings.fall_back,
        )

    def learn(self, plan: Plan, settled: SettledDecision) -> None:
        """Remember what a request that a policy decided came to."""
        if plan.policy is None:
            return
        if settled.checked is not None and settled.accepted is not None:
            self._ladders.acceptance.observe(plan.policy, settled.checked, accepted=settled.accepted)
        if settled.target is None:
            return
        rank = TIERS.index(settled.tier) if settled.tier is not None else 0
        # What the client has got already is not mended, so the next turn goes up.
        worth = 1 if settled.checked_when == "held" else ESCALATIONS_MAX
        self._conversations.remember(plan.conversation, rank, worth if settled.accepted is False else 0)
        usage = settled.usage
        if usage is None:
            return
        if settled.whole:
            self._ladders.lengths.observe(settled.target, usage.output_tokens)
        held = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        if held:
            self._ladders.prefixes.remember(plan.conversation, settled.target, held, _lifetime_s(usage))

    def _climb(
        self, case: _DecisionCase, triage: TriageResult
    ) -> tuple[tuple[PlannedAttempt, ...], CascadeChoice | None, Reasons]:
        """The attempts in order, what they are expected to cost, and why."""
        policy = case.policy
        settings = policy.settings
        small = case.tier(settings.small)
        top_tier = _top_tier(case)
        if top_tier is None:
            return small or tuple(case.candidates.attempts), None, (_note(triage), Reason("nothing_above"))
        top = case.tier(top_tier)
        if settings.floor_points is not None:
            unproven = "no_certificate" if not policy.is_proven else policy.suspended
            if unproven:
                return top, None, (Reason("floor", f"{settings.floor_points:g}"), Reason("up", unproven))
        elif policy.suspended:
            return top, None, (Reason("up", policy.suspended),)
        if not small:
            return top, None, (_note(triage), Reason("up", "nothing_below"))
        if case.request.max_tokens == 0:
            # It only warms a cache: there is no answer to look at.
            return (*small, *top), None, (_note(triage), Reason("prewarm"))
        if triage.route != "up" and not self._is_worth(case, triage.score, (small[0], top[0])):
            return small, None, (_note(triage), Reason("not_worth"))
        if triage.route == "haiku":
            return (*small, *top), None, (_note(triage),)
        if triage.route == "verify" and settings.streaming == "off":
            return (*small, *top), None, (_note(triage), Reason("unchecked"))
        return self._cheapest(case, triage, top_tier)

    def _cheapest(
        self, case: _DecisionCase, triage: TriageResult, top_tier: Tier
    ) -> tuple[tuple[PlannedAttempt, ...], CascadeChoice | None, Reasons]:
        """The ladder of least expected cost that ends at the top."""
        settings = case.policy.settings
        tiers: list[Tier] = [top_tier]
        if settings.middle is not None and TIERS.index(settings.middle) < TIERS.index(top_tier):
            tiers.insert(0, settings.middle)
        if triage.route == "verify":
            tiers.insert(0, settings.small)
        checked = {
            tier: tuple(self._with_check(case, attempt, last=tier == top_tier) for attempt in case.tier(tier))
            for tier in tiers
        }
        climb = self._ladders.choose(
            case.policy.name, [attempts[0] for attempts in checked.values() if attempts], case.size
        )
        reasons = (_note(triage),)
        if triage.route == "verify" and climb.tiers and climb.tiers[0] != settings.small:
            reasons = (_note(triage), Reason("up", "cost"))
        return tuple(attempt for tier in climb.tiers for attempt in checked[tier]), climb, reasons

    def _with_check(self, case: _DecisionCase, attempt: PlannedAttempt, *, last: bool) -> PlannedAttempt:
        if last or case.policy.settings.streaming == "off":
            return attempt
        settings = case.policy.settings
        second = None if settings.second is None else parse_target(settings.second)
        if second is not None and not case.candidates.fits(case.request, second):
            second = None
        policy = case.policy.rules.checks_for(attempt.target.name)
        judge = self._judge(case) if "judge" in policy.checks else None
        if judge is None and "judge" in policy.checks:
            policy = replace(policy, checks=tuple(check for check in policy.checks if check != "judge"))
        optimistic = settings.streaming == "optimistic" and case.request.stream
        check = Verification(
            policy, second, judge, settings.check_timeout_s, optimistic, settings.include_failed_answer
        )
        return replace(attempt, check=check)

    def _judge(self, case: _DecisionCase) -> Target | None:
        """Who grades: a target, or the best of a tier; None where nobody can."""
        named = case.policy.settings.judge
        if named is None:
            return None
        if named in TIERS:
            return next((attempt.target for attempt in case.candidates.attempts if attempt.tier == named), None)
        return parse_target(named)

    def _is_worth(self, case: _DecisionCase, score: float, pair: tuple[PlannedAttempt, PlannedAttempt]) -> bool:
        """Whether the top's expected gain pays for it; True where nobody said what a point is worth."""
        point_usd = case.policy.settings.point_usd
        gain = None if point_usd is None else case.policy.rules.expected_gain_points(score)
        if point_usd is None or gain is None:
            return True
        small, top = (
            CascadeStage(
                attempt.target.name, self._ladders.expect(attempt.target.name, case.size), 0, 1.0, quality, quality
            )
            for attempt, quality in zip(pair, (0.0, gain / 100.0), strict=True)
        )
        return top.cost_nano_usd is None or worth_escalating(small, top, round(point_usd * _NANO))


def _top_tier(case: _DecisionCase) -> Tier | None:
    """The highest tier above the small one that has somebody; as the policy names it, or the best there is."""
    settings = case.policy.settings
    above: list[Tier] = [tier for tier in TIERS if TIERS.index(tier) > TIERS.index(settings.small)]
    if settings.top is not None:
        above = [tier for tier in above if TIERS.index(tier) <= TIERS.index(settings.top)]
    small = {attempt.target for attempt in case.tier(settings.small)}
    for tier in reversed(above):
        if any(attempt.target not in small for attempt in case.tier(tier)):
            return tier
    return None


def _rank(attempt: PlannedAttempt) -> int:
    return TIERS.index(attempt.tier) if attempt.tier is not None else 0


def _note(triage: TriageResult) -> Reason:
    """What triage said, and why where it was more than the score."""
    reasons = [reason for reason in triage.reasons if reason != "score"]
    return Reason("triage", f"{triage.route}:{','.join(reasons)}" if reasons else triage.route)


def _lifetime_s(usage: Usage) -> int:
    """How long the provider keeps what it wrote: an hour where any of it is written for one."""
    detail = usage.cache_creation
    return _HOUR_S if isinstance(detail, CacheCreation) and detail.ephemeral_1h_input_tokens else _FIVE_MINUTES_S
