"""The way from the event loop to the tables of batches.

Owns: waiting for the database to open, and one thread a statement.
Must never know: what the statements are for.
Invariant: SQLAlchemy is not imported before the store thread has opened the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from renga.errors import ApiError
from renga.store.errors import DatabaseFailed

if TYPE_CHECKING:
    from renga.store.database import Database
    from renga.store.tables.batch_runs import BatchRuns
    from renga.store.tables.batches import BatchTable

_log = logging.getLogger("renga.batches")
_T = TypeVar("_T")

_OPEN_WAIT_S = 10.0
"""How long the first requests of a process wait for the store thread to open the database."""


class BatchStorage:
    """Batches in the database. A job of the store thread, which opens it; used from one event loop."""

    def __init__(self) -> None:
        self._table: BatchTable | None = None
        self._runs: BatchRuns | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = asyncio.Event()

    def attach(self) -> None:
        """Note the event loop that is to be told when the database is open."""
        self._loop = asyncio.get_running_loop()
        if self._runs is not None:
            self._opened.set()

    async def wait_open(self) -> None:
        """Wait until the database is open."""
        await self._opened.wait()

    async def desk(self, work: Callable[[BatchTable], _T]) -> _T:
        """Do something with batches as clients see them.

        Raises: ApiError where the database cannot be reached; it is in the log why.
        """
        try:
            async with asyncio.timeout(_OPEN_WAIT_S):
                await self._opened.wait()
        except TimeoutError:
            raise _unreachable() from None
        table = self._table
        assert table is not None  # it is there when `_opened` is set
        try:
            return await asyncio.to_thread(work, table)
        except DatabaseFailed as error:
            _log.error("batches: %s", error)
            raise _unreachable() from error

    async def runs(self, work: Callable[[BatchRuns], _T]) -> _T:
        """Do something with batches as those see them who run them.

        Raises: DatabaseAway, DatabaseFailed.
        """
        runs = self._runs
        assert runs is not None  # nobody runs anything before `wait_open`
        return await asyncio.to_thread(work, runs)

    # A job of the store thread

    def opened(self, database: Database) -> None:
        from renga.store.tables.batch_runs import BatchRuns
        from renga.store.tables.batches import BatchTable

        self._table, self._runs = BatchTable(database), BatchRuns(database)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._opened.set)

    def run(self, database: Database) -> None:
        """Nothing: what takes long has a thread of its own."""

    def abandon(self) -> None:
        """Nothing is lost."""


def _unreachable() -> ApiError:
    return ApiError("The batches cannot be reached.", hint="send the request again", retry_after_s=1.0)
