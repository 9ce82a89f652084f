"""What stands around the router while it works: shadow traffic, watched floors, reports.

Owns: how these parts are put together, and that they stop.
Must never know: HTTP, SQL.
Invariant: a policy without shadow traffic costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from renga.answer import Parts
from renga.answer.parts import Watcher
from renga.jobs.shadow import Pair, ShadowSampler
from renga.meter.prices import PriceBook, Tokens
from renga.providers.base import Target
from renga.route.arms import Arm
from renga.route.desk import RoutingDesk
from renga.route.guard import FloorGuard, Promise
from renga.route.outcome_book import OutcomeBook
from renga.route.policies import Policies, Policy
from renga.route.report import PolicySummary
from renga.route.sides import build_arm_terms, build_promise, find_sides, summarize_policy
from renga.route.tiers import TIERS, Catalog, parse_target
from renga.store.outcome_rows import RoutedRow


class LiveRouting(Struct, frozen=True):
    """The parts."""

    watchers: tuple[Watcher, ...]
    guard: FloorGuard
    desk: RoutingDesk
    samplers: tuple[ShadowSampler, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Everything that is drawn."""
        return tuple(arm for sampler in self.samplers for arm in sampler.arms)

    async def stop(self) -> None:
        """Give up what runs in the background. Idempotent."""
        for sampler in self.samplers:
            await sampler.stop()


class Around(Struct, frozen=True):
    """What the parts are built from."""

    catalog: Catalog
    policies: Policies
    book: OutcomeBook
    prices: PriceBook


def build_live(path: Parts, around: Around) -> LiveRouting:
    """Put the parts together, and let the book tell them of labels. `path` has no watchers yet."""
    pairs = {policy.name: pair for policy in around.policies if (pair := _build_pair(policy, path, around.catalog))}
    sampler = ShadowSampler(path, pairs, around.policies, around.book) if pairs else None
    guard = FloorGuard(lambda: _read_promises(around, pairs))
    if sampler is not None:
        around.book.attach(guard)
        around.book.attach(sampler)
    desk = RoutingDesk(
        path.clock, lambda: summarize(around.policies, around.catalog, pairs), guard.readings, price_with(around.prices)
    )
    samplers = () if sampler is None else (sampler,)
    return LiveRouting(samplers, guard, desk, samplers)


def summarize(policies: Policies, catalog: Catalog, pairs: dict[str, Pair]) -> tuple[PolicySummary, ...]:
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


def _read_promises(around: Around, pairs: dict[str, Pair]) -> tuple[Promise, ...]:
    promises: list[Promise] = []
    for policy in around.policies:
        sides = find_sides(policy.settings, around.catalog) if policy.name in pairs else None
        if sides is not None:
            promises.append(build_promise(policy, sides))
    return tuple(promises)


def _build_pair(policy: Policy, path: Parts, catalog: Catalog) -> Pair | None:
    """What is drawn of a policy; None where it asks for no shadow traffic, or nothing stands above its small tier."""
    settings = policy.settings
    sides = find_sides(settings, catalog) if settings.shadow_share > 0.0 else None
    if sides is None:
        return None
    arm = Arm(build_arm_terms(policy, sides), path.clock)
    return Pair(arm, sides.small, sides.top, _find_judge(settings.judge, catalog))


def _find_judge(name: str | None, catalog: Catalog) -> Target | None:
    if name is None:
        return None
    for tier in TIERS:
        if name == tier:
            return next(iter(catalog.tier_targets(tier, tier)), None)
    return parse_target(name)
