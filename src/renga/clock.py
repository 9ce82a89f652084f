"""Time, as a seam: everything that waits or stamps takes a Clock, and tests pass a fake one."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What the rest of Renga may know of time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start; never goes back. For durations."""
        ...

    def now(self) -> datetime:
        """The time of day, in UTC. For stamps."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Let other tasks run for this long."""
        ...


class SystemClock:
    """The clock of the machine that Renga runs on."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


def to_datetime(time_us: int) -> datetime:
    """Microseconds since 1970 as a moment in UTC. Exact: no float is between."""
    return _EPOCH + timedelta(microseconds=time_us)
