"""Outcomes on their way to the database, several to a transaction.

Owns: grouping them, and trying again while the database is away.
Must never know: how an outcome came about.
Invariants: an outcome is written once or not at all; who put one in is told when it is on disk; what cannot be stored
as it is (DatabaseFailed) is stored as an error, so that no request is left open for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from renga.clock import Clock
from renga.domain.batches import Finished
from renga.errors import ApiError
from renga.protocols.resources.batches import errored_result
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import DatabaseAway, DatabaseFailed

_log = logging.getLogger("renga.batches")

_GATHER_S = 0.01
"""How long the first outcome waits for company: a transaction costs a millisecond and more, however few are in it."""
_TRANSACTION_ROWS = 128
_RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)


class OutcomeWriter:
    """Writes outcomes in the background. Used from one event loop."""

    def __init__(self, database: DatabaseHandle, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[tuple[Finished, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def write(self, finished: Finished) -> None:
        """Returns when it is on disk."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((finished, written))
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._turn(), name="batch outcomes")
        await written

    async def stop(self) -> None:
        """Write what waits, unless the database is away: those requests run again. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        some, self._waiting = self._waiting, []
        if some:
            try:
                await self._store([finished for finished, _ in some])
            except DatabaseFailed as error:
                _log.warning("%d outcomes of batches are not stored, their requests run again: %s", len(some), error)
        for _, written in some:
            if not written.done():
                written.set_result(None)

    async def _turn(self) -> None:
        while True:
            await self._arrived.wait()
            await self._clock.sleep(_GATHER_S)
            some = self._waiting[:_TRANSACTION_ROWS]
            await self._store_or_wait([finished for finished, _ in some])
            del self._waiting[: len(some)]
            if not self._waiting:
                self._arrived.clear()
            for _, written in some:
                if not written.done():
                    written.set_result(None)

    async def _store_or_wait(self, finished: Sequence[Finished]) -> None:
        tries = 0
        while True:
            try:
                await self._store(finished)
                return
            except DatabaseAway as error:
                if not tries:
                    _log.error("outcomes of batches wait for the database: %s", error)
                await self._clock.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1

    async def _store(self, finished: Sequence[Finished]) -> None:
        """All in one transaction; where the database refuses that, one by one.

        Raises: DatabaseAway.
        """
        # in one order everywhere, so that two workers never wait for each other's rows
        rows = sorted(finished, key=lambda each: (each.batch_id, each.position))
        try:
            await self._database.run_in_background(lambda database: database.batch_runs.write_outcomes(rows))
        except DatabaseAway:
            raise
        except DatabaseFailed:
            for each in rows:
                await self._store_one(each)

    async def _store_one(self, finished: Finished) -> None:
        try:
            await self._database.run_in_background(lambda database: database.batch_runs.write_outcomes((finished,)))
        except DatabaseAway:
            raise
        except DatabaseFailed as error:
            _log.error("the result of %s request %d cannot be stored: %s", finished.batch_id, finished.position, error)
            result = errored_result(
                ApiError("The result could not be stored."), f"{finished.batch_id}-{finished.position}"
            )
            broken = replace(finished, outcome="errored", result=result, ledger_row=None)
            await self._database.run_in_background(lambda database: database.batch_runs.write_outcomes((broken,)))
