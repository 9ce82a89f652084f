"""The way between requests and the table of outcomes: rows out, feedback out and its answer back, labels in.

Owns: the queue of rows to the store thread, how much feedback is on its way, and reading the table on from where it was
read to.
Must never know: SQL, how scores come about, what follows from a label.
Invariants: nothing here waits on the event loop; what the database did not take is tried again; what does not fit is
refused or counted, never dropped in silence. Labels come back out of the table, so that those of every
process and of earlier starts are seen, each once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from renga.clock import Clock
from renga.domain.outcomes import Feedback, JudgedRequest, OutcomeRecord
from renga.errors import NotFound, Overloaded
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.routing")

QUEUE_ROWS = 10_000
FEEDBACK_MAX = 1_000
"""Feedback that is on its way to the database at once."""
_RUNS_TO_WRITE = 2
"""Runs of the store thread after which the row of a request that had been settled is surely in the ledger: one may have
been under way, and past the ledger."""
FEEDBACK_WAIT_S = 10.0
LABELS_MAX = 50_000
"""Labels that a start goes back; a minute of reading. What was found broken before is remembered by itself."""
READ_ROWS = 300
"""Labels a run: 0.15 s of the store thread at most, so that the ledger never waits long behind old labels."""


class LabelReader(Protocol):
    """Whoever learns from labels, on the store thread."""

    def restore(self, database: Database) -> None:
        """Called once, before the first label."""
        ...

    def observe(self, record: OutcomeRecord, database: Database) -> None:
        """Every drawn row there is, once, in the order they were written."""
        ...


class _RunWaiter(Struct, frozen=True, eq=False):
    """Somebody who waits until the store thread has run so many times."""

    done: asyncio.Future[None]
    runs_left: int


class OutcomeBook:
    """Writes outcomes and feeds monitors, as a job of the store thread."""

    def __init__(self, clock: Clock, database: DatabaseHandle, readers: Sequence[LabelReader] = ()) -> None:
        self._clock = clock
        self._database = database
        self._readers = list(readers)
        self._rows: deque[OutcomeRecord] = deque()
        self._judging = 0
        self._waiting: deque[_RunWaiter] = deque()
        self._restored = False
        self._read_to = 0
        self.lost_rows = 0
        """Rows that were given up since the start."""

    @property
    def waiting(self) -> int:
        """How much feedback waits for the row of its request."""
        return len(self._waiting)

    def attach(self, reader: LabelReader) -> None:
        """Tell this reader of labels too. Before the store thread starts."""
        self._readers.append(reader)

    def add(self, record: OutcomeRecord) -> None:
        """Write a row, soon. From the event loop."""
        if len(self._rows) >= QUEUE_ROWS:
            self._give_up(1, "the queue is full")
        else:
            self._rows.append(record)

    async def judge(self, feedback: Feedback) -> JudgedRequest:
        """Write down what somebody says of an answer; returns when it is written, within a run of the store thread.

        Raises: NotFound if the key made no such request; Overloaded when too much waits or the database is away.
        """
        if self._judging >= FEEDBACK_MAX:
            raise Overloaded("Too much feedback at once.", hint="try again in a moment")
        self._judging += 1
        try:
            async with asyncio.timeout(FEEDBACK_WAIT_S):
                judged = await self._write_judgement(feedback)
                if judged is None:
                    # The row of its request may not be written yet.
                    await self._wait_runs(_RUNS_TO_WRITE)
                    judged = await self._write_judgement(feedback)
        except TimeoutError:
            raise Overloaded("The database does not answer; nothing was written.", hint="try again later") from None
        except DatabaseFailed as error:
            raise Overloaded("The database is away; nothing was written.", hint="try again in a moment") from error
        finally:
            self._judging -= 1
        if judged is None:
            raise NotFound("There is no such request of this key.", hint="it may still run; then ask again")
        return judged

    async def _write_judgement(self, feedback: Feedback) -> JudgedRequest | None:
        at_us = int(self._clock.now().timestamp() * 1_000_000)
        return await self._database.run_in_background(lambda database: database.outcomes.judge(feedback, at_us))

    async def _wait_runs(self, count: int) -> None:
        """Wait until the store thread has run so many times.

        Raises: Overloaded if it stops before.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_RunWaiter(done, count))
        await done

    def opened(self, database: Database) -> None:
        """Do nothing yet when the database opens: restoring the readers may take long."""

    def run(self, database: Database) -> None:
        """Write what waits, and read on.

        Raises: DatabaseAway; what was not written stays.
        """
        try:
            self._write(database)
        finally:
            self._count_run()
        self._read_on(database)

    def read_all(self, database: Database) -> None:
        """Tell the readers of every label there is. For commands; a server reads on bit by bit."""
        while self._read_on(database):
            pass

    def abandon(self) -> None:
        """Drop unwritten outcomes, because the server ends while the database is away."""
        self._give_up(len(self._rows), "the server ends and the database is away")
        self._rows.clear()
        self._refuse_waiting()

    def _read_on(self, database: Database) -> int:
        """Tell the readers of some more labels; how many there were."""
        if not self._readers:
            return 0
        if not self._restored:
            for reader in self._readers:
                reader.restore(database)
            self._read_to = database.outcomes.find_start(LABELS_MAX)
            self._restored = True
        rows = database.outcomes.read_after(self._read_to, READ_ROWS)
        for row in rows:
            for reader in self._readers:
                reader.observe(row.record, database)
            self._read_to = row.row_number
        return len(rows)

    def _write(self, database: Database) -> None:
        while self._rows:
            batch = [self._rows[index] for index in range(min(len(self._rows), 64))]
            try:
                database.outcomes.write(batch)
            except DatabaseAway:
                raise
            except DatabaseFailed:
                self._write_singly(database, batch)
            for _ in batch:
                self._rows.popleft()

    def _write_singly(self, database: Database, batch: Sequence[OutcomeRecord]) -> None:
        """Write rows one by one, so that one bad row does not stop the others."""
        for record in batch:
            try:
                database.outcomes.write((record,))
            except DatabaseAway:
                raise
            except DatabaseFailed as error:
                self._give_up(1, error.message)

    def _count_run(self) -> None:
        """Tell those whose runs are over."""
        for _ in range(len(self._waiting)):
            waiter = self._waiting.popleft()
            if waiter.runs_left > 1:
                self._waiting.append(_RunWaiter(waiter.done, waiter.runs_left - 1))
            else:
                _tell(waiter.done, lambda future: future.set_result(None))

    def _refuse_waiting(self) -> None:
        while self._waiting:
            error = Overloaded("The server is stopping.")
            _tell(self._waiting.popleft().done, lambda future, error=error: future.set_exception(error))

    def _give_up(self, count: int, why: str) -> None:
        if count:
            self.lost_rows += count
            _log.error("gave up %d outcomes: %s", count, why)


def _tell(done: asyncio.Future[None], set_it: Callable[[asyncio.Future[None]], None]) -> None:
    """Set a future from the store thread. Its loop may be gone, and whoever waited with it."""

    def set_on_loop() -> None:
        if not done.done():
            set_it(done)

    try:
        done.get_loop().call_soon_threadsafe(set_on_loop)
    except RuntimeError:
        return
