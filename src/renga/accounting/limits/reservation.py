"""What a request asks of its limits, and what it may cost. Values."""

from __future__ import annotations

from msgspec import Struct

from renga.accounting.limits.token_buckets import Limits

BYTES_A_TOKEN = 4
"""For the limits: about what English text has. Corrected to the truth when the request has ended."""
BYTES_A_TOKEN_MIN = 2
"""For the budgets, which must rather hold too much: what dense code, digits and most other languages have."""


class ReservationRequest(Struct, frozen=True, gc=False):
    """A request as limits see it: whose limits hold, and what it is expected to need of them."""

    key_id: str
    limits: Limits | None
    """The key's; None where it has none."""
    workspace_id: str
    workspace_limits: Limits | None
    input_tokens: int
    max_tokens: int
    is_batch: bool
    """Batch requests have a queue of their own: budgets hold for them, limits a minute and concurrency do not."""

    @property
    def has_budget(self) -> bool:
        """Whether dollars must be known for it."""
        own, common = self.limits, self.workspace_limits
        return (own is not None and own.has_budget) or (common is not None and common.has_budget)


class ReservedCost(Struct, frozen=True, gc=False):
    """What a request may cost, at its dearest target."""

    most_nano_usd: int = 0
    input_nano_usd: int = 0
    """Its input alone, for a request that broke off before anybody counted."""


class SettledUse(Struct, frozen=True, gc=False):
    """What a request really used of the limits a minute. Cache reads count for none.

    Source: Messages API documentation, rate limits.
    """

    input_tokens: int
    output_tokens: int
