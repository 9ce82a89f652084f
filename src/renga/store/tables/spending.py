"""What the ledger says was spent.

Owns: the statement that adds up dollars for budgets. Must never know: budgets.
"""

from __future__ import annotations

from sqlalchemy import func, select

from renga.store.tables import definitions
from renga.store.transactions import Transactions


class SpendingTable:
    """Adds up what the ledger says that requests cost."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read_spending(self, since_us: int, until_us: int) -> dict[str, int]:
        """Nano-dollars by key id and by workspace id, of requests settled in this time; `until_us` is exclusive.

        Requests whose price is not known count for nothing.
        """
        ledger = definitions.ledger
        spent = func.sum(ledger.c.cost_nano_usd)
        query = (
            select(ledger.c.key_id, ledger.c.workspace_id, spent)
            .where(ledger.c.time_us >= since_us, ledger.c.time_us < until_us, ledger.c.cost_nano_usd > 0)
            .group_by(ledger.c.key_id, ledger.c.workspace_id)
        )
        sums: dict[str, int] = {}
        with self._transactions.reading() as connection:
            for key_id, workspace_id, nano_usd in connection.execute(query):
                for name in (key_id, workspace_id):
                    if name is not None:
                        sums[name] = sums.get(name, 0) + int(nano_usd)
        return sums
