"""The router: which targets to try for a request, in which order, and why.

Owns: the plan. Until a policy is set, a tier means its targets in order, and `auto` means every tier from the
cheapest up.
Must never know: how a provider sends, SQL, HTTP.
Invariant: every attempt of a plan can serve the request; a request that no target can serve is refused with the
reason of the first target, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from renga.errors import InvalidRequest, NotFound
from renga.providers.base import Provider
from renga.route.fit import refuse
from renga.route.plan import Attempt, Plan
from renga.route.tiers import TIERS, Catalog, Named
from renga.wire.request import MessageRequest


class Router:
    """Plans attempts from a catalog."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, Provider]) -> None:
        self._catalog = catalog
        self._providers = providers

    def plan(self, request: MessageRequest) -> Plan:
        """The attempts for a request.

        Raises: NotFound if the model's name means nothing here or its tier has no target; InvalidRequest if no target
                can serve the request.
        """
        named = self._catalog.resolve(request.model)
        candidates = self._candidates(named)
        if not candidates:
            raise NotFound(
                f"model: {request.model} has no target here",
                hint="set ANTHROPIC_API_KEY, or write [tiers] in renga.toml; `renga doctor` says more",
            )
        fitting: list[Attempt] = []
        refusal: InvalidRequest | None = None
        for attempt in candidates:
            try:
                refuse(request, self._providers[attempt.target.provider].capabilities(attempt.target.model))
            except InvalidRequest as error:
                refusal = refusal or error
            else:
                fitting.append(attempt)
        if refusal is not None and not fitting:
            raise refusal
        return Plan(tuple(self._ready_first(fitting)), _why(named), _echo_model(named))

    def _candidates(self, named: Named) -> list[Attempt]:
        if named.target is not None:
            return [Attempt(named.target, None)]
        tiers = TIERS if named.is_auto or named.tier is None else (named.tier,)
        return [
            Attempt(target, tier) for tier in tiers for target in self._catalog.tier_targets(tier, named.echo_model)
        ]

    def _ready_first(self, attempts: list[Attempt]) -> list[Attempt]:
        """Targets that cannot take work now go last: they are tried only when everything else failed."""
        return sorted(attempts, key=lambda attempt: not self._providers[attempt.target.provider].health().ready)


def _why(named: Named) -> str:
    if named.is_auto:
        return "auto"
    return f"tier:{named.tier}" if named.tier else "target"


def _echo_model(named: Named) -> str:
    """Official ids are echoed; a tier's name or `auto` answers with the name of the model that did."""
    return named.echo_model if named.echo_model.startswith("claude-") else ""
