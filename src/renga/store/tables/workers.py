"""The table `batch_workers`: which processes run background work, and when each was last seen.

Owns: its statements. Must never know: what the workers run, and who is taken for dead.
"""

from __future__ import annotations

from sqlalchemy import delete, select

from renga.store.tables import definitions
from renga.store.transactions import Transactions

_workers = definitions.batch_workers


class WorkerTable:
    """Workers by their id. Any thread may call any method; each is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record_heartbeat(self, worker_id: str, at_us: int) -> None:
        """Note that this worker lives at this moment."""
        values = {"worker_id": worker_id, "seen_us": at_us}
        statement = self._transactions.insert(_workers).values(values)
        with self._transactions.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["worker_id"], set_={"seen_us": at_us}))

    def read_heartbeats(self) -> dict[str, int]:
        """When each worker was last seen."""
        with self._transactions.reading() as connection:
            return {row.worker_id: row.seen_us for row in connection.execute(select(_workers))}

    def reap_worker(self, worker_id: str) -> None:
        """Forget a worker that ended, or is dead and whose work was taken over."""
        with self._transactions.writing() as connection:
            connection.execute(delete(_workers).where(_workers.c.worker_id == worker_id))
