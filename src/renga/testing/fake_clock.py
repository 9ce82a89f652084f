"""The clock of tests: time passes when it is told to.

Must never know: the machine's time.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class ToldClock:
    """Both readings of a clock, which pass together. Who sleeps lets them pass, lets others run, and is remembered."""

    def __init__(self, ns: int = 0) -> None:
        self.ns = ns
        self.slept_s: list[float] = []

    def monotonic_ns(self) -> int:
        return self.ns

    def now(self) -> datetime:
        """The time of day: noon when the other reading is 0."""
        return _START + timedelta(microseconds=self.ns // 1000)

    def now_us(self) -> int:
        """The current time in microseconds since 1970."""
        return int(self.now().timestamp() * 1_000_000)

    async def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        self.advance(delay_s)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * 1_000_000_000)

    def advance_us(self, microseconds: int) -> None:
        """Move the clock forward by exactly this many microseconds."""
        self.ns += microseconds * 1000

    def advance_to(self, moment: datetime) -> None:
        self.advance((moment - self.now()).total_seconds())


class SleepingClock(ToldClock):
    """A clock on which sleepers wake only when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeping: asyncio.Queue[float] = asyncio.Queue()
        self.wake = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.wake.clear()
        self.sleeping.put_nowait(delay_s)
        await self.wake.wait()
