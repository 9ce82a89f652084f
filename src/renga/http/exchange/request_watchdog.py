"""Watching over slow requests: bodies that do not come, and clients that leave.

Owns: one timer for all requests, and a watching task only for those that outlive it.
Must never know: what a request is about.
Invariants: a client that leaves ends its request's task within GRACE_PERIOD_S and a little; a request that is done is
left alone, and nothing of it is kept but a stopped watchdog for GRACE_PERIOD_S.
Cost: about 0.5 us for a request that is done within GRACE_PERIOD_S.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Literal, TypeAlias

from renga.http.exchange.asgi import Receive

GRACE_PERIOD_S = 0.1
"""How long a request runs before its client is watched: most are done by then, and a watcher costs 30 us."""

_SWEEP_INTERVAL_S = 0.02
"""At least between two sweeps, so that one of them sees many requests."""

CancelReason: TypeAlias = Literal["left", "slow"]


class ClientLeft(Exception):
    """The client closed the connection before its request was whole. Nobody is left to be told."""


class RequestWatchdog:
    """Cancels the current task when its client leaves or does not send its body; `cancel_reason` says which."""

    __slots__ = (
        "_body_timeout_s",
        "_disconnect_task",
        "_is_overdue",
        "_is_reading",
        "_receive",
        "_task",
        "_timer",
        "cancel_reason",
        "started_s",
    )

    def __init__(self, task: asyncio.Task[Any], started_s: float, receive: Receive, body_timeout_s: float) -> None:
        self._task = task
        self.started_s = started_s
        """When the request began, by the loop's clock."""
        self._receive: Receive | None = receive
        self._body_timeout_s = body_timeout_s
        self._is_reading = False
        self._is_overdue = False
        self._disconnect_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.cancel_reason: CancelReason | None = None

    def expect_body(self) -> None:
        """The handler begins to read: until it is done, the client is timed and not watched."""
        self._is_reading = True

    def note_body_progress(self) -> None:
        """Enough of a long body has come that its client gets the whole time again for what follows."""
        if self._is_overdue and self._timer is not None:
            self._timer.cancel()
            self._timer = self._task.get_loop().call_later(self._body_timeout_s, self._time_out_body)

    def note_body_read(self) -> None:
        """The handler has read the body: from here on nothing but a disconnect can come."""
        self._is_reading = False
        if self._is_overdue and self._timer is not None:
            self._timer.cancel()
            self.begin_watching()

    def treat_as_left(self) -> None:
        """Treat the client as gone, because it reads nothing any more."""
        self.cancel_reason = "left"
        self._task.cancel()

    def stop(self) -> None:
        """Leave the request alone from now on. Idempotent."""
        self._receive = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._disconnect_task is not None:
            self._disconnect_task.cancel()
            self._disconnect_task = None

    def begin_watching(self) -> None:
        """Watch the client from now on, or time its body; does nothing where the request is done."""
        receive = self._receive
        if receive is None:
            return
        loop = self._task.get_loop()
        if self._is_reading:
            self._is_overdue = True
            self._timer = loop.call_later(max(self._body_timeout_s - GRACE_PERIOD_S, 0.0), self._time_out_body)
            return
        self._timer = None
        self._disconnect_task = loop.create_task(self._await_disconnect(receive))

    async def _await_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._disconnect_task is not None:
            self.treat_as_left()

    def _time_out_body(self) -> None:
        self._timer = None
        self.cancel_reason = "slow"
        self._task.cancel()


class WatchdogTimer:
    """All watchdogs of one event loop, driven by one timer: a timer each would cost more than the watchdog."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watchdogs: deque[RequestWatchdog] = deque()
        """In the order in which their time comes."""
        self._is_scheduled = False

    def start_watchdog(self, receive: Receive, body_timeout_s: float) -> RequestWatchdog:
        """A watchdog over the request of the task that runs."""
        loop = self._loop
        # With the loop given: asking for it costs a system call in Python 3.11.
        task = asyncio.current_task(loop)
        assert task is not None  # ASGI servers run every request in a task
        watchdog = RequestWatchdog(task, loop.time(), receive, body_timeout_s)
        self._watchdogs.append(watchdog)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_later(GRACE_PERIOD_S, self._sweep)
        return watchdog

    def _sweep(self) -> None:
        """Begin to watch the requests whose grace period is over, and come back for the next."""
        watchdogs, now_s = self._watchdogs, self._loop.time()
        # A timer may be early by its resolution.
        while watchdogs and now_s - watchdogs[0].started_s >= GRACE_PERIOD_S - 0.002:
            watchdogs.popleft().begin_watching()
        self._is_scheduled = bool(watchdogs)
        if watchdogs:
            self._loop.call_later(max(watchdogs[0].started_s + GRACE_PERIOD_S - now_s, _SWEEP_INTERVAL_S), self._sweep)
