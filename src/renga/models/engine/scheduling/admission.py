"""Who may start now, and who must make room.

Owns: the waiting requests, and how many background ones run beside live ones.
Must never know: the pipeline, what a request says.
Invariants: a live request finds a slot unless live ones have them all; while live requests are there, or were a moment
ago, no more than `max_background` others run, and while one waits for its first token no other prompt is read beside
its own; a while longer, background prompts are read in chunks, one prompt at a time; without live requests the others
have every slot but one, which is kept for the next live one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from renga.models.engine.ipc import GenerationRequest
from renga.models.engine.scheduling.fair_queue import FairQueue

QUIET_NS = 3_000_000_000
"""How long after the last live request the background takes all slots again, and all the time. Clients come back within
it, and starting a request only to stop it costs its prompt's last block twice."""
WATCH_NS = 10_000_000_000
"""How long after the last live request background prompts are read in chunks: a live one that comes meanwhile waits for
a short step. Whole prompts are read in half the time, which is for nights without anybody."""


class WaitingRequest(Struct, frozen=True):
    """A request that waits for its turn, or may start now."""

    request_id: int
    generation: GenerationRequest
    read_tokens: int = 0
    """How much of its prompt was read before, and comes out of the prefix cache."""
    in_chunks: bool = False
    """Whether its prompt is to be read in chunks."""


class Admission:
    """The queue before the pipeline, and who may leave it. Costs a microsecond a request."""

    def __init__(self, max_running: int, max_background: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._max_running = max_running
        self._max_background = min(max_background, max_running - 1)
        self._clock_ns = clock_ns
        self._queue = FairQueue()
        self._waiting: dict[int, WaitingRequest] = {}
        self._live: set[int] = set()
        """Live requests that wait or run."""
        self._awaiting_first_token: set[int] = set()
        """Requests of both kinds that have no token yet."""
        self._running: dict[int, bool] = {}
        """Whether each is a background one; the oldest first."""
        self._in_chunks: int | None = None
        """Whose prompt is read in chunks."""
        self._live_seen_ns = clock_ns() - WATCH_NS

    @property
    def waiting(self) -> int:
        """How many requests wait in the queue."""
        return len(self._queue)

    @property
    def has_live(self) -> bool:
        """Whether live requests wait or run."""
        return bool(self._live)

    @property
    def is_live_about(self) -> bool:
        """Whether there are live requests, or were a moment ago."""
        return bool(self._live) or self._clock_ns() - self._live_seen_ns < QUIET_NS

    def enqueue(self, request_id: int, generation: GenerationRequest, read_tokens: int = 0) -> None:
        """Let a request wait, or wait again, until `take` gives it."""
        self._leave(request_id)
        self._waiting[request_id] = WaitingRequest(request_id, generation, read_tokens)
        self._awaiting_first_token.add(request_id)
        self._queue.add(request_id, key_id=generation.key_id, priority=generation.priority)
        if generation.priority <= 0:
            self._live.add(request_id)

    def end_chunks(self, request_id: int) -> None:
        """The prompt that was read in chunks is read."""
        if self._in_chunks == request_id:
            self._in_chunks = None

    def note_first_token(self, request_id: int) -> None:
        """Note that a request has its first token, so that others may be read."""
        self._awaiting_first_token.discard(request_id)

    def end_request(self, request_id: int) -> bool:
        """Forget a request. Returns whether it was in the line."""
        if request_id in self._live:
            self._live.discard(request_id)
            self._live_seen_ns = self._clock_ns()
        self._leave(request_id)
        self._awaiting_first_token.discard(request_id)
        if self._waiting.pop(request_id, None) is None:
            return False
        return self._queue.remove(request_id)

    def take(self) -> list[WaitingRequest]:
        """Those that start now; at most one background one at a time, so that its prompt is alone in its step."""
        starting: list[WaitingRequest] = []
        while len(self._queue) and len(self._running) < self._max_running:
            is_background = self._queue.next_priority() > 0
            if is_background and not self._has_room():
                break
            request_id = self._queue.take()
            self._running[request_id] = is_background
            waiter = self._waiting.pop(request_id)
            if is_background:
                starting.append(self._begin_background(waiter))
                break
            starting.append(waiter)
        return starting

    def may_prefill_chunk(self) -> bool:
        """Whether a chunk may be read now: no live request waits for its first token."""
        return self._live.isdisjoint(self._awaiting_first_token)

    def yield_interval_ns(self) -> int:
        """In how long, if nothing else happens, whoever is next in line may start where nobody runs; 0: now."""
        if self._live or self._max_background or not len(self._queue):
            return 0
        return max(0, self._live_seen_ns + QUIET_NS - self._clock_ns())

    def find_surplus(self) -> list[int]:
        """Background requests that must make room now, those that started last first."""
        if not self._live:
            return []
        background = [request_id for request_id, is_background in self._running.items() if is_background]
        surplus = background[self._max_background :][::-1]
        if not self.may_prefill_chunk():
            others = background[: self._max_background]
            surplus += [each for each in others if each in self._awaiting_first_token and each != self._in_chunks]
        return surplus

    def _begin_background(self, waiter: WaitingRequest) -> WaitingRequest:
        """Say how its prompt is to be read."""
        if not self._live and self._clock_ns() - self._live_seen_ns >= WATCH_NS:
            return waiter
        self._in_chunks = waiter.request_id
        return WaitingRequest(waiter.request_id, waiter.generation, waiter.read_tokens, in_chunks=True)

    def _leave(self, request_id: int) -> None:
        """Note that a request does not run any more."""
        self._running.pop(request_id, None)
        self.end_chunks(request_id)

    def _has_room(self) -> bool:
        """Whether one more background request may run."""
        count = sum(self._running.values())
        if self._in_chunks is not None or not self._live.isdisjoint(self._awaiting_first_token):
            return False
        if self.is_live_about:
            return count < self._max_background
        return count < max(self._max_running - 1, 1)
