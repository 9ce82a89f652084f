"""Who changed what: the table `audit`.

Owns: its statements. Must never know: what the changes mean.
Invariants: append-only; an entry is written in the transaction of the change that it tells of, so that there is neither
one without the other; no secret and no prompt is ever part of one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from renga.domain.audit import AuditQuery, AuditRow, Author
from renga.store.tables import definitions
from renga.store.transactions import Transactions


class AuditTable:
    """Reads and writes the entries of the audit."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def write(self, by: Author, action: str, subject: str, detail: Mapping[str, object] | None = None) -> None:
        """One entry of its own, for what changed no table."""
        with self._transactions.writing() as connection:
            write_entry(connection, by, action, subject, detail)

    def read(self, query: AuditQuery) -> list[AuditRow]:
        """The entries that a query asks for, newest first."""
        audit = definitions.audit
        statement = select(audit).order_by(audit.c.row_number.desc()).limit(query.limit)
        if query.before_row is not None:
            statement = statement.where(audit.c.row_number < query.before_row)
        if query.since_us is not None:
            statement = statement.where(audit.c.time_us >= query.since_us)
        if query.subject is not None:
            statement = statement.where(audit.c.subject == query.subject)
        if query.actor is not None:
            statement = statement.where(audit.c.actor == query.actor)
        with self._transactions.reading() as connection:
            found = connection.execute(statement).mappings().all()
        return [_to_row(row) for row in found]


def _to_row(row: Mapping[Any, Any]) -> AuditRow:
    fields: dict[str, Any] = {**row, "detail": row["detail"] or {}}
    return AuditRow(**fields)


def write_entry(
    connection: Connection, by: Author, action: str, subject: str, detail: Mapping[str, object] | None = None
) -> None:
    """An entry in the transaction of the change itself."""
    values = {
        "time_us": by.at_us,
        "actor": by.name,
        "action": action,
        "subject": subject,
        "detail": dict(detail) if detail else None,
    }
    connection.execute(definitions.audit.insert(), [values])


def system_author() -> Author:
    """For changes that Renga makes by itself."""
    return Author("system", time.time_ns() // 1000)
