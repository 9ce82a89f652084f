"""The router: which targets to try for a request, in which order, and why.

Owns: the plan. A tier means its targets in order; a name with a policy means what `routing/policy/decision.py` makes
of it.
Must never know: how a provider sends, SQL, HTTP.
Invariant: every attempt of a plan can serve the request; a request that no target can serve is refused with the
reason of the first target, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from renga.domain.reasons import Reason, Reasons
from renga.errors import InvalidRequest, NotFound, PermissionDenied
from renga.models.providers.provider_seam import Provider, Target, Tier
from renga.protocols.messages.inference_request import Caller
from renga.protocols.messages.request import MessageRequest
from renga.routing.catalog.capability_check import refuse
from renga.routing.catalog.catalog import NAMES_MAX, TIERS, Catalog, ResolvedName
from renga.routing.plan import Plan, PlannedAttempt
from renga.routing.policy.decision import Candidates, Decider, SettledDecision
from renga.routing.policy.policies import Policies
from renga.routing.targets.traffic_split import TrafficSplit
from renga.routing.triage.conversations import identify, read_opening

ANYONE = Caller("")
"""Whoever asks without a key, as the command line does."""


class _Choice(Struct, frozen=True):
    """What a name means to whoever may use these tiers, before anything of a request is looked at."""

    named: ResolvedName
    candidates: tuple[PlannedAttempt, ...]
    """Who could answer, best first in each tier."""
    reasons: Reasons
    """Where no policy decides."""
    drawn: Reasons
    """What was drawn among the candidates."""
    answered_as: str


class Router:
    """Plans the attempts of each request from the catalog and the policies."""

    def __init__(
        self,
        catalog: Catalog,
        providers: Mapping[str, Provider],
        decider: Decider | None = None,
        shares: TrafficSplit | None = None,
    ) -> None:
        """Without a decider no name has a policy, and `auto` is every tier from the cheapest up."""
        self._choose_once = lru_cache(maxsize=NAMES_MAX)(self._choose)
        self._catalog = catalog
        self._providers = providers
        self._decider = decider
        self._shares = shares if shares is not None and shares.is_needed else None
        self._stores_some = decider is not None and decider.policies.store_answers

    @property
    def policies(self) -> Policies | None:
        """For reports, and for whoever may have to suspend one."""
        return None if self._decider is None else self._decider.policies

    def plan(
        self, request: MessageRequest, caller: Caller = ANYONE, body_bytes: int = 0, *, as_if_ready: bool = False
    ) -> Plan:
        """The attempts for a request; `as_if_ready` where nothing has been started.

        Raises: NotFound if the model's name means nothing here or its tier has no target; InvalidRequest if no target
                can serve the request; PermissionDenied if its key may not use the tier.
        """
        if self._shares is None:
            # It hangs on nothing but the name and the tiers, and both mean the same in every request.
            choice = self._choose_once(request.model, caller.tiers)
        else:
            choice = self._choose(request.model, caller.tiers, read_opening(caller.key_id, request))
        if not choice.candidates:
            raise NotFound(
                f"model: {request.model} has no target here",
                hint="set ANTHROPIC_API_KEY, or write [tiers] in renga.toml; `renga doctor` says more",
            )
        fitting = self._fitting(request, choice.candidates, as_if_ready=as_if_ready)
        attempts = fitting if as_if_ready else self._ready_first(fitting)
        policy = choice.named.policy
        if policy is None or self._decider is None:
            return Plan(attempts, _note_order(choice.reasons, fitting, attempts), choice.answered_as)
        candidates = Candidates(attempts, self._fits)
        plan = self._decider.decide(policy, request, candidates, identify(caller.key_id, request), body_bytes)
        attempts = plan.attempts if as_if_ready else self._ready_first(plan.attempts)
        reasons = _note_order(_add_drawn(plan.reasons, choice.drawn), plan.attempts, attempts)
        return replace(plan, attempts=attempts, reasons=reasons, answered_as=choice.answered_as)

    def stores_answers(self, model: str) -> bool:
        """Whether the policy of a model's name wants its answers to be stored and given again.

        Raises: NotFound if the name means nothing here.
        """
        if not self._stores_some or self.policies is None:
            return False
        policy = self.policies.find(self._catalog.resolve(model).policy or "")
        return policy is not None and policy.settings.response_cache

    def settled(self, plan: Plan, settled: SettledDecision) -> None:
        """Learn from a request that a policy decided."""
        if self._decider is not None:
            self._decider.learn(plan, settled)

    def _choose(self, name: str, tiers: tuple[str, ...], opening: str = "") -> _Choice:
        """Resolve a model name to its usable candidate attempts.

        Raises: NotFound, PermissionDenied.
        """
        named = self._catalog.resolve(name)
        candidates, drawn = self._candidates(named, tiers, opening)
        return _Choice(named, candidates, _add_drawn((_reason(named),), drawn), drawn, _answered_as(named))

    def _candidates(
        self, named: ResolvedName, allowed: tuple[str, ...], opening: str
    ) -> tuple[tuple[PlannedAttempt, ...], Reasons]:
        """Who could answer, best first in each tier, and what was drawn among them."""
        if named.target is not None:
            self._check_target(named.target, allowed)
            return (PlannedAttempt(named.target, None),), ()
        tiers: Sequence[Tier] = TIERS if named.tier is None or named.policy is not None else (named.tier,)
        found: list[PlannedAttempt] = []
        drawn: list[Reason] = []
        for tier in tiers:
            # The id that was asked for is one model of one tier; the others answer with their newest.
            asked: str = named.answered_as if named.policy is None or tier == named.tier else tier
            targets = self._catalog.tier_targets(tier, asked)
            if self._shares is not None:
                arranged = self._shares.arrange(tier, targets, opening)
                targets = arranged.targets
                drawn += [Reason("canary", arranged.canary.name)] if arranged.canary else []
            found += [PlannedAttempt(target, tier) for target in targets]
        if allowed and found:
            found = [attempt for attempt in found if attempt.tier in allowed]
            if not found:
                raise _forbidden(named.answered_as, allowed)
        return tuple(found), tuple(drawn)

    def _check_target(self, target: Target, allowed: tuple[str, ...]) -> None:
        """Raises: PermissionDenied for a target that is in none of the tiers that a key may use."""
        if not allowed:
            return
        if not any(target in self._catalog.tier_targets(tier, tier) for tier in TIERS if tier in allowed):
            raise _forbidden(target.name, allowed)

    def _fitting(
        self, request: MessageRequest, candidates: Sequence[PlannedAttempt], *, as_if_ready: bool
    ) -> tuple[PlannedAttempt, ...]:
        fitting: list[PlannedAttempt] = []
        refusal: InvalidRequest | None = None
        for attempt in candidates:
            provider = self._providers[attempt.target.provider]
            try:
                # A local model that has not been started cannot say what it can.
                if not as_if_ready or provider.health(attempt.target.model).ready:
                    refuse(request, provider.capabilities(attempt.target.model))
            except InvalidRequest as error:
                refusal = refusal or error
            else:
                fitting.append(attempt)
        if refusal is not None and not fitting:
            raise refusal
        return tuple(fitting)

    def _fits(self, request: MessageRequest, target: Target) -> bool:
        """Whether a target can serve a request; one of a provider that is not there cannot."""
        provider = self._providers.get(target.provider)
        if provider is None:
            return False
        try:
            refuse(request, provider.capabilities(target.model))
        except InvalidRequest:
            return False
        return True

    def _ready_first(self, attempts: tuple[PlannedAttempt, ...]) -> tuple[PlannedAttempt, ...]:
        """Targets that cannot take work now go last: they are tried only when everything else failed."""
        if len(attempts) == 1:
            return attempts
        return tuple(sorted(attempts, key=lambda attempt: not self._is_ready(attempt.target)))

    def _is_ready(self, target: Target) -> bool:
        """Whether a target can take work now."""
        return self._providers[target.provider].health(target.model).ready


def _note_order(reasons: Reasons, planned: Sequence[PlannedAttempt], attempts: Sequence[PlannedAttempt]) -> Reasons:
    """The plan's reasons, and which target does not come first because it cannot take work."""
    if not attempts or attempts[0] is planned[0]:
        return reasons
    return (*reasons, Reason("not_ready", planned[0].target.name))


def _forbidden(name: str, allowed: tuple[str, ...]) -> PermissionDenied:
    return PermissionDenied(f"This key may not use {name}.", path="model", hint=f"it may use {', '.join(allowed)}")


def _reason(named: ResolvedName) -> Reason:
    """What a name means, where no policy decides."""
    if named.is_auto:
        return Reason("auto")
    return Reason("tier", named.tier) if named.tier else Reason("target")


def _add_drawn(reasons: Reasons, drawn: Reasons) -> Reasons:
    """What was drawn stands behind the first reason: the last one is what decided."""
    return (reasons[0], *drawn, *reasons[1:]) if drawn else reasons


def _answered_as(named: ResolvedName) -> str:
    """Official ids are echoed; a tier's name or `auto` answers with the name of the model that did."""
    return named.answered_as if named.answered_as.startswith("claude-") else ""
