"""Reading the ledger.

Owns: the statements that add up, and reading rows page by page. Must never know: what either is for.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from sqlalchemy import RowMapping, Select, case, func, or_, select
from sqlalchemy.sql import ColumnElement

from renga.domain.ledger import LedgerRow, NumberedRow, RecentQuery, RowQuery
from renga.domain.usage_reports import Dimension, UsageQuery, UsageRow
from renga.store.tables import definitions
from renga.store.transactions import Transactions

FAILURES = ("failed", "partial")
"""What a row's status is where something went wrong."""
_DAY_US = 86_400_000_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class UsageTable:
    """Adds up the ledger, and reads it."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, query: UsageQuery) -> list[UsageRow]:
        """Sums by group, ordered by group."""
        with self._transactions.reading() as connection:
            found = connection.execute(_usage_statement(query)).all()
        width = len(query.by)
        return [
            UsageRow(
                tuple(_render_group(by, value) for by, value in zip(query.by, row[:width], strict=True)),
                *(int(number or 0) for number in row[width:]),
            )
            for row in found
        ]

    def read_rows(self, query: RowQuery) -> list[NumberedRow]:
        """Ledger rows as they are, in the order they were written: at most `limit` after a row's number.

        Cost: by the primary key from where the last page ended, so that the last page costs what the first did.
        """
        ledger = definitions.ledger
        statement = select(ledger).where(ledger.c.row_number > query.after_row).order_by(ledger.c.row_number)
        if query.since_us is not None:
            statement = statement.where(ledger.c.time_us >= query.since_us)
        if query.until_us is not None:
            statement = statement.where(ledger.c.time_us < query.until_us)
        with self._transactions.reading() as connection:
            found = connection.execute(statement.limit(query.limit)).mappings().all()
        return [NumberedRow(row["row_number"], _to_row(row)) for row in found]

    def read_recent(self, query: RecentQuery) -> list[LedgerRow]:
        """Ledger rows as they are, the newest first."""
        ledger = definitions.ledger
        statement = select(ledger).order_by(ledger.c.row_number.desc()).limit(query.limit)
        if query.key_id is not None:
            statement = statement.where(ledger.c.key_id == query.key_id)
        if query.only_failures:
            statement = statement.where(ledger.c.status.in_(FAILURES))
        with self._transactions.reading() as connection:
            return [_to_row(row) for row in connection.execute(statement).mappings()]

    def find_row(self, id_: str) -> LedgerRow | None:
        """The row of a request, by its id or its answer's."""
        ledger = definitions.ledger
        statement = select(ledger).where(or_(ledger.c.request_id == id_, ledger.c.message_id == id_)).limit(1)
        with self._transactions.reading() as connection:
            found = connection.execute(statement).mappings().first()
        return None if found is None else _to_row(found)


def _to_row(found: RowMapping) -> LedgerRow:
    return msgspec.convert({name: found[name] for name in LedgerRow.__struct_fields__}, LedgerRow)


def _usage_statement(query: UsageQuery) -> Select[Any]:
    ledger = definitions.ledger
    columns: dict[Dimension, ColumnElement[Any]] = {
        "day": ledger.c.time_us // _DAY_US,
        "key": ledger.c.key_id,
        "tier": ledger.c.tier,
        "target": ledger.c.target,
        "surface": ledger.c.surface,
        "status": ledger.c.status,
        "workspace": ledger.c.workspace_id,
        "policy": ledger.c.policy,
        "service_tier": func.coalesce(ledger.c.service_tier, "standard"),
    }
    groups = [columns[name].label(name) for name in query.by]
    statement = select(
        *groups,
        func.count(),
        func.sum(case((ledger.c.status.in_(FAILURES), 1), else_=0)),
        func.sum(ledger.c.input_tokens),
        func.sum(ledger.c.cache_creation_5m_tokens + ledger.c.cache_creation_1h_tokens),
        func.sum(ledger.c.cache_read_tokens),
        func.sum(ledger.c.output_tokens),
        func.sum(ledger.c.thinking_tokens),
        func.sum(ledger.c.cost_nano_usd),
        func.sum(case((ledger.c.cost_nano_usd.is_(None), 1), else_=0)),
    )
    if query.since_us is not None:
        statement = statement.where(ledger.c.time_us >= query.since_us)
    if query.until_us is not None:
        statement = statement.where(ledger.c.time_us < query.until_us)
    if query.key_id is not None:
        statement = statement.where(ledger.c.key_id == query.key_id)
    if query.workspace_id is not None:
        statement = statement.where(ledger.c.workspace_id == query.workspace_id)
    if query.target is not None:
        matches = (
            ledger.c.target.startswith(query.target.removesuffix("*"), autoescape=True)
            if query.target.endswith("/*")
            else ledger.c.target == query.target
        )
        statement = statement.where(matches)
    if groups:
        statement = statement.group_by(*groups).order_by(*groups)
    return statement


def _render_group(dimension: Dimension, value: object) -> str | None:
    if value is None:
        return None
    if dimension == "day":
        return date.fromordinal(_EPOCH_ORDINAL + int(str(value))).isoformat()
    return str(value)
