"""Settings of policies: how a name that clients use is answered by the cheapest tier that is good enough."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from renga.config.kinds import NonNegative, Positive, Share

TierName: TypeAlias = Literal["haiku", "sonnet", "opus"]
CheckName: TypeAlias = Literal["structural", "logprob", "agreement", "judge"]
Streaming: TypeAlias = Literal["hold", "optimistic", "off"]

DEFAULT_CHECKS: tuple[CheckName, ...] = ("structural", "logprob", "agreement")


class PolicySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How one name is routed: `[policies.NAME]`. The name is `auto`, a tier, a model's id, or a new one of your own."""

    small: Annotated[TierName, Meta(description="Tier that tries first.")] = "haiku"
    middle: Annotated[
        TierName | None, Meta(description="Tier to try between, where that is expected to save money.")
    ] = None
    top: Annotated[TierName | None, Meta(description="Tier to escalate to; none: the highest that has a target.")] = (
        None
    )
    checks: Annotated[
        tuple[CheckName, ...] | None,
        Meta(
            description="Of structural, logprob, agreement, judge. None: the first three, and judge where one is set."
        ),
    ] = None
    streaming: Annotated[
        Streaming,
        Meta(description="hold: check, then send. optimistic: send at once, check afterwards. off: no checks."),
    ] = "hold"
    accept_from: Annotated[Share, Meta(description="Confidence from which an answer is kept; a certificate wins.")] = (
        0.9
    )
    second: Annotated[
        str | None, Meta(description="Target of second answers; none: the one that answered, once more.")
    ] = None
    seconds_max: Annotated[Positive, Meta(description="Second answers at most; the next only if one disagrees.")] = 1
    judge: Annotated[str | None, Meta(description="Target or tier that grades answers.")] = None
    check_timeout_s: Annotated[float, Meta(description="Longest that one check may take; then up.", gt=0)] = 30.0
    include_failed_answer: Annotated[
        bool, Meta(description="Whether the tier above sees the answer that was not accepted.")
    ] = False
    fall_back: Annotated[
        bool, Meta(description="Whether a tier below answers, unproven, when those above cannot be reached.")
    ] = True
    floor_points: Annotated[
        NonNegative | None,
        Meta(description="At most so many points of 100 below the top tier; keeps nothing without a certificate."),
    ] = None
    certificate: Annotated[str | None, Meta(description="File of `renga route calibrate` that proves the floor.")] = (
        None
    )
    curves: Annotated[str | None, Meta(description="File of `renga route curves`, for the logprob check.")] = None
    head: Annotated[str | None, Meta(description="File of a triage head fitted on your own labels.")] = None
    response_cache: Annotated[
        bool, Meta(description="Whether a key's requests under this name may be answered from its own stored answers.")
    ] = False
    shadow_share: Annotated[
        Share, Meta(description="Share of its requests that are also answered by the top tier, in the background.")
    ] = 0.0
    shadow_usd_per_day: Annotated[NonNegative, Meta(description="What these second answers may cost.")] = 1.0
    shadow_concurrent_requests: Annotated[Positive, Meta(description="Such requests watched at the same time.")] = 8
    point_usd: Annotated[
        NonNegative | None,
        Meta(description="What a point of quality is worth to you, a request; needs `head`. Dearer ones stay below."),
    ] = None
