"""Which key has which limits, and the one place where a lease meets them.

Owns: the limits of every key (its own over `[limits]`), and the accounts of keys that have some.
Must never know: HTTP, SQL, which provider answers.
Invariants: `reserve`, `hold_price` and `settle` run on the event loop's thread and never wait; without any limit they
cost a look into a dictionary; `load` runs on the store thread and replaces what it made by one assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from renga.clock import Clock
from renga.config import LimitSettings
from renga.meter.account import Account, Desk, Hold
from renga.meter.lease import Terms
from renga.meter.limits import Limits
from renga.meter.metrics import Metrics
from renga.meter.prices import PriceBook
from renga.meter.spending import Spending
from renga.store.rows import KeyLimits, KeyRow, LedgerRow

if TYPE_CHECKING:
    from renga.store.database import Database

_NANO = 1_000_000_000
_UNLIMITED = Limits()


class Quotas:
    """The limits of all keys."""

    def __init__(self, settings: LimitSettings, prices: PriceBook, metrics: Metrics, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock
        self._desk = Desk(clock, Spending(clock), metrics)
        self._default = _or_none(limits_of_settings(settings))
        self._limits: dict[str, Limits | None] = {}
        self._accounts: dict[str, Account] = {}

    def load(self, rows: Sequence[KeyRow], database: Database) -> None:
        """Take the limits of these keys. Where a budget is among them, the ledger is asked once what was spent.

        Raises: DatabaseAway, DatabaseFailed; nothing has changed then.
        """
        limits = {row.key_id: _resolve(row.limits, self._default) for row in rows if row.limits != KeyLimits()}
        wanted = [self._default, *limits.values()]
        if not self._desk.spending.is_loaded and any(each is not None and each.has_budget for each in wanted):
            self._desk.spending.load(database)
        self._limits = limits

    def reserve(self, terms: Terms) -> Hold | None:
        """Take what a request is expected to need of its key's limits; None where the key has none.

        Raises: LimitReached, BudgetSpent; nothing is taken then.
        """
        key_id = terms.key_id
        limits = self._limits.get(key_id, self._default)
        if limits is None:
            return None
        account = self._accounts.get(key_id)
        if account is None:
            account = self._accounts[key_id] = Account(key_id, limits, self._desk)
        elif account.limits is not limits:
            account.apply(limits)
        return account.reserve(terms.input_bytes, terms.max_tokens)

    def hold_price(self, hold: Hold, targets: Sequence[str]) -> None:
        """Set aside what a request may cost at most at these targets. Called with no wait after `reserve`.

        Raises: as `Account.hold_price`; the lease is still to be settled.
        """
        if hold.account.limits.has_budget:
            hold.account.hold_price(hold, {target: self._prices.find(target, hold.at_us) for target in targets})

    def settle(self, hold: Hold | None, row: LedgerRow) -> None:
        """Count what a request cost, and correct what it took of its key's limits."""
        cost = row.cost_nano_usd
        if cost is None and hold is not None and row.status in ("canceled", "partial"):
            # It ran, and nobody counted: its input was read at least.
            cost = hold.input_nano_usd
        if cost:
            self._desk.spending.add(row.key_id, cost, row.time_us)
        if hold is not None:
            written = row.cache_creation_5m_tokens + row.cache_creation_1h_tokens
            hold.account.settle(hold, row.input_tokens + written, row.output_tokens)


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


def _resolve(own: KeyLimits, default: Limits | None) -> Limits | None:
    """A key's limits: its own, and the default where it has none of its own."""
    base = default or _UNLIMITED

    def choose(name: str) -> int | None:
        value: int | UnsetType | None = getattr(own, name)
        return getattr(base, name) if value is UNSET else value

    return _or_none(Limits(*(choose(name) for name in Limits.__struct_fields__)))


def _or_none(limits: Limits) -> Limits | None:
    return None if limits == _UNLIMITED else limits


def _to_nano_usd(usd: float | None) -> int | None:
    return None if usd is None else round(usd * _NANO)
