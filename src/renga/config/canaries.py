"""Settings of canaries: candidates that get a share of a tier's requests until it is shown what they are worth."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import NonNegative, Positive, Share
from renga.config.routing import TierName


class CanarySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate: `[canaries."vllm/new"]`. It need not stand in `[tiers]`."""

    tier: Annotated[TierName, Meta(description="The tier whose requests it shares.")]
    share: Annotated[Share, Meta(description="Share of the tier's conversations that go to it.")] = 0.05
    floor_points: Annotated[
        float, Meta(description="Points of 100 that it may be worse than the tier's first target.", gt=0, lt=100)
    ] = 2.0
    confidence: Annotated[float, Meta(description="How sure to be of what is concluded.", ge=0.5, lt=1)] = 0.9
    judge: Annotated[str | None, Meta(description="Target or tier that grades answers which cannot be compared.")] = (
        None
    )
    paired_share: Annotated[Share, Meta(description="Share of its requests that the other target answers too.")] = 1.0
    paired_usd_per_day: Annotated[NonNegative, Meta(description="What these second answers may cost.")] = 1.0
    paired_concurrent_requests: Annotated[Positive, Meta(description="Such requests watched at the same time.")] = 8
