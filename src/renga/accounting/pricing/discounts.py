"""What is taken off prices, by rule: `[discounts.NAME]` in renga.toml.

Owns: which rule holds for a request, and what was spent in the month where that decides.
Must never know: what a request cost before the rule; `price_book.py` takes it off, exactly and with one rounding.
Invariants: `find` and `count` run on the event loop's thread and never wait; of the rules that hold, the largest
counts, and never two; what was spent is the ledger's figure for the month, by the target that answered. A process sees
its own requests at once and those of others some seconds later (`_REFRESH_S`, or 100 times what adding up the month
takes), so that at a threshold a rule may begin that much late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from msgspec import Struct

from renga.accounting.pricing.price_book import Discount
from renga.clock import Clock
from renga.config.discounts import DiscountSettings
from renga.domain.ledger import LedgerRow
from renga.domain.periods import find_periods
from renga.domain.usage_reports import UsageQuery

if TYPE_CHECKING:
    from renga.store.database import Database

_MICROSECONDS = 1_000_000
_NANO_USD = 1_000_000_000
_PPM_A_PERCENT = 10_000
_REFRESH_S = 5.0
_QUERY_SHARE = 100
"""The sums are read again at the earliest after so many times what reading them took: at most 1 % of the thread."""
_SETTLING_S = 2
"""Rows younger than this may not be written yet, so they are counted here."""
_CACHE_SIZE = 4096


class _Rule(Struct, frozen=True, eq=False):
    name: str
    target: str
    workspace_id: str
    from_nano_usd: int
    starts_us: int
    ends_us: int
    discount: Discount

    def is_for(self, target: str, workspace_id: str | None) -> bool:
        if self.workspace_id and self.workspace_id != workspace_id:
            return False
        return self.target in ("*", target) or (
            self.target.endswith("/*") and target.startswith(self.target.removesuffix("*"))
        )


class _Known(Struct, frozen=True):
    """What the ledger said: the month's sum of the rows before a second."""

    month_start_us: int
    until_s: int
    nano_usd: int


class _Volume:
    """What was spent in the running month under one rule."""

    def __init__(self) -> None:
        self._known = _Known(0, 0, 0)
        self._pruned = self._known
        self._recent: dict[int, int] = {}
        """By second: what this process has settled and the ledger's sum does not have."""
        self._recent_nano_usd = 0

    def add(self, nano_usd: int, at_us: int) -> None:
        second = at_us // _MICROSECONDS
        self._recent[second] = self._recent.get(second, 0) + nano_usd
        self._recent_nano_usd += nano_usd

    def total(self, at_us: int) -> int:
        """Nano-dollars in the month that holds this moment."""
        month_start_us = find_periods(at_us).month_start_us
        known = self._known
        first_s = max(known.until_s, month_start_us // _MICROSECONDS)
        if known is not self._pruned or (self._recent and next(iter(self._recent)) < first_s):
            self._recent = {second: sum_ for second, sum_ in self._recent.items() if second >= first_s}
            self._recent_nano_usd = sum(self._recent.values())
            self._pruned = known
        return self._recent_nano_usd + (known.nano_usd if known.month_start_us == month_start_us else 0)

    def learn(self, known: _Known) -> None:
        """On the store thread: one assignment, which `total` takes up."""
        self._known = known


class DiscountBook:
    """All rules. A job of the store thread, which asks the ledger what was spent."""

    def __init__(self, settings: Mapping[str, DiscountSettings], clock: Clock) -> None:
        self._clock = clock
        self._rules = tuple(sorted(map(_make_rule, settings.items()), key=_by_size))
        self._volumes = {rule.name: _Volume() for rule in self._rules if rule.from_nano_usd}
        self._found: dict[tuple[str, str | None], tuple[_Rule, ...]] = {}
        self._next_refresh_s = 0.0

    def find(self, target: str, workspace_id: str | None, at_us: int) -> Discount | None:
        """What is taken off for a request of this workspace to this target now; None for nothing. About 1 us."""
        for rule in self._rules_for(target, workspace_id):
            if not rule.starts_us <= at_us < rule.ends_us:
                continue
            if not rule.from_nano_usd or self._volumes[rule.name].total(at_us) >= rule.from_nano_usd:
                return rule.discount
        return None

    def count(self, row: LedgerRow) -> None:
        """A request is settled: what it cost counts for the rules that its target and workspace are of."""
        if self._volumes and row.cost_nano_usd and row.target is not None:
            for rule in self._rules_for(row.target, row.workspace_id):
                if rule.from_nano_usd:
                    self._volumes[rule.name].add(row.cost_nano_usd, row.time_us)

    def _rules_for(self, target: str, workspace_id: str | None) -> tuple[_Rule, ...]:
        rules = self._found.get((target, workspace_id))
        if rules is None:
            if len(self._found) >= _CACHE_SIZE:
                self._found.clear()
            rules = tuple(rule for rule in self._rules if rule.is_for(target, workspace_id))
            self._found[(target, workspace_id)] = rules
        return rules

    # A job of the store thread

    def opened(self, database: Database) -> None:
        self._refresh(database)

    def run(self, database: Database) -> None:
        if self._volumes and self._clock.monotonic_ns() / 1e9 >= self._next_refresh_s:
            self._refresh(database)

    def abandon(self) -> None:
        """Do nothing at the end: the ledger holds everything that was counted."""

    def _refresh(self, database: Database) -> None:
        began_ns = self._clock.monotonic_ns()
        now_us = int(self._clock.now().timestamp() * _MICROSECONDS)
        until_s = now_us // _MICROSECONDS - _SETTLING_S
        start_us = find_periods(now_us).month_start_us
        for rule in self._rules:
            if rule.name not in self._volumes:
                continue
            query = UsageQuery(
                by=(),
                since_us=start_us,
                until_us=max(start_us, until_s * _MICROSECONDS),
                target=None if rule.target == "*" else rule.target,
                workspace_id=rule.workspace_id or None,
            )
            nano_usd = sum(row.cost_nano_usd for row in database.usage.read(query))
            self._volumes[rule.name].learn(_Known(start_us, until_s, nano_usd))
        ended_ns = self._clock.monotonic_ns()
        self._next_refresh_s = ended_ns / 1e9 + max(_REFRESH_S, _QUERY_SHARE * (ended_ns - began_ns) / 1e9)


def _make_rule(item: tuple[str, DiscountSettings]) -> _Rule:
    name, settings = item
    return _Rule(
        name,
        settings.target,
        settings.workspace,
        round(settings.from_usd_per_month * _NANO_USD),
        _day_us(settings.starts_on, 0),
        _day_us(settings.ends_on, 2**62),
        Discount(name, round(settings.percent * _PPM_A_PERCENT)),
    )


def _by_size(rule: _Rule) -> tuple[int, str]:
    return (-rule.discount.off_ppm, rule.name)


def _day_us(day: date | None, otherwise_us: int) -> int:
    if day is None:
        return otherwise_us
    return int(datetime.combine(day, time(), UTC).timestamp()) * _MICROSECONDS
