"""What every key has spent in the running day and month, in UTC.

Owns: the sums since this process started, and what the ledger says of the time before.
Must never know: budgets, requests, prices.
Invariants: the sums are those of the ledger, because both are made of the same settled rows; `add` and `read` run on
the event loop's thread and never wait. A process counts what it settled itself: several processes on one database
see each other's spending only when they start.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from renga.clock import Clock
from renga.store.rows import UsageQuery

if TYPE_CHECKING:
    from renga.store.database import Database


class Periods(Struct, frozen=True, gc=False):
    """The day and the month that hold a moment. Microseconds since 1970; the ends belong to the next."""

    day_start_us: int
    day_end_us: int
    month_start_us: int
    month_end_us: int


class Spent(Struct, frozen=True, gc=False):
    """Nano-dollars."""

    day: int
    month: int


class _Before(Struct, frozen=True):
    """What the ledger held of the time before this process."""

    periods: Periods
    day: dict[str, int]
    month: dict[str, int]


class Spending:
    """Sums by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_us = self.now_us()
        self._periods = find_periods(self._started_us)
        self._day: dict[str, int] = {}
        self._month: dict[str, int] = {}
        self._before: _Before | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the time before this process counts."""
        return self._before is not None

    def now_us(self) -> int:
        """The time of day, as the ledger stamps its rows."""
        return int(self._clock.now().timestamp() * 1_000_000)

    def add(self, key_id: str, nano_usd: int, at_us: int) -> None:
        """Count what a request cost."""
        self.roll(at_us)
        self._day[key_id] = self._day.get(key_id, 0) + nano_usd
        self._month[key_id] = self._month.get(key_id, 0) + nano_usd

    def read(self, key_id: str, at_us: int) -> Spent:
        """What a key has spent in the periods that hold a moment, this one."""
        periods = self.roll(at_us)
        day, month = self._day.get(key_id, 0), self._month.get(key_id, 0)
        before = self._before
        if before is not None:
            if before.periods.day_start_us == periods.day_start_us:
                day += before.day.get(key_id, 0)
            if before.periods.month_start_us == periods.month_start_us:
                month += before.month.get(key_id, 0)
        return Spent(day, month)

    def load(self, database: Database) -> None:
        """Read what the ledger holds of the time before this process. Two queries; runs on the store thread."""
        periods = find_periods(self._started_us)

        def read_since(start_us: int) -> dict[str, int]:
            query = UsageQuery(by=("key",), since_us=start_us, until_us=self._started_us)
            return {row.group[0] or "": row.cost_nano_usd for row in database.usage.read(query)}

        # One assignment, as the other thread may read meanwhile.
        self._before = _Before(periods, read_since(periods.day_start_us), read_since(periods.month_start_us))

    def roll(self, at_us: int) -> Periods:
        """The periods that hold a moment; what is over is forgotten. A clock set back changes nothing."""
        periods = self._periods
        if at_us >= periods.day_end_us:
            if at_us >= periods.month_end_us:
                self._month.clear()
            self._day.clear()
            periods = self._periods = find_periods(at_us)
        return periods


def find_periods(at_us: int) -> Periods:
    """The day and the month that hold a moment."""
    moment = datetime.fromtimestamp(at_us / 1_000_000, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    following = (month + timedelta(days=32)).replace(day=1)
    return Periods(*(int(each.timestamp()) * 1_000_000 for each in (day, day + timedelta(days=1), month, following)))
