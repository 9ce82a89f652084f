"""The way from the event loop to tables that few ask for: keys, workspaces, reports, the audit.

Owns: one thread a question. Must never know: what is asked.
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

_log = logging.getLogger("renga.store")
_T = TypeVar("_T")


class Records:
    """The database, for handlers. A job of the store thread, which opens it."""

    def __init__(self) -> None:
        self._database: Database | None = None

    async def ask(self, work: Callable[[Database], _T]) -> _T:
        """Do something with the database, on a thread.

        Raises: ApiError where it cannot be reached; what `work` raises.
        """
        database = self._database
        if database is None:
            raise _unreachable()
        try:
            return await asyncio.to_thread(work, database)
        except DatabaseFailed as error:
            _log.error("an administrator's request failed: %s", error)
            raise _unreachable() from error

    # A job of the store thread

    def opened(self, database: Database) -> None:
        self._database = database

    def run(self, database: Database) -> None:
        """Nothing: questions have threads of their own."""

    def abandon(self) -> None:
        """Nothing is lost."""


def _unreachable() -> ApiError:
    return ApiError("The database cannot be reached.", hint="send the request again", retry_after_s=1.0)
