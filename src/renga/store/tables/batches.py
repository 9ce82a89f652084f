"""The statements for message batches: what clients see of them.

Owns: creating, reading, listing, cancelling and deleting batches. What runs them is in `store/tables/batch_runs.py`.
Must never know: the wire format of a result, who runs what.
Invariants: a batch that is not sealed, or that was deleted, is seen by nobody; a batch is seen by its owner alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.sql import ColumnElement

from renga.domain.batches import BatchPage, BatchRow, BatchTerms, NewRequest, OpenBatches, PageQuery, StoredResult
from renga.domain.owners import Owner
from renga.store.tables import definitions
from renga.store.transactions import Transactions

_STATEMENT_ROWS = 64
"""How many rows a statement has, for the reason given in `store/tables/ledger.py`."""

_batches = definitions.batches
_requests = definitions.batch_requests


class BatchTable:
    """Batches as clients see them. Any thread may call any method; each is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def count_queued(self, owner: Owner) -> int:
        """Requests of an owner's batches that have not ended."""
        query = select(func.sum(_batches.c.request_count)).where(_batches.c.ended_us.is_(None), *_seen_by(owner))
        with self._transactions.reading() as connection:
            return connection.execute(query).scalar() or 0

    def count_open(self) -> OpenBatches:
        """What is still to be done, whoever asked for it."""
        is_open = (_batches.c.sealed_us.is_not(None), _batches.c.ended_us.is_(None))
        counts = select(func.count(), func.min(_batches.c.expires_us)).where(*is_open)
        waiting = (
            select(func.count())
            .select_from(_requests.join(_batches, _requests.c.batch_id == _batches.c.batch_id))
            .where(_requests.c.outcome.is_(None), *is_open)
        )
        with self._transactions.reading() as connection:
            batches, expires_us = connection.execute(counts).one()
            return OpenBatches(batches, connection.execute(waiting).scalar_one(), expires_us)

    def count_done(self, batch_id: str) -> int:
        """Requests of a batch that have an outcome. One walk over an index: 5 ms for 100,000."""
        query = select(func.count()).where(_requests.c.batch_id == batch_id, _requests.c.outcome.is_not(None))
        with self._transactions.reading() as connection:
            return connection.execute(query).scalar_one()

    def create_batch(self, batch: BatchRow) -> None:
        """Make room for a batch whose requests come in."""
        with self._transactions.writing() as connection:
            connection.execute(_batches.insert(), [_to_columns(batch)])

    def add_requests(self, batch_id: str, requests: Sequence[NewRequest]) -> None:
        """Write some of the requests of a batch that is coming in."""
        with self._transactions.writing() as connection:
            for start in range(0, len(requests), _STATEMENT_ROWS):
                some = requests[start : start + _STATEMENT_ROWS]
                connection.execute(
                    _requests.insert(),
                    [
                        {
                            "batch_id": batch_id,
                            "position": request.position,
                            "custom_id": request.custom_id,
                            "prefix_sha256": request.prefix,
                            "params": request.params,
                        }
                        for request in some
                    ],
                )

    def seal_batch(self, batch_id: str, request_count: int, at_us: int) -> None:
        """All requests are in: from here on the batch exists."""
        with self._transactions.writing() as connection:
            statement = update(_batches).where(_batches.c.batch_id == batch_id)
            connection.execute(statement.values(sealed_us=at_us, request_count=request_count))

    def abandon_batch(self, batch_id: str) -> None:
        """Forget a batch that was never sealed."""
        with self._transactions.writing() as connection:
            connection.execute(delete(_requests).where(_requests.c.batch_id == batch_id))
            connection.execute(delete(_batches).where(_batches.c.batch_id == batch_id, _batches.c.sealed_us.is_(None)))

    def find_batch(self, owner: Owner, batch_id: str, *, deleted: bool = False) -> BatchRow | None:
        """An owner's batch; with `deleted`, one that was deleted too."""
        query = select(_batches).where(_batches.c.batch_id == batch_id, *_seen_by(owner, deleted=deleted))
        with self._transactions.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else read_batch(row)

    def read_page(self, owner: Owner, query: PageQuery) -> BatchPage:
        """Some of an owner's batches, newest first. An id that is not theirs has nothing on either side."""
        after = None if query.after_id is None else self.find_batch(owner, query.after_id)
        before = None if query.before_id is None else self.find_batch(owner, query.before_id)
        if (query.after_id is not None and after is None) or (query.before_id is not None and before is None):
            return BatchPage((), has_more=False)
        place = tuple_(_batches.c.created_us, _batches.c.batch_id)
        statement = select(_batches).where(*_seen_by(owner)).limit(query.limit + 1)
        if after is not None:
            statement = statement.where(place < tuple_(after.created_us, after.batch_id))
        if before is not None:
            statement = statement.where(place > tuple_(before.created_us, before.batch_id))
        upwards = before is not None and after is None
        with self._transactions.reading() as connection:
            found = connection.execute(_ordered(statement, upwards=upwards)).mappings().all()
        rows = [read_batch(row) for row in found[: query.limit]]
        return BatchPage(tuple(reversed(rows) if upwards else rows), has_more=len(found) > query.limit)

    def cancel_batch(self, owner: Owner, batch_id: str, at_us: int) -> BatchRow | None:
        """Ask for the end of a batch. One that has ended, or was asked before, stays as it is."""
        with self._transactions.writing() as connection:
            statement = update(_batches).where(
                _batches.c.batch_id == batch_id,
                _batches.c.ended_us.is_(None),
                _batches.c.cancel_initiated_us.is_(None),
                *_seen_by(owner),
            )
            connection.execute(statement.values(cancel_initiated_us=at_us))
        return self.find_batch(owner, batch_id)

    def delete_batch(self, batch_id: str, at_us: int) -> None:
        """Hide a batch that has ended, for good. Its requests are deleted a page at a time, later."""
        with self._transactions.writing() as connection:
            statement = update(_batches).where(
                _batches.c.batch_id == batch_id, _batches.c.ended_us.is_not(None), _batches.c.deleted_us.is_(None)
            )
            connection.execute(statement.values(deleted_us=at_us))

    def read_results(self, batch_id: str, *, after: int, limit: int) -> list[StoredResult]:
        """Outcomes in the order of the requests, beyond the position `after`."""
        columns = (_requests.c.position, _requests.c.custom_id, _requests.c.outcome, _requests.c.result)
        query = (
            select(*columns)
            .where(_requests.c.batch_id == batch_id, _requests.c.position > after, _requests.c.outcome.is_not(None))
            .order_by(_requests.c.position)
            .limit(limit)
        )
        with self._transactions.reading() as connection:
            return [StoredResult(*row) for row in connection.execute(query)]


