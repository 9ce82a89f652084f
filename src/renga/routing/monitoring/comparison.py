"""A policy's two sides, and what follows from them: what it promises, what is drawn of it, how it shows in reports.

Owns: which tier is a policy's top here, and which promise its labels are for.
Must never know: requests, SQL, prices.
"""

from __future__ import annotations

from msgspec import Struct

from renga.config.routing import PolicySettings
from renga.models.providers.provider_seam import Target, Tier
from renga.routing.catalog.catalog import TIERS, Catalog
from renga.routing.monitoring.guarantee_monitor import Guarantee
from renga.routing.monitoring.routing_report import CertificateSummary, PolicySummary
from renga.routing.monitoring.sampler import Sampler, SamplerTerms
from renga.routing.policy.policies import Policy

SEAL_CHARACTERS = 16
CONFIDENCE = 0.9
"""Of the interval where nothing is promised."""


class Comparison(Struct, frozen=True):
    """Who may be kept at, and against whom that is measured."""

    small_tier: Tier
    small: Target
    top_tier: Tier
    top: Target


def find_sides(settings: PolicySettings, catalog: Catalog) -> Comparison | None:
    """The first target of a policy's small tier and of its top; None where one of them has nobody.

    The top is the highest tier above the small one that has another target, up to the one that is named.
    """
    small = catalog.tier_targets(settings.small, settings.small)
    ceiling = TIERS.index(settings.top or TIERS[-1])
    for tier in reversed(TIERS[TIERS.index(settings.small) + 1 : ceiling + 1]):
        top = [target for target in catalog.tier_targets(tier, tier) if target not in small]
        if small and top:
            return Comparison(settings.small, small[0], tier, top[0])
    return None


def read_seal(policy: Policy) -> str:
    """Which promise a policy makes: of its certificate; "" without one."""
    certificate = policy.rules.certificate if policy.settings.certificate is not None else None
    return "" if certificate is None else certificate.seal[:SEAL_CHARACTERS]


def build_promise(policy: Policy, sides: Comparison) -> Guarantee:
    """What a policy's labels are held against. Without a certificate nothing is promised but escalating."""

    def suspend(reason: str) -> None:
        policy.suspended = reason

    certificate = policy.rules.certificate if policy.settings.certificate is not None else None
    floor_points = None
    if certificate is not None:
        floor_points = policy.settings.floor_points or certificate.floor_points
    return Guarantee(
        source="shadow",
        subject=policy.name,
        seal=read_seal(policy),
        small=sides.small_tier,
        top=sides.top_tier,
        floor_points=floor_points,
        confidence=CONFIDENCE if certificate is None else certificate.confidence,
        suspend=suspend,
    )


def build_arm_terms(policy: Policy, sides: Comparison) -> SamplerTerms:
    """What is drawn of a policy's requests."""
    settings = policy.settings
    return SamplerTerms(
        source="shadow",
        subject=policy.name,
        small=sides.small_tier,
        top=sides.top_tier,
        share=settings.shadow_share,
        usd_per_day=settings.shadow_usd_per_day,
        concurrent_requests=settings.shadow_concurrent_requests,
        seal=read_seal(policy),
    )


def summarize_policy(policy: Policy, sides: Comparison | None, arm: Sampler | None) -> PolicySummary:
    """A policy as it is in force."""
    settings = policy.settings
    certificate = policy.rules.certificate if settings.certificate is not None else None
    return PolicySummary(
        name=policy.name,
        small=settings.small,
        top=sides.top_tier if sides is not None else "",
        top_target=sides.top.name if sides is not None else "",
        floor_points=settings.floor_points,
        state=describe_state(policy),
        certificate=None
        if certificate is None
        else CertificateSummary(
            certificate.seal[:SEAL_CHARACTERS],
            certificate.ranking,
            certificate.threshold,
            certificate.bound_points,
            certificate.rows,
            certificate.kept_share,
            certificate.saving_share,
            certificate.counts,
            certificate.created_on,
        ),
        shadow_share=settings.shadow_share,
        shadow_spent_nano_usd=0 if arm is None else arm.spent_nano_usd,
        shadow_usd_per_day=settings.shadow_usd_per_day,
    )


def describe_state(policy: Policy) -> str:
    """certified, uncertified, no_certificate or suspended:REASON."""
    if policy.suspended:
        return f"suspended:{policy.suspended}"
    if policy.settings.certificate is not None:
        return "certified"
    return "uncertified" if policy.settings.floor_points is None else "no_certificate"
