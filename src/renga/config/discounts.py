"""Settings of discounts, which are rules over prices."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import NonNegative


class DiscountSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of what is taken off the price: `[discounts.NAME]`. Where several fit, the largest counts."""

    target: Annotated[str, Meta(description="What it is for: `anthropic/*`, one target, or `*` for all.")]
    percent: Annotated[float, Meta(description="What is taken off, to a ten-thousandth of a percent.", gt=0, le=100)]
    from_usd_per_month: Annotated[
        NonNegative, Meta(description="Once so much was spent on these targets in the month (UTC); 0: at once.")
    ] = 0.0
    workspace: Annotated[
        str, Meta(description="Id of the workspace whose requests and spending count; empty: all.")
    ] = ""
    starts_on: Annotated[date | None, Meta(description="First day, in UTC; none: always.")] = None
    ends_on: Annotated[date | None, Meta(description="First day without it, in UTC; none: never.")] = None
