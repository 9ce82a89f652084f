"""The table `outcomes`, and what of the ledger belongs beside it.

Owns: its statements; filling in from the ledger what the answers of a drawn request cost; whose request a feedback is
about; what a routing report reads.
Must never know: what scores mean, who drew a request.
Invariants: a request has at most one row of each source; drawn ones stay as they were written, feedback is its key's
to change; reading is bounded by a number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select

from renga.domain.outcomes import Feedback, JudgedRequest, NumberedOutcome, OutcomeQuery, OutcomeRecord, RoutedRow
from renga.store.tables import definitions
from renga.store.transactions import Transactions

_BROKEN = "floor_broken:"
_ROUTED = RoutedRow.__struct_fields__
_STORED = tuple(name for name in OutcomeRecord.__struct_fields__ if name not in ("small", "top"))


class OutcomeTable:
    """Reads and writes outcomes, and what reports need of the ledger."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def write(self, records: Sequence[OutcomeRecord]) -> None:
        """Append rows, all or none; one that is there already stays as it is.

        Raises: DatabaseAway if it is worth trying again; DatabaseFailed if a row itself is at fault.
        """
        statement = self._transactions.insert(definitions.outcomes).on_conflict_do_nothing()
        with self._transactions.writing() as connection:
            for record in records:
                filled = record if record.small is None else _fill_costs(connection, record)
                connection.execute(statement, [_to_columns(filled)])

    def judge(self, feedback: Feedback, at_us: int) -> JudgedRequest | None:
        """Write down what a request's own key says of its answer; None if there is no such request of this key.

        Said again it changes nothing, said differently it replaces what was said.
        """
        ledger = definitions.ledger
        of_request = (
            ledger.c.request_id == feedback.request_id
            if feedback.message_id is None
            else ledger.c.message_id == feedback.message_id
        )
        query = (
            select(ledger.c.request_id, ledger.c.policy, ledger.c.tier, ledger.c.target)
            .where(of_request, ledger.c.key_id == feedback.key_id)
            .order_by(ledger.c.row_number.desc())
            .limit(1)
        )
        with self._transactions.writing() as connection:
            found = connection.execute(query).first()
            if found is None:
                return None
            judged = JudgedRequest(found.request_id, found.policy, found.tier or found.target or "")
            record = OutcomeRecord(
                judged.request_id,
                at_us,
                feedback.key_id,
                judged.policy or "",
                "feedback",
                feedback.label,
                {judged.judged: feedback.score},
                {},
                None,
                {},
                None,
            )
            statement = self._transactions.insert(definitions.outcomes).values(_to_columns(record))
            statement = statement.on_conflict_do_update(
                index_elements=["request_id", "source"],
                set_={"scores": record.scores, "label": record.label, "time_us": record.time_us},
            )
            connection.execute(statement)
        return judged

    def read(self, query: OutcomeQuery) -> list[OutcomeRecord]:
        """The newest rows that a query asks for, oldest first."""
        outcomes = definitions.outcomes
        statement = select(outcomes).where(outcomes.c.source.in_(query.sources), outcomes.c.time_us >= query.since_us)
        if query.policy is not None:
            statement = statement.where(outcomes.c.policy == query.policy)
        found = self._read_rows(statement.order_by(outcomes.c.row_number.desc()).limit(query.newest))
        return [row.record for row in reversed(found)]

    def find_start(self, newest: int) -> int:
        """The place behind which at most the newest so many rows are."""
        outcomes = definitions.outcomes
        with self._transactions.reading() as connection:
            last = connection.execute(select(func.max(outcomes.c.row_number))).scalar() or 0
        return max(0, last - newest)

    def read_after(self, row_number: int, limit: int) -> list[NumberedOutcome]:
        """The drawn rows behind this one, in the order they were written."""
        outcomes = definitions.outcomes
        statement = select(outcomes).where(
            outcomes.c.row_number > row_number, outcomes.c.source.in_(("shadow", "canary"))
        )
        return self._read_rows(statement.order_by(outcomes.c.row_number).limit(limit))

    def read_routed(self, since_us: int, newest: int) -> list[RoutedRow]:
        """The newest requests that a policy decided, newest first."""
        ledger = definitions.ledger
        statement = (
            select(*(ledger.c[name] for name in _ROUTED))
            .where(ledger.c.time_us >= since_us, ledger.c.policy.is_not(None))
            .order_by(ledger.c.time_us.desc())
            .limit(newest)
        )
        with self._transactions.reading() as connection:
            return [RoutedRow(*row) for row in connection.execute(statement)]

    def write_broken(self, subject: str, at_us: int) -> None:
        """Remember that a floor is broken, for every process and every later start. Idempotent."""
        statement = self._transactions.insert(definitions.settings).values(name=_BROKEN + subject, number=at_us)
        with self._transactions.writing() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def read_broken(self) -> dict[str, int]:
        """What `write_broken` was told, and when."""
        settings = definitions.settings
        statement = select(settings.c.name, settings.c.number).where(settings.c.name.startswith(_BROKEN))
        with self._transactions.reading() as connection:
            return {name.removeprefix(_BROKEN): number for name, number in connection.execute(statement)}

    def _read_rows(self, statement: Select[Any]) -> list[NumberedOutcome]:
        with self._transactions.reading() as connection:
            found = connection.execute(statement).mappings().all()
        return [
            NumberedOutcome(row["row_number"], msgspec.convert({name: row[name] for name in _STORED}, OutcomeRecord))
            for row in found
        ]


def _fill_costs(connection: Connection, record: OutcomeRecord) -> OutcomeRecord:
    """What the ledger says that the small tier, the checks and, where it answered, the top tier cost."""
    ledger = definitions.ledger
    found = connection.execute(
        select(ledger.c.cost_nano_usd, ledger.c.check_cost_nano_usd, ledger.c.attempts).where(
            ledger.c.request_id == record.request_id
        )
    ).first()
    if found is None or found.cost_nano_usd is None or found.check_cost_nano_usd is None:
        return record
    small, top = record.small or "", record.top or ""
    costs = dict(record.costs_nano_usd)
    winner, checks = found.cost_nano_usd - found.check_cost_nano_usd, found.check_cost_nano_usd
    if record.label == "escalated":
        tried = [attempt for attempt in found.attempts if _was_sent(attempt)][:-1]
        costs[top] = winner
        if not tried and record.check_nano_usd is not None:
            # The small tier was asked in the background only.
            return msgspec.structs.replace(record, costs_nano_usd=costs)
        costs[small] = sum(attempt.get("cost_nano_usd", 0) or 0 for attempt in tried)
        checks -= costs[small]
    else:
        costs[small] = winner
    return msgspec.structs.replace(record, costs_nano_usd=costs, check_nano_usd=max(0, checks))


def _was_sent(attempt: dict[str, Any]) -> bool:
    """Whether an attempt was made to answer, and not passed over for its target's health."""
    role, error_type = attempt.get("role", "answer"), attempt.get("error_type") or ""
    return role == "answer" and not error_type.startswith("skipped:")


def _to_columns(record: OutcomeRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in _STORED}
