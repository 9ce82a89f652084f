"""Sums over the ledger in slices of time, as the usage and cost reports show them.

Owns: the statement. Must never know: what the reports look like.
Cost: one pass over the ledger's rows of the time asked for, by the index of `time_us`; one row out for each group.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.sql import ColumnElement

from renga.domain.usage_reports import ReportDimension, ReportQuery, ReportRow
from renga.store.tables import definitions
from renga.store.transactions import Transactions

LONG_PROMPT_TOKENS = 200_000
"""Above it a prompt is of the long context window. Source: Admin API documentation, usage report, `context_window`."""


class ReportTable:
    """Adds up the ledger by slices of time."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, query: ReportQuery) -> list[ReportRow]:
        """Sums by slice and group, in that order. Slices without requests have no row."""
        with self._transactions.reading() as connection:
            found = connection.execute(_statement(query)).all()
        width = 1 + len(query.by)
        return [
            ReportRow(
                int(row[0]) * query.width_us,
                tuple(None if value is None else str(value) for value in row[1:width]),
                *(int(number or 0) for number in row[width:]),
            )
            for row in found
        ]


def _statement(query: ReportQuery) -> Select[Any]:
    ledger = definitions.ledger
    slice_number = (ledger.c.time_us // query.width_us).label("slice_number")
    dimensions = _dimensions()
    groups = [slice_number, *(dimensions[name].label(name) for name in query.by)]
    statement = select(
        *groups,
        func.sum(ledger.c.input_tokens),
        func.sum(ledger.c.cache_creation_5m_tokens),
        func.sum(ledger.c.cache_creation_1h_tokens),
        func.sum(ledger.c.cache_read_tokens),
        func.sum(ledger.c.output_tokens),
        func.sum(ledger.c.cost_nano_usd),
        func.count(),
        func.sum(case((ledger.c.cost_nano_usd.is_(None), 1), else_=0)),
    ).where(ledger.c.time_us >= query.start_us, ledger.c.time_us < query.end_us)
    for name, values in query.filters:
        statement = statement.where(dimensions[name].in_(values))
    return statement.group_by(*groups).order_by(*groups)


def _dimensions() -> dict[ReportDimension, ColumnElement[Any]]:
    ledger = definitions.ledger
    prompt = (
        ledger.c.input_tokens
        + ledger.c.cache_creation_5m_tokens
        + ledger.c.cache_creation_1h_tokens
        + ledger.c.cache_read_tokens
    )
    return {
        "api_key_id": ledger.c.key_id,
        "workspace_id": ledger.c.workspace_id,
        "model": ledger.c.target,
        "service_tier": func.coalesce(ledger.c.service_tier, "standard"),
        "context_window": case((prompt > LONG_PROMPT_TOKENS, "200k-1M"), else_="0-200k"),
    }
