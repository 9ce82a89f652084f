"""Who may start now, and who must make room.

Owns: the waiting requests, and how many background ones run beside live ones.
Must never know: the pipeline, what a request says.
Invariants: a live request finds a slot unless live ones have them all; while live requests are there, or were a moment
ago, no more than `background_max` others run, and while one waits for its first token no other prompt is read beside
its own; without live requests the others have every slot but one, which is kept for the next live one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from renga.engine.protocol import Generation
from renga.engine.waiting import WaitingLine

QUIET_NS = 1_000_000_000
"""How long after the last live request the background takes all slots again. Clients come back within it, and starting
a request only to stop it costs its prompt's last block twice."""


class Waiter(Struct, frozen=True):
    """A request that may start."""

    request_id: int
    generation: Generation


class Admission:
    """The line before the pipeline. Costs a microsecond a request."""

    def __init__(self, running_max: int, background_max: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._running_max = running_max
        self._background_max = min(background_max, running_max - 1)
        self._clock_ns = clock_ns
        self._line = WaitingLine()
        self._generations: dict[int, Generation] = {}
        self._live: set[int] = set()
        """Live requests that wait or run."""
        self._mute: set[int] = set()
        """Requests of both kinds that have no token yet."""
        self._running: dict[int, bool] = {}
        """Whether each is a background one; the oldest first."""
        self._live_seen_ns = -QUIET_NS

    @property
    def waiting(self) -> int:
        """How many are in the line."""
        return len(self._line)

    def queue(self, request_id: int, generation: Generation) -> None:
        """Stand in line."""
        self._running.pop(request_id, None)
        self._generations[request_id] = generation
        self._mute.add(request_id)
        self._line.add(request_id, owner=generation.owner, priority=generation.priority)
        if generation.priority <= 0:
            self._live.add(request_id)

    def begin(self, request_id: int) -> None:
        """A request has its first token."""
        self._mute.discard(request_id)

    def end(self, request_id: int) -> bool:
        """Forget a request. Returns whether it was in the line."""
        if request_id in self._live:
            self._live.discard(request_id)
            self._live_seen_ns = self._clock_ns()
        self._running.pop(request_id, None)
        self._mute.discard(request_id)
        if self._generations.pop(request_id, None) is None:
            return False
        return self._line.remove(request_id)

    def take(self) -> list[Waiter]:
        """Those that start now; at most one background one at a time, so that its prompt is alone in its step."""
        starting: list[Waiter] = []
        while len(self._line) and len(self._running) < self._running_max:
            is_background = self._line.next_priority() > 0
            if is_background and not self._has_room():
                break
            request_id = self._line.take()
            self._running[request_id] = is_background
            starting.append(Waiter(request_id, self._generations.pop(request_id)))
            if is_background:
                break
        return starting

    def find_surplus(self) -> list[int]:
        """Background requests that must make room now, those that started last first."""
        if not self._live:
            return []
        background = [request_id for request_id, is_background in self._running.items() if is_background]
        surplus = background[self._background_max :][::-1]
        if not self._live.isdisjoint(self._mute):
            surplus += [request_id for request_id in background[: self._background_max] if request_id in self._mute]
        return surplus

    def _has_room(self) -> bool:
        """Whether one more background request may run."""
        count = sum(self._running.values())
        if not self._live.isdisjoint(self._mute):
            return False
        if self._live or self._clock_ns() - self._live_seen_ns < QUIET_NS:
            return count < self._background_max
        return count < max(self._running_max - 1, 1)
