"""Watching over slow requests: bodies that do not come, and clients that leave.

Owns: one timer for all requests, and a watching task only for those that outlive it.
Must never know: what a request is about.
Invariants: a client that leaves ends its request's task within PATIENCE_S and a little; a request that is done is left
alone, and nothing of it is kept but an empty vigil for PATIENCE_S.
Cost: about 0.5 us for a request that is done within PATIENCE_S.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

PATIENCE_S = 0.1
"""How long a request runs before its client is watched: most are done by then, and a watcher costs 30 us."""

_ROUND_S = 0.02
"""At least between two looks, so that one of them sees many requests."""

Reason: TypeAlias = Literal["left", "slow"]
_Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]


class ClientLeft(Exception):
    """The client closed the connection before its request was whole. Nobody is left to be told."""


class RequestWatchdog:
    """Cancels the current task when its client leaves or does not send its body; `reason` says which."""

    __slots__ = (
        "_body_timeout_s",
        "_is_late",
        "_is_reading",
        "_receive",
        "_task",
        "_timer",
        "_watcher",
        "began_s",
        "reason",
    )

    def __init__(self, task: asyncio.Task[Any], began_s: float, receive: _Receive, body_timeout_s: float) -> None:
        self._task = task
        self.began_s = began_s
        """By the loop's clock."""
        self._receive: _Receive | None = receive
        self._body_timeout_s = body_timeout_s
        self._is_reading = False
        self._is_late = False
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.reason: Reason | None = None

    def body_expected(self) -> None:
        """The handler begins to read: until it is done, the client is timed and not watched."""
        self._is_reading = True

    def body_progress(self) -> None:
        """Enough of a long body has come that its client gets the whole time again for what follows."""
        if self._is_late and self._timer is not None:
            self._timer.cancel()
            self._timer = self._task.get_loop().call_later(self._body_timeout_s, self._give_up)

    def body_read(self) -> None:
        """The handler has read the body: from here on nothing but a disconnect can come."""
        self._is_reading = False
        if self._is_late and self._timer is not None:
            self._timer.cancel()
            self.look()

    def leave(self) -> None:
        """Take the client for gone: it is there, but it reads nothing any more."""
        self.reason = "left"
        self._task.cancel()

    def stop(self) -> None:
        """Look away. Idempotent."""
        self._receive = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def look(self) -> None:
        """Watch the client from now on, or time its body. Nothing where the request is done."""
        receive = self._receive
        if receive is None:
            return
        loop = self._task.get_loop()
        if self._is_reading:
            self._is_late = True
            self._timer = loop.call_later(max(self._body_timeout_s - PATIENCE_S, 0.0), self._give_up)
            return
        self._timer = None
        self._watcher = loop.create_task(self._watch(receive))

    async def _watch(self, receive: _Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._watcher is not None:
            self.leave()

    def _give_up(self) -> None:
        self._timer = None
        self.reason = "slow"
        self._task.cancel()


class WatchdogTimer:
    """All vigils of one event loop, looked after by one timer: a timer each would cost more than the vigil."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._vigils: deque[RequestWatchdog] = deque()
        """In the order in which their time comes."""
        self._is_timed = False

    def begin(self, receive: _Receive, body_timeout_s: float) -> RequestWatchdog:
        """A vigil over the request of the task that runs."""
        loop = self._loop
        # With the loop given: asking for it costs a system call in Python 3.11.
        task = asyncio.current_task(loop)
        assert task is not None  # ASGI servers run every request in a task
        vigil = RequestWatchdog(task, loop.time(), receive, body_timeout_s)
        self._vigils.append(vigil)
        if not self._is_timed:
            self._is_timed = True
            loop.call_later(PATIENCE_S, self._look)
        return vigil

    def _look(self) -> None:
        """Look at the requests whose time has come, and come back for the next."""
        vigils, now_s = self._vigils, self._loop.time()
        # A timer may be early by its resolution.
        while vigils and now_s - vigils[0].began_s >= PATIENCE_S - 0.002:
            vigils.popleft().look()
        self._is_timed = bool(vigils)
        if vigils:
            self._loop.call_later(max(vigils[0].began_s + PATIENCE_S - now_s, _ROUND_S), self._look)
