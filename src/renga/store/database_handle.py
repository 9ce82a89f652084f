"""The one way from the event loop to the database.

Owns: waiting until the store thread has opened the database, one worker thread for each piece of work, and what a
client is told where the database cannot be reached.
Must never know: what the work is.
Invariants: nothing runs on the event loop's thread; SQLAlchemy is not imported before the store thread has opened the
database, for it is the database's own methods that the work calls.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from renga.errors import ApiError
from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.store")
_T = TypeVar("_T")

OPEN_WAIT_S = 10.0
"""How long work waits for the database to open, which only the first moments of a process can notice."""
_RETRY_AFTER_S = 1.0


class DatabaseHandle:
    """The database, for whoever runs on an event loop. The store thread opens it."""

    def __init__(self, open_wait_s: float = OPEN_WAIT_S) -> None:
        self._open_wait_s = open_wait_s
        self._database: Database | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._changing = threading.Lock()

    async def run(self, work: Callable[[Database], _T], *, subject: str = "database") -> _T:
        """Run work that a client waits for, on a worker thread; where it fails, the client is told of the `subject`.

        Raises: ApiError where the database cannot be reached; what `work` raises.
        """
        try:
            return await self.run_in_background(work)
        except DatabaseFailed as error:
            _log.error("the %s cannot be reached: %s", subject, error)
            raise ApiError(
                f"The {subject} cannot be reached.", hint="send the request again", retry_after_s=_RETRY_AFTER_S
            ) from error

    async def run_in_background(self, work: Callable[[Database], _T]) -> _T:
        """Run work that no client waits for, on a worker thread: its failures tell whether to try again.

        Raises: DatabaseAway, also where the database did not open in time; DatabaseFailed; what `work` raises.
        """
        database = self._database
        if database is None:
            try:
                async with asyncio.timeout(self._open_wait_s):
                    database = await self.wait_open()
            except TimeoutError:
                raise DatabaseAway(f"the database did not open within {self._open_wait_s:g} s") from None
        return await asyncio.to_thread(work, database)

    async def wait_open(self) -> Database:
        """Wait, as long as it takes, until the store thread has opened the database."""
        while self._database is None:
            opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            with self._changing:
                if self._database is None:
                    self._waiting.append(opened)
                else:
                    opened.set_result(None)
            try:
                await opened
            except asyncio.CancelledError:
                with self._changing:
                    if opened in self._waiting:
                        self._waiting.remove(opened)
                raise
        return self._database

    def open(self, database: Database) -> None:
        """Let everything run that has waited for the database. For the store thread."""
        with self._changing:
            self._database = database
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            try:
                future.get_loop().call_soon_threadsafe(_wake, future)
            except RuntimeError:
                continue  # its loop is gone, and whoever waited with it


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
