"""What every key and workspace has spent in the running day and month, in UTC.

Owns: the sums since this process started, and what the ledger says of the time before.
Must never know: budgets, requests, prices.
Invariants: the sums are those of the ledger, because both are made of the same settled rows; `add` and `read` run on
the event loop's thread and never wait. A process counts what it settled itself: several processes on one database
see each other's spending only when they start, unless they share their limits (`shared/shared_limits.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from renga.clock import Clock
from renga.domain.periods import Periods, find_periods

if TYPE_CHECKING:
    from renga.store.database import Database


class Spent(Struct, frozen=True, gc=False):
    """Nano-dollars that were spent in a day and in its month."""

    day: int
    month: int


NOTHING = Spent(0, 0)


class Before(Struct, frozen=True):
    """What the ledger holds of the day and the month up to a moment in them."""

    until_us: int
    periods: Periods
    day: dict[str, int]
    month: dict[str, int]

    def read(self, name: str, periods: Periods) -> Spent:
        """The part of it that belongs to these periods."""
        own = self.periods
        return Spent(
            self.day.get(name, 0) if own.day_start_us == periods.day_start_us else 0,
            self.month.get(name, 0) if own.month_start_us == periods.month_start_us else 0,
        )


class Spending:
    """Sums by key and workspace; their ids do not meet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_us = self.now_us()
        self._periods = find_periods(self._started_us)
        self._day: dict[str, int] = {}
        self._month: dict[str, int] = {}
        self._before: Before | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the time before this process counts."""
        return self._before is not None

    def now_us(self) -> int:
        """The time of day, as the ledger stamps its rows."""
        return int(self._clock.now().timestamp() * 1_000_000)

    def add(self, name: str, nano_usd: int, at_us: int) -> None:
        """Count what a request of this key or workspace cost."""
        self.roll(at_us)
        self._day[name] = self._day.get(name, 0) + nano_usd
        self._month[name] = self._month.get(name, 0) + nano_usd

    def read(self, name: str, at_us: int) -> Spent:
        """What a key or workspace has spent in the periods that hold a moment, this one."""
        periods = self.roll(at_us)
        day, month = self._day.get(name, 0), self._month.get(name, 0)
        before = self._before
        if before is not None:
            if before.periods.day_start_us == periods.day_start_us:
                day += before.day.get(name, 0)
            if before.periods.month_start_us == periods.month_start_us:
                month += before.month.get(name, 0)
        return Spent(day, month)

    def load(self, database: Database) -> None:
        """Read what the ledger holds of the time before this process. Two queries; runs on the store thread."""
        # One assignment, as the other thread may read meanwhile.
        self._before = read_before(database, self._started_us)

    def roll(self, at_us: int) -> Periods:
        """The periods that hold a moment; what is over is forgotten. A clock set back changes nothing."""
        periods = self._periods
        if at_us >= periods.day_end_us:
            if at_us >= periods.month_end_us:
                self._month.clear()
            self._day.clear()
            periods = self._periods = find_periods(at_us)
        return periods


def read_before(database: Database, until_us: int) -> Before:
    """Ask the ledger for the day and the month up to a moment. Two queries.

    Raises: DatabaseAway, DatabaseFailed.
    """
    periods = find_periods(until_us)
    return Before(
        until_us,
        periods,
        database.spending.read_spending(periods.day_start_us, until_us),
        database.spending.read_spending(periods.month_start_us, until_us),
    )
