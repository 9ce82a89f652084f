"""Which key and workspace has which limits, and the one place where a lease meets them.

Owns: the limits of every key (its own over `[limits]`) and every workspace, and what is counted for them.
Must never know: HTTP, SQL, which provider answers, where accounts are kept.
Invariants: `reserve` and `settle` run on the event loop's thread and never wait; without any limit they cost a look
into two dictionaries; `load` and `run` run on the store thread and replace what they made by one assignment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct, UnsetType

from renga.accounting.limits.account import AccountContext, Hold
from renga.accounting.limits.accounts import Accounts
from renga.accounting.limits.reservation import (
    BYTES_A_TOKEN,
    BYTES_A_TOKEN_MIN,
    ReservationRequest,
    ReservedCost,
    SettledUse,
)
from renga.accounting.limits.shared.shared_hold import SharedHold
from renga.accounting.limits.spending import Spending
from renga.accounting.limits.token_buckets import Limits
from renga.accounting.pricing.price_book import PriceBook
from renga.clock import Clock
from renga.config import LimitSettings
from renga.domain.keys import KeyLimits, KeyRow
from renga.domain.ledger import LedgerRow
from renga.errors import PermissionDenied
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.inference_request import InferenceRequest

if TYPE_CHECKING:
    from renga.accounting.limits.shared.shared_limits import SharedLimits
    from renga.store.database import Database

_NANO = 1_000_000_000
_UNLIMITED = Limits()
_NOTHING = SettledUse(0, 0)
_FREE = ReservedCost()

OWN_SURFACES = frozenset({"shadow"})
"""What the server asks on its own account: it has budgets of its own, and nobody's limits hold for it."""


class _Table(Struct, frozen=True):
    """Whose limits are not the default. None: has none."""

    keys: dict[str, Limits | None] = {}
    workspaces: dict[str, Limits] = {}


