"""Watching over slow requests: bodies that do not come, and clients that leave.

Owns: one timer a request, and a watching task only for requests that outlive it.
Must never know: what the request is about.
Invariant: a client that leaves ends its request's task within PATIENCE_S; a request that is done is left alone.
Cost: about 1 us for a request that is done within PATIENCE_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

PATIENCE_S = 0.1
"""How long a request runs before its client is watched: most are done by then, and a watcher costs 30 us."""

Reason: TypeAlias = Literal["left", "slow"]


class ClientLeft(Exception):
    """The client closed the connection before its request was whole. Nobody is left to be told."""


class Vigil:
    """Cancels the current task when its client leaves or does not send its body; `reason` says which."""

    __slots__ = (
        "_body_timeout_s",
        "_is_late",
        "_is_reading",
        "_loop",
        "_receive",
        "_task",
        "_timer",
        "_watcher",
        "reason",
    )

    def __init__(self, receive: Callable[[], Awaitable[Mapping[str, Any]]], body_timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # ASGI servers run every request in a task
        self._task = task
        self._loop = task.get_loop()
        self._receive = receive
        self._body_timeout_s = body_timeout_s
        self._is_reading = False
        self._is_late = False
        self._watcher: asyncio.Task[None] | None = None
        self.reason: Reason | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(PATIENCE_S, self._look)

    def body_expected(self) -> None:
        """The handler begins to read: until it is done, the client is timed and not watched."""
        self._is_reading = True

    def body_progress(self) -> None:
        """Enough of a long body has come that its client gets the whole time again for what follows."""
        if self._is_late and self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(self._body_timeout_s, self._give_up)

    def body_read(self) -> None:
        """The handler has read the body: from here on nothing but a disconnect can come."""
        self._is_reading = False
        if self._is_late and self._timer is not None:
            self._timer.cancel()
            self._look()

    def leave(self) -> None:
        """Take the client for gone: it is there, but it reads nothing any more."""
        self.reason = "left"
        self._task.cancel()

    def stop(self) -> None:
        """Look away. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def _look(self) -> None:
        if self._is_reading:
            self._is_late = True
            self._timer = self._loop.call_later(max(self._body_timeout_s - PATIENCE_S, 0.0), self._give_up)
            return
        self._timer = None
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._watcher is not None:
            self.leave()

    def _give_up(self) -> None:
        self._timer = None
        self.reason = "slow"
        self._task.cancel()
