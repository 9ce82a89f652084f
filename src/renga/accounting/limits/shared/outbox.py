"""What a server tells the shared count, in order, each exactly once.

Owns: entries that wait, the reports that are on their way, and their numbers.
Must never know: connections, what an entry says.
Invariants: a report is sent again, under its number, until it is acknowledged, and the script ignores a number that it
has had; later reports never overtake earlier ones, as they leave on one connection in the order of their numbers.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

_ENTRIES_A_REPORT = 200
"""Under a millisecond of the server's time."""


class OutboxReport(Struct, frozen=True):
    """Entries that travel to the shared count together."""

    number: int
    entries: tuple[bytes, ...]
    arguments: int


class _OutboxEntry(Struct, frozen=True, gc=False):
    data: bytes
    arguments: int


class Outbox:
    """Entries on their way to the shared count, in order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[_OutboxEntry] = deque()
        self._sent: deque[OutboxReport] = deque()
        self._number = 0
        self.has_lost = False
        """Entries were given up: the dollars must be counted anew."""

    @property
    def waiting(self) -> int:
        """How many entries the shared count has not acknowledged."""
        return len(self._waiting) + sum(len(report.entries) for report in self._sent)

    @property
    def has_entries(self) -> bool:
        """Whether anything waits to be sent for the first time."""
        return bool(self._waiting)

    @property
    def unacknowledged(self) -> tuple[OutboxReport, ...]:
        """Those that were sent, oldest first."""
        return tuple(self._sent)

    def add(self, data: bytes, arguments: int) -> None:
        """One entry, encoded, and how many arguments it is."""
        if len(self._waiting) >= self._limit:
            # Nobody has listened for long. What runs lapses by itself, and the ledger knows the dollars.
            self._waiting.clear()
            self.has_lost = True
        self._waiting.append(_OutboxEntry(data, arguments))

    def make(self) -> OutboxReport:
        """The next report; it may have no entries, and says then that we are there."""
        entries = [self._waiting.popleft() for _ in range(min(len(self._waiting), _ENTRIES_A_REPORT))]
        self._number += 1
        report = OutboxReport(
            self._number, tuple([entry.data for entry in entries]), sum(entry.arguments for entry in entries)
        )
        self._sent.append(report)
        return report

    def give_up(self) -> None:
        """Drop the entries that were sent, because Valkey can never apply them."""
        self._sent.clear()
        self.has_lost = True

    def acknowledge(self, report: OutboxReport) -> None:
        """It has been applied, and so have those before it."""
        while self._sent and self._sent[0].number <= report.number:
            self._sent.popleft()
