"""The statements for running message batches: what is open, what ended how, what is old.

Owns: the once-only writing of outcomes, and with each its ledger row.
Must never know: how a request is answered, who schedules it.
Invariants: an outcome is written where there is none and never changed; its ledger row is written in the same
transaction or not at all, so that kill -9 at any moment leaves both or neither; a batch ends when no request is open.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, select, update

from renga.domain.batches import BatchRow, Finished, OpenRequest, RequestOutcome
from renga.domain.ledger import LedgerRow
from renga.store.tables import definitions
from renga.store.tables.batches import read_batch
from renga.store.tables.ledger import LedgerTable
from renga.store.transactions import Transactions

_PAGE_ROWS = 2_000
"""Rows a transaction where many change at once: other writers wait for one page at most, about 30 ms."""

_batches = definitions.batches
_requests = definitions.batch_requests


class BatchRunTable:
    """Batches as those see them who run them. Any thread may call any method."""

    def __init__(self, transactions: Transactions, ledger: LedgerTable) -> None:
        self._transactions = transactions
        self._ledger = ledger

    def read_open_batches(self) -> list[BatchRow]:
        """All batches with something left to do, oldest first."""
        query = (
            select(_batches)
            .where(_batches.c.ended_us.is_(None), _batches.c.sealed_us.is_not(None))
            .order_by(_batches.c.created_us, _batches.c.batch_id)
        )
        with self._transactions.reading() as connection:
            return [read_batch(row) for row in connection.execute(query).mappings()]

    def find_batch(self, batch_id: str) -> BatchRow | None:
        """One batch, whoever it belongs to."""
        with self._transactions.reading() as connection:
            row = connection.execute(select(_batches).where(_batches.c.batch_id == batch_id)).mappings().first()
        return None if row is None else read_batch(row)

    def read_open_positions(self, batch_id: str, *, offset: int, count: int) -> list[int]:
        """The requests of a part that have no outcome. Parts are cut in the order of prefixes, which never changes."""
        query = (
            select(_requests.c.position, _requests.c.outcome)
            .where(_requests.c.batch_id == batch_id)
            .order_by(_requests.c.prefix_sha256, _requests.c.position)
            .offset(offset)
            .limit(count)
        )
        with self._transactions.reading() as connection:
            return [row.position for row in connection.execute(query) if row.outcome is None]

    def read_requests(self, batch_id: str, positions: Sequence[int]) -> list[OpenRequest]:
        """Those of these requests that have no outcome, in the order of `positions`."""
        query = select(_requests.c.position, _requests.c.custom_id, _requests.c.params).where(
            _requests.c.batch_id == batch_id, _requests.c.position.in_(positions), _requests.c.outcome.is_(None)
        )
        with self._transactions.reading() as connection:
            found = {row.position: OpenRequest(*row) for row in connection.execute(query)}
        return [found[position] for position in positions if position in found]

    def write_outcomes(self, finished: Sequence[Finished]) -> int:
        """Write how requests ended, all or none. Those that have an outcome keep it. Returns how many were new.

        Raises: DatabaseAway if it is worth trying again; DatabaseFailed if a row itself is at fault.
        """
        statement = (
            update(_requests)
            .where(
                _requests.c.batch_id == bindparam("of_batch"),
                _requests.c.position == bindparam("at_position"),
                _requests.c.outcome.is_(None),
            )
            .values(
                outcome=bindparam("outcome"), result=bindparam("result"), ended_us=bindparam("ended_us"), params=b""
            )
        )
        written = 0
        with self._transactions.writing() as connection:
            rows: list[LedgerRow] = []
            for each in finished:
                values = {
                    "of_batch": each.batch_id,
                    "at_position": each.position,
                    "outcome": each.outcome,
                    "result": each.result,
                    "ended_us": each.ended_us,
                }
                if connection.execute(statement, values).rowcount:
                    written += 1
                    if each.ledger_row is not None:
                        rows.append(each.ledger_row)
            if rows:
                self._ledger.append_rows(connection, rows)
        return written

    def close_requests(self, batch_id: str, outcome: RequestOutcome, at_us: int) -> None:
        """Give every request that is still open this outcome, a page at a time."""
        some = (
            select(_requests.c.position)
            .where(_requests.c.batch_id == batch_id, _requests.c.outcome.is_(None))
            .limit(_PAGE_ROWS)
        )
        statement = update(_requests).where(
            _requests.c.batch_id == batch_id, _requests.c.position.in_(some), _requests.c.outcome.is_(None)
        )
        while True:
            with self._transactions.writing() as connection:
                changed = connection.execute(statement.values(outcome=outcome, ended_us=at_us, params=b"")).rowcount
            if not changed:
                return

    def end_batch(self, batch_id: str, at_us: int) -> bool:
        """End a batch if nothing of it is open, with its counts. Returns whether it did."""
        with self._transactions.writing() as connection:
            counted = connection.execute(
                select(_requests.c.outcome, func.count())
                .where(_requests.c.batch_id == batch_id)
                .group_by(_requests.c.outcome)
            ).all()
            counts = {row[0]: row[1] for row in counted}
            if None in counts:
                return False
            statement = update(_batches).where(_batches.c.batch_id == batch_id, _batches.c.ended_us.is_(None))
            values = {name: counts.get(name, 0) for name in ("succeeded", "errored", "canceled", "expired")}
            return connection.execute(statement.values(ended_us=at_us, **values)).rowcount > 0

    def has_open_requests(self, batch_id: str) -> bool:
        """Whether any request has no outcome. One look into an index."""
        query = select(_requests.c.position).where(_requests.c.batch_id == batch_id, _requests.c.outcome.is_(None))
        with self._transactions.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def archive_results(self, created_before_us: int, at_us: int) -> None:
        """Let the results of batches go that are as old as this."""
        with self._transactions.writing() as connection:
            statement = update(_batches).where(
                _batches.c.ended_us.is_not(None),
                _batches.c.archived_us.is_(None),
                _batches.c.created_us < created_before_us,
            )
            connection.execute(statement.values(archived_us=at_us))

    def delete_unread_requests(self, begun_before_us: int) -> bool:
        """Delete one page of requests that nobody will read: of batches archived, deleted or never sealed.

        Returns whether there may be more.
        """
        with self._transactions.writing() as connection:
            gone = select(_batches.c.batch_id).where(
                _batches.c.archived_us.is_not(None)
                | _batches.c.deleted_us.is_not(None)
                | (_batches.c.sealed_us.is_(None) & (_batches.c.created_us < begun_before_us))
            )
            batch_id = connection.execute(
                select(_requests.c.batch_id).where(_requests.c.batch_id.in_(gone)).limit(1)
            ).scalar()
            if batch_id is None:
                connection.execute(
                    delete(_batches).where(_batches.c.sealed_us.is_(None), _batches.c.created_us < begun_before_us)
                )
                return False
            some = select(_requests.c.position).where(_requests.c.batch_id == batch_id).limit(_PAGE_ROWS)
            connection.execute(
                delete(_requests).where(_requests.c.batch_id == batch_id, _requests.c.position.in_(some))
            )
            return True
