"""What stands around the router while it works: shadow traffic, canaries, watched floors, reports.

Owns: how these parts are put together, and that they stop.
Must never know: HTTP, SQL.
Invariant: a server without shadow traffic and canaries pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from renga.answer import Parts
from renga.answer.parts import Watcher
from renga.errors import ConfigError
from renga.jobs.canary import CanarySampler
from renga.jobs.second import Pair, SecondAnswers
from renga.jobs.shadow import ShadowSampler
from renga.meter.prices import PriceBook, Tokens
from renga.providers.base import Target
from renga.route.arms import Arm, ArmTerms
from renga.route.desk import RoutingDesk
from renga.route.guard import FloorGuard, Promise
from renga.route.outcome_book import OutcomeBook
from renga.route.policies import Policies, Policy
from renga.route.report import PolicySummary
from renga.route.shares import Canary, Shares
from renga.route.sides import build_arm_terms, build_promise, find_sides, summarize_policy
from renga.route.tiers import TIERS, Catalog, parse_target
from renga.store.outcome_rows import RoutedRow


class LiveRouting(Struct, frozen=True):
    """The parts."""

    watchers: tuple[Watcher, ...]
    guard: FloorGuard
    desk: RoutingDesk
    second: SecondAnswers
    arms: tuple[Arm, ...]
    """Everything that is drawn."""

    async def stop(self) -> None:
        """Give up what runs in the background. Idempotent."""
        await self.second.stop()


class Around(Struct, frozen=True):
    """What the parts are built from."""

    catalog: Catalog
    policies: Policies
    shares: Shares
    book: OutcomeBook
    prices: PriceBook


def build_live(path: Parts, around: Around) -> LiveRouting:
    """Put the parts together, and let the book tell them of labels. `path` has no watchers yet.

    Raises: ConfigError for a canary of a tier that has no other target.
    """
    second = SecondAnswers(path, around.book)
    pairs = {policy.name: pair for policy in around.policies if (pair := _pair_policy(policy, path, around.catalog))}
    candidates = {canary: _pair_canary(canary, path, around.catalog) for canary in around.shares.canaries}
    samplers: list[ShadowSampler | CanarySampler] = []
    if pairs:
        samplers.append(ShadowSampler(second, pairs, around.policies))
    if candidates:
        samplers.append(CanarySampler(second, tuple(candidates.values())))
    guard = FloorGuard(
        lambda: (*_promise_policies(around, pairs), *(_promise_canary(*each) for each in candidates.items()))
    )
    if samplers:
        for reader in (guard, *samplers):
            around.book.attach(reader)
    desk = RoutingDesk(
        path.clock, lambda: summarize(around.policies, around.catalog, pairs), guard.readings, price_with(around.prices)
    )
    arms = tuple(arm for sampler in samplers for arm in sampler.arms)
    return LiveRouting(tuple(samplers), guard, desk, second, arms)


def summarize(policies: Policies, catalog: Catalog, pairs: Mapping[str, Pair]) -> tuple[PolicySummary, ...]:
    """Every policy as it is in force."""
    return tuple(
        summarize_policy(
            policy, find_sides(policy.settings, catalog), pairs[policy.name].arm if policy.name in pairs else None
        )
        for policy in policies
    )


def price_with(prices: PriceBook) -> Callable[[str, RoutedRow], int | None]:
    """What a request's tokens would have cost at another target, as it was when it ran."""

    def price(target: str, row: RoutedRow) -> int | None:
        found = prices.find(target, row.time_us)
        if found is None:
            return None
        return found.cost_nano_usd(
            Tokens(
                row.input_tokens,
                row.cache_creation_5m_tokens,
                row.cache_creation_1h_tokens,
                row.cache_read_tokens,
                row.output_tokens,
            )
        )

    return price


def _pair_policy(policy: Policy, path: Parts, catalog: Catalog) -> Pair | None:
    """What is drawn of a policy; None where it asks for no shadow traffic, or nothing stands above its small tier."""
    settings = policy.settings
    sides = find_sides(settings, catalog) if settings.shadow_share > 0.0 else None
    if sides is None:
        return None
    arm = Arm(build_arm_terms(policy, sides), path.clock)
    return Pair(arm, sides.small, sides.top, _find_judge(settings.judge, catalog))


def _promise_policies(around: Around, pairs: Mapping[str, Pair]) -> Iterator[Promise]:
    for policy in around.policies:
        sides = find_sides(policy.settings, around.catalog) if policy.name in pairs else None
        if sides is not None:
            yield build_promise(policy, sides)


def _pair_canary(canary: Canary, path: Parts, catalog: Catalog) -> Pair:
    """A candidate beside the first other target of its tier."""
    settings, name = canary.settings, canary.target.name
    others = [target for target in catalog.tier_targets(settings.tier, settings.tier) if target != canary.target]
    if not others:
        raise ConfigError(
            f"the tier {settings.tier} has no other target to compare it with",
            path=f'canaries."{name}"',
            hint=f"name the one that works now in [tiers] {settings.tier}",
        )
    terms = ArmTerms(
        source="canary",
        subject=name,
        small=name,
        top=others[0].name,
        share=settings.paired_share,
        usd_per_day=settings.paired_usd_per_day,
        concurrent_requests=settings.paired_concurrent_requests,
        seal=canary.seal,
    )
    return Pair(Arm(terms, path.clock), canary.target, others[0], _find_judge(settings.judge, catalog))


def _promise_canary(canary: Canary, pair: Pair) -> Promise:
    """Whether a candidate is worse than its floor; then it is rolled back."""

    def roll_back(reason: str) -> None:
        canary.rolled_back = reason

    terms, settings = pair.arm.terms, canary.settings
    return Promise(
        "canary",
        terms.subject,
        terms.seal,
        terms.small,
        terms.top,
        settings.floor_points,
        settings.confidence,
        roll_back,
    )


def _find_judge(name: str | None, catalog: Catalog) -> Target | None:
    if name is None:
        return None
    for tier in TIERS:
        if name == tier:
            return next(iter(catalog.tier_targets(tier, tier)), None)
    return parse_target(name)
