"""The table `ledger`: one row a request, only ever inserted.

Owns: appending rows, also within somebody else's transaction, and reading them in the order they were written. What
adds rows up is in `store/tables/usage.py`, `reports.py` and `spending.py`.
Must never know: what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from renga.domain.ledger import LedgerRow
from renga.store.tables import definitions
from renga.store.transactions import Transactions

_STATEMENT_ROWS = 64
"""Rows a statement. Preparing them holds the interpreter lock, 3 us a row, while the event loop waits for it."""
_ATTEMPTS = LedgerRow.__struct_fields__.index("attempts")


class LedgerTable:
    """Appends rows and reads them back."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._append_statement = _make_append_statement(transactions.parameter_mark)

    def write_rows(self, rows: Sequence[LedgerRow]) -> None:
        """Append rows, all or none. A row whose `request_id` is there already stays as it is, so that a retry is safe.

        Raises: DatabaseAway if it is worth trying again; DatabaseFailed if a row itself is at fault.
        """
        with self._transactions.writing() as connection:
            self.append_rows(connection, rows)

    def append_rows(self, connection: Connection, rows: Sequence[LedgerRow]) -> None:
        """Append rows in a transaction of the caller's, so that they stand or fall with what else it writes."""
        for start in range(0, len(rows), _STATEMENT_ROWS):
            values = [_to_values(row) for row in rows[start : start + _STATEMENT_ROWS]]
            connection.exec_driver_sql(self._append_statement, values)

    def read_rows(self, after: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """Rows in the order they were written, skipping the first `after` of them."""
        query = select(definitions.ledger).order_by(definitions.ledger.c.row_number).offset(after).limit(limit)
        with self._transactions.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [msgspec.convert({name: row[name] for name in LedgerRow.__struct_fields__}, LedgerRow) for row in found]


def _make_append_statement(mark: str) -> str:
    """The one statement that is not left to SQLAlchemy, whose part in each row costs more than the row (docs/log)."""
    names = LedgerRow.__struct_fields__
    return (
        f"INSERT INTO {definitions.ledger.name} ({', '.join(names)}) VALUES ({', '.join(mark for _ in names)}) "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )


def _to_values(row: LedgerRow) -> tuple[object, ...]:
    """A row's values in the order of the statement's columns, the attempts as JSON."""
    values = list(msgspec.structs.astuple(row))
    values[_ATTEMPTS] = msgspec.json.encode(row.attempts).decode()
    return tuple(values)
