"""What was spent before the shared counters began, from the ledger.

Owns: reading it on the store thread for the moment that the event loop asks for.
Must never know: Valkey, budgets.
Invariants: every row of the ledger is counted once: here if it is of the time before that moment, by the shared
counters if not; a sum is final when every server has had time to write what it settled before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from renga.accounting.limits.spending import NOTHING, Before, Spent, read_before
from renga.clock import Clock
from renga.domain.periods import find_periods

if TYPE_CHECKING:
    from renga.store.database import Database

_WRITTEN_US = 3_000_000
"""By then rows are in the database: three times the longest `ledger.flush_interval_s`."""


class _Found(Struct, frozen=True):
    before: Before
    is_final: bool
    """Read when no row could be on its way any more."""


class OpeningBalance:
    """Sums up to the moment since which the shared counters count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_us = 0
        self._found: _Found | None = None
        self._carried: dict[str, Spent] = {}
        self._loaded: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def until_us(self) -> int:
        """The moment that the sums are for; 0 as long as nobody has said it."""
        return self._until_us

    def move(self, until_us: int, known: dict[str, Spent]) -> None:
        """Ask for another moment. `known` is what was last seen of keys and workspaces, which counts meanwhile."""
        self._loop = asyncio.get_running_loop()
        self._loaded = asyncio.Event()
        self._carried = known
        self._until_us = until_us

    def read(self, name: str) -> Spent | None:
        """What a key or workspace had spent of the day and month of that moment; None if that is not known yet."""
        found, carried = self._found, self._carried.get(name)
        if found is None or found.before.until_us != self._until_us:
            return carried or self._read_over()
        spent = Spent(found.before.day.get(name, 0), found.before.month.get(name, 0))
        if found.is_final or carried is None:
            return spent
        # Rows of the last second may be missing in the one, and other servers' in the other.
        return Spent(max(spent.day, carried.day), max(spent.month, carried.month))

    async def wait(self, timeout_s: float) -> bool:
        """Until the sums are there, or not."""
        if self._loaded is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._loaded.wait()
        except TimeoutError:
            return False
        return True

    def refresh(self, database: Database) -> None:
        """Read what is asked for. Runs on the store thread, every interval; a look at the clock if there is nothing.

        Raises: DatabaseAway, DatabaseFailed.
        """
        until_us, found = self._until_us, self._found
        if not until_us:
            return
        is_written = int(self._clock.now().timestamp() * 1_000_000) >= until_us + _WRITTEN_US
        if found is not None and found.before.until_us == until_us and (found.is_final or not is_written):
            return
        self._found = _Found(read_before(database, until_us), is_written)
        if self._loop is not None and self._loaded is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loaded.set)

    def _read_over(self) -> Spent | None:
        """Nothing spent, where the month of that moment is over; else not known."""
        if not self._until_us or find_periods(self._now_us()).month_start_us < self._until_us:
            return None
        return NOTHING

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)
