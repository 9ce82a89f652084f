"""Secrets that this installation made for itself, kept in the table `settings`.

Owns: their statements. Must never know: what a secret is for.
"""

from __future__ import annotations

from sqlalchemy import select

from renga.store.tables import definitions
from renga.store.transactions import Transactions


class SecretTable:
    """Secrets by name, the same for every process on one database."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def ensure_secret(self, name: str, fresh: bytes) -> bytes:
        """The stored secret of this name; `fresh` becomes it if there is none."""
        settings = definitions.settings
        named = settings.c.name == f"secret:{name}"
        with self._transactions.writing() as connection:
            insert = self._transactions.insert(settings).values(name=f"secret:{name}", secret=fresh)
            connection.execute(insert.on_conflict_do_nothing())
            return connection.execute(select(settings.c.secret).where(named)).scalar_one()
