"""Settings of targets: when one is left alone for a while, and how much it may be asked at once."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import NonNegative, Positive, Share


class HealthSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """When a target that fails is left alone, and for how long."""

    failures_to_cool: Annotated[Positive, Meta(description="Failures in a row after which a target cools down.")] = 5
    error_ratio_to_cool: Annotated[Share, Meta(description="Share of failures at which it cools down too.")] = 0.5
    cool_down_s: Annotated[float, Meta(description="The first cool-down; each further one is twice as long.", gt=0)] = (
        2.0
    )
    cool_down_max_s: Annotated[float, Meta(description="The longest cool-down.", gt=0)] = 60.0
    half_life_s: Annotated[float, Meta(description="Time in which a request's weight in the rates halves.", gt=0)] = (
        30.0
    )


class TargetSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One target, `[targets."vllm/qwen3-8b"]`, or each of a provider's, `[targets."vllm/*"]`."""

    concurrent_requests: Annotated[
        Positive | None, Meta(description="Requests it gets at the same time; others go elsewhere.")
    ] = None
    weight: Annotated[
        NonNegative | None,
        Meta(description="Its share of its tier, beside the others with a weight; without one: in order."),
    ] = None
