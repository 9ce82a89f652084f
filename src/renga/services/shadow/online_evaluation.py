"""What stands around the router while it works: shadow traffic, canaries, watched floors, reports.

Owns: how these parts are put together, and that they stop.
Must never know: HTTP, SQL.
Invariant: a server without shadow traffic and canaries pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from renga.accounting.pricing.price_book import PriceBook, TokenCounts
from renga.domain.outcomes import RoutedRow
from renga.errors import ConfigError
from renga.inference import Services
from renga.inference.services import Observer
from renga.models.providers.provider_seam import Target
from renga.routing.catalog.catalog import TIERS, Catalog, parse_target
from renga.routing.monitoring.comparison import build_guarantee, build_sampler_terms, find_comparison, summarize_policy
from renga.routing.monitoring.guarantee_monitor import Guarantee, GuaranteeMonitor
from renga.routing.monitoring.report_service import RoutingReportService
from renga.routing.monitoring.routing_report import PolicySummary
from renga.routing.monitoring.sampler import Sampler, SamplerTerms
from renga.routing.outcomes.outcome_book import OutcomeBook
from renga.routing.policy.policies import Policies, Policy
from renga.routing.targets.traffic_split import Canary, TrafficSplit
from renga.services.shadow.canary_sampler import CanarySampler
from renga.services.shadow.second_answers import AnswerPair, SecondAnswers
from renga.services.shadow.shadow_sampler import ShadowSampler


class OnlineEvaluation(Struct, frozen=True):
    """The parts that evaluate routing on live traffic, built together."""

    observers: tuple[Observer, ...]
    guard: GuaranteeMonitor
    reports: RoutingReportService
    second: SecondAnswers
    samplers: tuple[Sampler, ...]
    """Everything that is drawn."""

    async def stop(self) -> None:
        """Give up what runs in the background. Idempotent."""
        await self.second.stop()


class RoutingSurroundings(Struct, frozen=True):
    """The settings and parts that live routing is built from."""

    catalog: Catalog
    policies: Policies
    shares: TrafficSplit
    book: OutcomeBook
    prices: PriceBook


def build_live(path: Services, around: RoutingSurroundings) -> OnlineEvaluation:
    """Put the parts together, and let the book tell them of labels. `path` has no observers yet.

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
    guard = GuaranteeMonitor(
        lambda: (*_promise_policies(around, pairs), *(_promise_canary(*each) for each in candidates.items()))
    )
    if samplers:
        for reader in (guard, *samplers):
            around.book.attach(reader)
    reports = RoutingReportService(
        path.clock, lambda: summarize(around.policies, around.catalog, pairs), guard.readings, price_with(around.prices)
    )
    drawn = tuple(sampler for observer in samplers for sampler in observer.samplers)
    return OnlineEvaluation(tuple(samplers), guard, reports, second, drawn)


def summarize(policies: Policies, catalog: Catalog, pairs: Mapping[str, AnswerPair]) -> tuple[PolicySummary, ...]:
    """Every policy as it is in force."""
    return tuple(
        summarize_policy(
            policy,
            find_comparison(policy.settings, catalog),
            pairs[policy.name].sampler if policy.name in pairs else None,
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
            TokenCounts(
                row.input_tokens,
                row.cache_creation_5m_tokens,
                row.cache_creation_1h_tokens,
                row.cache_read_tokens,
                row.output_tokens,
            )
        )

    return price


def _pair_policy(policy: Policy, path: Services, catalog: Catalog) -> AnswerPair | None:
    """What is drawn of a policy; None where it asks for no shadow traffic, or nothing stands above its small tier."""
    settings = policy.settings
    comparison = find_comparison(settings, catalog) if settings.shadow_share > 0.0 else None
    if comparison is None:
        return None
    sampler = Sampler(build_sampler_terms(policy, comparison), path.clock)
    return AnswerPair(sampler, comparison.candidate, comparison.reference, _find_judge(settings.judge, catalog))


def _promise_policies(around: RoutingSurroundings, pairs: Mapping[str, AnswerPair]) -> Iterator[Guarantee]:
    for policy in around.policies:
        comparison = find_comparison(policy.settings, around.catalog) if policy.name in pairs else None
        if comparison is not None:
            yield build_guarantee(policy, comparison)


def _pair_canary(canary: Canary, path: Services, catalog: Catalog) -> AnswerPair:
    """A candidate beside the first other target of its tier."""
    settings, name = canary.settings, canary.target.name
    others = [target for target in catalog.tier_targets(settings.tier, settings.tier) if target != canary.target]
    if not others:
        raise ConfigError(
            f"the tier {settings.tier} has no other target to compare it with",
            path=f'canaries."{name}"',
            hint=f"name the one that works now in [tiers] {settings.tier}",
        )
    terms = SamplerTerms(
        source="canary",
        subject=name,
        small=name,
        top=others[0].name,
        share=settings.paired_share,
        usd_per_day=settings.paired_usd_per_day,
        concurrent_requests=settings.paired_concurrent_requests,
        digest=canary.digest,
    )
    return AnswerPair(Sampler(terms, path.clock), canary.target, others[0], _find_judge(settings.judge, catalog))


def _promise_canary(canary: Canary, pair: AnswerPair) -> Guarantee:
    """Whether a candidate is worse than its floor; then it is rolled back."""

    def roll_back(reason: str) -> None:
        canary.rolled_back = reason

    terms, settings = pair.sampler.terms, canary.settings
    return Guarantee(
        "canary",
        terms.subject,
        terms.digest,
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
