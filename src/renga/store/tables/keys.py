"""The table `keys`.

Owns: its statements, and the generation that tells running servers of a change.
Must never know: secrets (it gets hashes), what terms and limits mean.
Invariants: every change bumps the generation and writes an audit entry, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, func, select, update

from renga.domain.audit import Author
from renga.domain.keys import KeyChange, KeyLimits, KeyRow, KeyTerms, Rotation
from renga.store.tables import definitions
from renga.store.tables.audit import system_author, write_entry
from renga.store.transactions import Transactions

_GENERATION = "keys_generation"
_SECRET_COLUMNS = ("secret_sha256", "previous_sha256")


class KeyTable:
    """Reads and changes keys; each change tells running servers."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(self, key: KeyRow, by: Author | None = None) -> None:
        """Raises: DatabaseFailed if its id or its secret is another's."""
        with self._transactions.writing() as connection:
            bump_generation(connection)
            _insert(connection, key, by or system_author())

    def create_first(self, key: KeyRow, by: Author | None = None) -> bool:
        """Create it only if there has never been a key. Returns whether it did."""
        with self._transactions.writing() as connection:
            # The update also locks the row, so that of two servers on one PostgreSQL only one makes the first key.
            bump_generation(connection)
            if connection.execute(select(func.count()).select_from(definitions.keys)).scalar():
                return False
            _insert(connection, key, by or system_author())
            return True

    def change(self, key_id: str, change: KeyChange, by: Author | None = None) -> bool:
        """Change what is set in `change`. Returns whether there is such a key."""
        values = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        columns = {name: msgspec.to_builtins(value) for name, value in values.items()}
        return self._update(key_id, columns, by or system_author(), "key.change")

    def rotate(self, key_id: str, rotation: Rotation, by: Author | None = None) -> bool:
        """Replace the secret; the one before works on for a while. Returns whether there is such a key that works."""
        keys = definitions.keys
        columns = {
            "secret_sha256": rotation.secret_sha256,
            "hint": rotation.hint,
            "previous_sha256": keys.c.secret_sha256,
            "previous_until_us": rotation.previous_until_us,
        }
        return self._update(key_id, columns, by or system_author(), "key.rotate")

    def revoke(self, key_id: str, by: Author) -> bool:
        """Revoke a key for good. Returns whether there was such a key that was not revoked."""
        return self._update(key_id, {"revoked_us": by.at_us}, by, "key.revoke")

    def read(self) -> list[KeyRow]:
        """All keys, revoked ones too, oldest first."""
        with self._transactions.reading() as connection:
            found = connection.execute(
                select(definitions.keys).order_by(definitions.keys.c.created_us, definitions.keys.c.key_id)
            )
            return [_to_row(row) for row in found.mappings()]

    def find(self, key_id: str) -> KeyRow | None:
        """The key of this id, revoked or not; None where there is none."""
        with self._transactions.reading() as connection:
            row = (
                connection.execute(select(definitions.keys).where(definitions.keys.c.key_id == key_id))
                .mappings()
                .first()
            )
        return None if row is None else _to_row(row)

    def write_last_used(self, used_us: Mapping[str, int]) -> None:
        """Stamp keys. Does not count as a change of the keys."""
        keys = definitions.keys
        with self._transactions.writing() as connection:
            for key_id, at_us in used_us.items():
                connection.execute(update(keys).where(keys.c.key_id == key_id).values(last_used_us=at_us))

    def read_generation(self) -> int:
        """Grows with every change of keys and workspaces, whichever process makes it. One cheap query."""
        settings = definitions.settings
        with self._transactions.reading() as connection:
            return connection.execute(select(settings.c.number).where(settings.c.name == _GENERATION)).scalar() or 0

    def _update(self, key_id: str, columns: Mapping[str, Any], by: Author, action: str) -> bool:
        """Change a key that is not revoked."""
        keys = definitions.keys
        statement = update(keys).where(keys.c.key_id == key_id, keys.c.revoked_us.is_(None))
        with self._transactions.writing() as connection:
            bump_generation(connection)
            if not connection.execute(statement.values(**columns)).rowcount:
                return False
            told = {name: value for name, value in columns.items() if name not in _SECRET_COLUMNS}
            write_entry(connection, by, action, key_id, told)
            return True


def bump_generation(connection: Connection) -> None:
    """Tell running servers that keys or workspaces have changed."""
    settings = definitions.settings
    connection.execute(update(settings).where(settings.c.name == _GENERATION).values(number=settings.c.number + 1))


def _insert(connection: Connection, key: KeyRow, by: Author) -> None:
    columns = {
        **msgspec.structs.asdict(key),
        "limits": msgspec.to_builtins(key.limits),
        "terms": msgspec.to_builtins(key.terms),
    }
    connection.execute(definitions.keys.insert(), [columns])
    told = {
        name: value
        for name, value in columns.items()
        if value not in (None, {}) and name not in (*_SECRET_COLUMNS, "key_id", "created_us")
    }
    write_entry(connection, by, "key.create", key.key_id, told)


def _to_row(row: Mapping[Any, Any]) -> KeyRow:
    # NULL where the key is older than the column.
    fields: dict[str, Any] = {
        **row,
        "limits": msgspec.convert(row["limits"] or {}, KeyLimits),
        "terms": msgspec.convert(row["terms"] or {}, KeyTerms),
    }
    return KeyRow(**fields)
