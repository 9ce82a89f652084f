"""The way between requests and the table of outcomes: rows out, feedback out and its answer back, labels in.

Owns: the queues between the event loop and the store thread, and reading the table on from where it was read to.
Must never know: SQL, how scores come about, what follows from a label.
Invariants: nothing here waits on the event loop; what the database did not take is tried again; what does not fit into
a queue is refused or counted, never dropped in silence. Labels come back out of the table, so that those of every
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
from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.routing")

QUEUE_ROWS = 10_000
FEEDBACK_MAX = 1_000
"""Feedback that waits for the store thread, which takes all of it every quarter of a second."""
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


class _FeedbackQuestion(Struct, frozen=True, eq=False):
    feedback: Feedback
    answer: asyncio.Future[JudgedRequest]
    looked: bool = False
    """Whether it was looked for before: its request's row may have come into the queue after this run wrote it out."""


class OutcomeBook:
    """A job of the store thread."""

    def __init__(self, clock: Clock, readers: Sequence[LabelReader] = ()) -> None:
        self._clock = clock
        self._readers = list(readers)
        self._rows: deque[OutcomeRecord] = deque()
        self._feedback: deque[_FeedbackQuestion] = deque()
        self._restored = False
        self._read_to = 0
        self.lost_rows = 0
        """Rows that were given up since the start."""

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
        if len(self._feedback) >= FEEDBACK_MAX:
            raise Overloaded("Too much feedback at once.", hint="try again in a moment")
        answer: asyncio.Future[JudgedRequest] = asyncio.get_running_loop().create_future()
        self._feedback.append(_FeedbackQuestion(feedback, answer))
        try:
            async with asyncio.timeout(FEEDBACK_WAIT_S):
                return await answer
        except TimeoutError:
            raise Overloaded("The database does not answer; nothing was written.", hint="try again later") from None

    def opened(self, database: Database) -> None:
        """Nothing yet: what the readers restore may take long."""

    def run(self, database: Database) -> None:
        """Write what waits, answer feedback, and read on.

        Raises: DatabaseAway; what was not written stays.
        """
        try:
            self._write(database)
        finally:
            self._answer(database)
        self._read_on(database)

    def read_all(self, database: Database) -> None:
        """Tell the readers of every label there is. For commands; a server reads on bit by bit."""
        while self._read_on(database):
            pass

    def abandon(self) -> None:
        """The server ends and the database is away."""
        self._give_up(len(self._rows), "the server ends and the database is away")
        self._rows.clear()
        self._refuse_feedback()

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
        """One bad row stops no other."""
        for record in batch:
            try:
                database.outcomes.write((record,))
            except DatabaseAway:
                raise
            except DatabaseFailed as error:
                self._give_up(1, error.message)

    def _answer(self, database: Database) -> None:
        for _ in range(len(self._feedback)):
            asked = self._feedback.popleft()
            if asked.answer.done():
                continue
            try:
                judged = database.outcomes.judge(asked.feedback, int(self._clock.now().timestamp() * 1_000_000))
            except (DatabaseAway, DatabaseFailed):
                error = Overloaded("The database is away; nothing was written.", hint="try again in a moment")
                _tell(asked.answer, lambda future, error=error: future.set_exception(error))
                continue
            if judged is None and not asked.looked:
                self._feedback.append(_FeedbackQuestion(asked.feedback, asked.answer, looked=True))
            elif judged is None:
                missing = NotFound("There is no such request of this key.", hint="it may still run; then ask again")
                _tell(asked.answer, lambda future, error=missing: future.set_exception(error))
            else:
                _tell(asked.answer, lambda future, judged=judged: future.set_result(judged))

    def _refuse_feedback(self) -> None:
        while self._feedback:
            error = Overloaded("The server is stopping.")
            _tell(self._feedback.popleft().answer, lambda future, error=error: future.set_exception(error))

    def _give_up(self, count: int, why: str) -> None:
        if count:
            self.lost_rows += count
            _log.error("gave up %d outcomes: %s", count, why)


def _tell(answer: asyncio.Future[JudgedRequest], set_it: Callable[[asyncio.Future[JudgedRequest]], None]) -> None:
    """Set a future from the store thread. Its loop may be gone, and whoever waited with it."""

    def set_on_loop() -> None:
        if not answer.done():
            set_it(answer)

    try:
        answer.get_loop().call_soon_threadsafe(set_on_loop)
    except RuntimeError:
        return
