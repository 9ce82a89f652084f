"""Settings of limits and budgets, and of sharing them among servers."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from renga.config.kinds import NonNegative, Positive

WhenAway: TypeAlias = Literal["closed", "local"]


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What each key may do, unless it has limits of its own (`renga keys limit`), and who counts. None: no limit."""

    requests_per_minute: Annotated[Positive | None, Meta(description="Requests.")] = None
    input_tokens_per_minute: Annotated[Positive | None, Meta(description="Input, without cache reads.")] = None
    output_tokens_per_minute: Annotated[Positive | None, Meta(description="Output, thinking included.")] = None
    concurrent_requests: Annotated[Positive | None, Meta(description="Requests that run at the same time.")] = None
    budget_usd_per_day: Annotated[NonNegative | None, Meta(description="Beyond it requests are refused.")] = None
    budget_usd_per_month: Annotated[NonNegative | None, Meta(description="Beyond it requests are refused.")] = None
    warn_usd_per_day: Annotated[NonNegative | None, Meta(description="Beyond it a header and the log warn.")] = None
    warn_usd_per_month: Annotated[NonNegative | None, Meta(description="Beyond it a header and the log warn.")] = None
    shared_url: Annotated[
        str,
        Meta(
            description="Valkey or Redis that counts for all servers: `valkey://host:6379/0`, `valkeys://` for TLS; "
            "a password belongs into the variable. Empty: each server counts for itself."
        ),
    ] = ""
    shared_timeout_s: Annotated[float, Meta(description="Longest a request waits for it.", gt=0, le=10)] = 0.5
    when_away: Annotated[
        WhenAway,
        Meta(
            description="While it is away: `closed` refuses requests that have limits (529), `local` gives each server "
            "its share of every limit."
        ),
    ] = "closed"
