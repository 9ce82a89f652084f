"""This server's share of the limits, while the shared count is away.

Owns: how a limit is divided, and the accounts that keep to the parts.
Must never know: connections.
Invariants: every server takes at most its part of what was left when it lost sight of the others, at least 1 of each
limit a minute; what it spends meanwhile is reported later, so dollars are counted once; when the count is back the
share ends, and requests that it let in are settled where they were taken.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from renga.accounting.limits.account import AccountContext, Hold
from renga.accounting.limits.accounts import Accounts
from renga.accounting.limits.reservation import ReservationRequest, ReservedCost, SettledUse
from renga.accounting.limits.spending import Spending, Spent
from renga.accounting.limits.token_buckets import Limits
from renga.domain.periods import Periods, find_periods


class SeenShare(Struct, frozen=True):
    """What somebody had spent when it was last asked."""

    spent: Spent
    at_us: int

    def add(self, nano_usd: int, at_us: int) -> SeenShare:
        """The same after a further request."""
        spent = self.read(find_periods(at_us))
        return SeenShare(Spent(spent.day + nano_usd, spent.month + nano_usd), at_us)

    def read(self, periods: Periods) -> Spent:
        """The part of it that belongs to these periods."""
        return Spent(
            self.spent.day if self.at_us >= periods.day_start_us else 0,
            self.spent.month if self.at_us >= periods.month_start_us else 0,
        )


class _FallbackPart(Struct, frozen=True):
    """A share that was worked out, and of what."""

    whole: Limits
    servers: int
    day_start_us: int
    limits: Limits


class FallbackLimits:
    """Accounts with a part of every limit."""

    def __init__(self, context: AccountContext, seen: dict[str, SeenShare]) -> None:
        self._whole_context = context
        self._seen = seen
        self.begin()

    def begin(self) -> None:
        """Start anew with this server's share, because the other servers cannot be reached."""
        context = self._whole_context
        self._before = dict(self._seen)
        self._context = replace(context, spending=Spending(context.clock))
        self._accounts = Accounts(self._context)
        self._parts: dict[str, _FallbackPart] = {}

    def reserve(self, reservation: ReservationRequest, nano_usd: int, servers: int) -> Hold:
        """Take what a request is expected to need of this server's part.

        Raises: LimitReached, BudgetSpent; nothing is taken then.
        """
        own, common = reservation.limits, reservation.workspace_limits
        hold = self._accounts.reserve(
            replace(
                reservation,
                limits=None if own is None else self._divide(reservation.key_id, own, servers),
                workspace_limits=None if common is None else self._divide(reservation.workspace_id, common, servers),
            )
        )
        self._accounts.hold_dollars(hold, ReservedCost(nano_usd))
        return hold

    def settle(self, hold: Hold, used: SettledUse) -> None:
        """Correct what a request took; also after the share has ended."""
        self._accounts.settle(hold, used)

    def spend(self, name: str, nano_usd: int, at_us: int) -> None:
        """Count dollars that the others do not see yet."""
        self._context.spending.add(name, nano_usd, at_us)

    def _divide(self, name: str, whole: Limits, servers: int) -> Limits:
        """Return the same object for the same question, because accounts notice changes by identity."""
        periods = self._context.spending.roll(self._context.spending.now_us())
        part = self._parts.get(name)
        if part is None or (part.whole, part.servers, part.day_start_us) != (whole, servers, periods.day_start_us):
            seen = self._before.get(name)
            spent = Spent(0, 0) if seen is None else seen.read(periods)
            limits = divide_limits(whole, servers, spent)
            part = self._parts[name] = _FallbackPart(whole, servers, periods.day_start_us, limits)
        return part.limits


def divide_limits(whole: Limits, servers: int, spent: Spent) -> Limits:
    """One of so many equal parts: of a limit a minute, and of what is left of a budget. Nobody is warned by it."""

    def share(limit: int | None) -> int | None:
        return None if limit is None else max(1, limit // servers)

    def share_left(budget: int | None, gone: int) -> int | None:
        return None if budget is None else max(0, budget - gone) // servers

    return Limits(
        share(whole.requests_per_minute),
        share(whole.input_tokens_per_minute),
        share(whole.output_tokens_per_minute),
        share(whole.concurrent_requests),
        share_left(whole.budget_nano_usd_per_day, spent.day),
        share_left(whole.budget_nano_usd_per_month, spent.month),
    )
