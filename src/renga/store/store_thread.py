"""The one thread of a server that opens the database, and on which what recurs is done with it.

Owns: opening it, for `DatabaseHandle` too; the rhythm of the jobs, waiting longer and longer while the database is
away, the last run at the end.
Must never know: what the jobs do.
Invariants: jobs run one after the other and only on this thread; a failure never ends it; `stop` returns after every
job had its last run or was told that there is none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from renga.errors import RengaError
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.store")

_RETRY_MAX_S = 1.0
"""How long the thread waits at most before it tries an absent database again. Jobs keep what they cannot write on disk
at each try, so this is also what kill -9 may lose meanwhile."""


class Job(Protocol):
    """Work that needs the database, done on its thread."""

    def opened(self, database: Database) -> None:
        """Called once, before the first run."""
        ...

    def run(self, database: Database) -> None:
        """Called every interval, and once at the end. What it cannot write it keeps for the next run."""
        ...

    def abandon(self) -> None:
        """Called instead of the last run where the database is away: nothing more will be asked."""
        ...


class StoreThread:
    """Opens the database on a thread of its own and runs the jobs there."""

    def __init__(
        self,
        open_database: Callable[[], Database],
        jobs: Sequence[Job],
        *,
        interval_s: float,
        handle: DatabaseHandle | None = None,
    ) -> None:
        """`handle` is told of the open database, when every job has seen it."""
        self._open_database = open_database
        self._jobs = jobs
        self._handle = handle
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._main, name="renga-store", daemon=True)

    def start(self) -> None:
        """Start the thread. Returns at once, before the database is open."""
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the database is open and every job has seen it. Not for the event loop's thread.

        Raises: what opening it raised, if the first try failed. The thread goes on trying.
        """
        self._tried.wait(timeout_s)
        if not self._ready.is_set():
            raise self._failure or DatabaseAway(f"the database did not open within {timeout_s:g} s")

    def stop(self, timeout_s: float = 10.0) -> None:
        """Run every job a last time and close the database. Idempotent. Blocks, so not for the event loop's thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _main(self) -> None:
        database = self._open()
        if database is not None:
            self._turn(database)
        if database is None or self._failure is not None:
            for job in self._jobs:
                job.abandon()
        if database is not None:
            database.close()

    def _open(self) -> Database | None:
        """The open database; None if `stop` came first."""
        retry_s = self._interval_s
        while True:
            try:
                database = self._open_database()
                for job in self._jobs:
                    job.opened(database)
                if self._handle is not None:
                    self._handle.open(database)
            except (RengaError, OSError, ImportError) as failure:
                self._note(failure)
                self._tried.set()
                if self._stopping.wait(retry_s):
                    return None
                retry_s = min(2 * retry_s, _RETRY_MAX_S)
                continue
            self._note(None)
            self._ready.set()
            self._tried.set()
            return database

    def _turn(self, database: Database) -> None:
        """Run the jobs until the end, the last time after `stop`."""
        wait_s = self._interval_s
        while True:
            last = self._stopping.wait(wait_s)
            began = time.monotonic()
            failure = self._run_jobs(database)
            self._note(failure)
            if last:
                return
            if failure is None:
                # The interval counts from start to start, so that a row never waits longer than one.
                wait_s = max(0.0, self._interval_s - (time.monotonic() - began))
            else:
                wait_s = min(2 * max(wait_s, self._interval_s), _RETRY_MAX_S)

    def _run_jobs(self, database: Database) -> Exception | None:
        """Each job once. One that fails does not keep the others from running."""
        failure: Exception | None = None
        for job in self._jobs:
            try:
                job.run(database)
            except DatabaseFailed as error:
                failure = error
            except Exception as error:
                _log.exception("a job of the store thread failed; it runs again")
                failure = error
        return failure

    def _note(self, failure: Exception | None) -> None:
        """Log a change between working and failing once, not every try."""
        if failure is not None and self._failure is None:
            _log.error("the database cannot be used, trying again: %s", failure)
        elif failure is None and self._failure is not None:
            _log.warning("the database works again")
        self._failure = failure