class Quotas:
    """The limits of all keys and workspaces."""

    def __init__(
        self,
        settings: LimitSettings,
        prices: PriceBook,
        metrics: RequestMetrics,
        clock: Clock,
        share: Callable[[LimitSettings, AccountContext], SharedLimits] | None = None,
    ) -> None:
        self._prices = prices
        self._context = AccountContext(clock, Spending(clock), metrics)
        self._accounts = Accounts(self._context)
        self._default = _or_none(limits_of_settings(settings))
        self.shared = (share or _share)(settings, self._context) if settings.shared_url else None
        """The count that servers share; None where each counts for itself."""
        self._has_budgets = self._default is not None and self._default.has_budget
        self._table = _Table()

    def load(self, rows: Sequence[KeyRow], database: Database) -> None:
        """Take the limits of these keys, and of the workspaces. Where a budget is among them, the ledger is asked once
        what was spent.

        Raises: DatabaseAway, DatabaseFailed; nothing has changed then.
        """
        keys = {row.key_id: resolve_limits(row.limits, self._default) for row in rows if row.limits != KeyLimits()}
        common = {row.workspace_id: resolve_limits(row.limits, None) for row in database.workspaces.read()}
        workspaces = {name: limits for name, limits in common.items() if limits is not None}
        wanted = [self._default, *keys.values(), *workspaces.values()]
        self._has_budgets = any(each is not None and each.has_budget for each in wanted)
        if self._has_budgets and self.shared is None and not self._context.spending.is_loaded:
            self._context.spending.load(database)
        # At the start too, so that no request must wait for it.
        self.run(database)
        self._table = _Table(keys, workspaces)

    def opened(self, database: Database) -> None:
        """Do nothing when the database opens: keys bring their limits with them."""

    def run(self, database: Database) -> None:
        """Read from the ledger what the shared count must know.

        Raises: DatabaseAway, DatabaseFailed.
        """
        if self.shared is not None and self._has_budgets:
            self.shared.refresh(database)

    def abandon(self) -> None:
        """Do nothing at the end: the ledger holds everything that was counted."""

    def reserve(self, request: InferenceRequest) -> Hold | SharedHold | None:
        """Take what a request is expected to need of its key's and its workspace's limits; None where neither has any.
        Where servers share their limits nothing is taken before `hold_price`.

        Raises: LimitReached, BudgetSpent; nothing is taken then.
        """
        if request.surface in OWN_SURFACES:
            return None
        table = self._table
        caller = request.caller
        limits = table.keys.get(caller.key_id, self._default)
        common = None if caller.workspace_id is None else table.workspaces.get(caller.workspace_id)
        if limits is None and common is None:
            return None
        reservation = ReservationRequest(
            caller.key_id,
            limits,
            caller.workspace_id or "",
            common,
            1 + len(request.body) // BYTES_A_TOKEN,
            request.message.max_tokens,
            request.service_tier == "batch",
        )
        return self._accounts.reserve(reservation) if self.shared is None else self.shared.begin(reservation)

    def hold_price(
        self,
        hold: Hold | SharedHold,
        request: InferenceRequest,
        targets: Sequence[str],
        also_billed: Sequence[str] = (),
    ) -> Awaitable[None] | None:
        """Set aside what a request may cost at most if one of these targets answers, and those that are
        `also_billed` are asked too. Returns what must be waited for, if anything.

        Raises: LimitReached, BudgetSpent, PermissionDenied (a price is not known); the lease is still to be settled.
        """
        cost = self._find_most(hold, request, targets, also_billed) if hold.at_us else _FREE
        if isinstance(hold, Hold):
            if hold.at_us:
                self._accounts.hold_dollars(hold, cost)
            return None
        assert self.shared is not None
        hold.nano_usd, hold.input_nano_usd = cost.most_nano_usd, cost.input_nano_usd
        return self.shared.reserve(hold)

    def settle(self, hold: Hold | SharedHold | None, row: LedgerRow) -> None:
        """Count what a request cost, and correct what it took."""
        cost = row.cost_nano_usd
        if cost is None and hold is not None and row.status in ("canceled", "partial"):
            # It ran, and nobody counted: its input was read at least.
            cost = hold.input_nano_usd
        if cost:
            self._spend(row, cost)
        if hold is not None:
            written = row.cache_creation_5m_tokens + row.cache_creation_1h_tokens
            self._end(hold, SettledUse(row.input_tokens + written, row.output_tokens), cost or 0)

    def drop(self, hold: Hold | SharedHold | None) -> None:
        """Give back what a request took that is kept out after all. It stays a request."""
        if hold is not None:
            self._end(hold, _NOTHING, 0)

    def _end(self, hold: Hold | SharedHold, used: SettledUse, nano_usd: int) -> None:
        if isinstance(hold, Hold):
            self._accounts.settle(hold, used)
        elif self.shared is not None:
            self.shared.settle(hold, used, nano_usd)

    def _spend(self, row: LedgerRow, nano_usd: int) -> None:
        if self.shared is not None:
            self.shared.spend(row.key_id, row.workspace_id, nano_usd, row.time_us)
            return
        self._context.spending.add(row.key_id, nano_usd, row.time_us)
        if row.workspace_id is not None:
            self._context.spending.add(row.workspace_id, nano_usd, row.time_us)

    def _find_most(
        self, hold: Hold | SharedHold, request: InferenceRequest, targets: Sequence[str], also_billed: Sequence[str]
    ) -> ReservedCost:
        """The most that a request can cost.

        Raises: PermissionDenied if a hard budget is set and a price is not known.
        """
        input_tokens = 1 + len(request.body) // BYTES_A_TOKEN_MIN
        most = most_input = 0
        for target in targets:
            cost = self._price(hold, target, input_tokens)
            most, most_input = max(most, cost.most_nano_usd), max(most_input, cost.input_nano_usd)
        for target in also_billed:
            most += self._price(hold, target, input_tokens).most_nano_usd
        return (
            ReservedCost(-(-most // 2), -(-most_input // 2))
            if hold.reservation.is_batch
            else ReservedCost(most, most_input)
        )

    def _price(self, hold: Hold | SharedHold, target: str, input_tokens: int) -> ReservedCost:
        reservation = hold.reservation
        price = self._prices.find(target, hold.at_us)
        if price is not None:
            most = price.most_nano_usd(input_tokens, reservation.max_tokens)
            return ReservedCost(most, price.most_nano_usd(input_tokens, 0))
        for whose, limits in (("This key", reservation.limits), ("This key's workspace", reservation.workspace_limits)):
            if limits is not None and limits.has_hard_budget:
                raise PermissionDenied(
                    f"{whose} has a budget in dollars, and {target} has no known price.",
                    hint=f'set [prices."{target}"] in renga.toml, 0 if it costs nothing',
                )
        return ReservedCost()


def _share(settings: LimitSettings, context: AccountContext) -> SharedLimits:
    """Imported late: few need it, and TLS takes 10 ms to load."""
    from renga.accounting.limits.shared.shared_limits import SharedLimits

    return SharedLimits(settings, context)


def limits_of_settings(settings: LimitSettings) -> Limits:
    """`[limits]`, in the units of the meter."""
    return Limits(
        settings.requests_per_minute,
        settings.input_tokens_per_minute,
        settings.output_tokens_per_minute,
        settings.concurrent_requests,
        _to_nano_usd(settings.budget_usd_per_day),
        _to_nano_usd(settings.budget_usd_per_month),
        _to_nano_usd(settings.warn_usd_per_day),
        _to_nano_usd(settings.warn_usd_per_month),
    )


def resolve_limits(own: KeyLimits, default: Limits | None) -> Limits | None:
    """Limits of a key's or a workspace's own, and the default where it has none of its own."""
    base = default or _UNLIMITED

    def choose(name: str) -> int | None:
        value: int | UnsetType | None = getattr(own, name)
        return getattr(base, name) if value is UNSET else value

    return _or_none(Limits(*(choose(name) for name in Limits.__struct_fields__)))


def _or_none(limits: Limits) -> Limits | None:
    return None if limits == _UNLIMITED else limits


def _to_nano_usd(usd: float | None) -> int | None:
    return None if usd is None else round(usd * _NANO)
