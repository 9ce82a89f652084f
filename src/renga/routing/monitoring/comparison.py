"""Which two targets a policy is measured between, and what follows: its guarantee, its sampler, its line in reports.

Owns: which tier is a policy's top here, and which guarantee its labels are for.
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

DIGEST_CHARACTERS = 16
CONFIDENCE = 0.9
"""Of the interval where nothing is guaranteed."""


class Comparison(Struct, frozen=True):
    """The candidate that requests may be kept at, and the reference that its answers are held against."""

    candidate_tier: Tier
    candidate: Target
    reference_tier: Tier
    reference: Target


def find_comparison(settings: PolicySettings, catalog: Catalog) -> Comparison | None:
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


def certificate_digest(policy: Policy) -> str:
    """What tells a policy's guarantee from others: the start of its certificate's digest; "" without one."""
    certificate = policy.rules.certificate if policy.settings.certificate is not None else None
    return "" if certificate is None else certificate.digest[:DIGEST_CHARACTERS]


def build_guarantee(policy: Policy, comparison: Comparison) -> Guarantee:
    """What a policy's labels are held against. Without a certificate only escalating is guaranteed."""

    def suspend(reason: str) -> None:
        policy.suspended = reason

    certificate = policy.rules.certificate if policy.settings.certificate is not None else None
    floor_points = None
    if certificate is not None:
        floor_points = policy.settings.floor_points or certificate.floor_points
    return Guarantee(
        source="shadow",
        subject=policy.name,
        digest=certificate_digest(policy),
        small=comparison.candidate_tier,
        top=comparison.reference_tier,
        floor_points=floor_points,
        confidence=CONFIDENCE if certificate is None else certificate.confidence,
        suspend=suspend,
    )


def build_sampler_terms(policy: Policy, comparison: Comparison) -> SamplerTerms:
    """Which share of a policy's requests is sampled, and what that may cost."""
    settings = policy.settings
    return SamplerTerms(
        source="shadow",
        subject=policy.name,
        small=comparison.candidate_tier,
        top=comparison.reference_tier,
        share=settings.shadow_share,
        usd_per_day=settings.shadow_usd_per_day,
        concurrent_requests=settings.shadow_concurrent_requests,
        digest=certificate_digest(policy),
    )


def summarize_policy(policy: Policy, comparison: Comparison | None, sampler: Sampler | None) -> PolicySummary:
    """A policy as it is in force."""
    settings = policy.settings
    certificate = policy.rules.certificate if settings.certificate is not None else None
    return PolicySummary(
        name=policy.name,
        small=settings.small,
        top=comparison.reference_tier if comparison is not None else "",
        top_target=comparison.reference.name if comparison is not None else "",
        floor_points=settings.floor_points,
        state=describe_state(policy),
        certificate=None
        if certificate is None
        else CertificateSummary(
            certificate.digest[:DIGEST_CHARACTERS],
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
        shadow_spent_nano_usd=0 if sampler is None else sampler.spent_nano_usd,
        shadow_usd_per_day=settings.shadow_usd_per_day,
    )


def describe_state(policy: Policy) -> str:
    """Describe a policy as certified, uncertified, no_certificate or suspended:REASON."""
    if policy.suspended:
        return f"suspended:{policy.suspended}"
    if policy.settings.certificate is not None:
        return "certified"
    return "uncertified" if policy.settings.floor_points is None else "no_certificate"