def read_batch(row: Mapping[Any, Any]) -> BatchRow:
    """A row of the table as a value."""
    fields: dict[str, Any] = {**row, "terms": msgspec.convert(row["terms"], BatchTerms)}
    return BatchRow(**fields)


def _to_columns(batch: BatchRow) -> dict[str, object]:
    return {**msgspec.structs.asdict(batch), "terms": msgspec.to_builtins(batch.terms)}


def _seen_by(owner: Owner, *, deleted: bool = False) -> tuple[ColumnElement[bool], ...]:
    conditions: list[ColumnElement[bool]] = [_batches.c.sealed_us.is_not(None)]
    if owner.workspace_id is None:
        conditions.append(and_(_batches.c.workspace_id.is_(None), _batches.c.key_id == owner.key_id))
    else:
        # A key that joined a workspace keeps what it had before.
        own = and_(_batches.c.workspace_id.is_(None), _batches.c.key_id == owner.key_id)
        conditions.append(or_(_batches.c.workspace_id == owner.workspace_id, own))
    if not deleted:
        conditions.append(_batches.c.deleted_us.is_(None))
    return tuple(conditions)


def _ordered(statement: Select[Any], *, upwards: bool) -> Select[Any]:
    if upwards:
        return statement.order_by(_batches.c.created_us, _batches.c.batch_id)
    return statement.order_by(_batches.c.created_us.desc(), _batches.c.batch_id.desc())
