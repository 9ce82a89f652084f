"""Secrets that this installation made for itself, the same for every process on one database."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from renga.store.errors import DatabaseAway

if TYPE_CHECKING:
    from renga.store.database import Database

_LENGTH_BYTES = 32
_WAIT_S = 10.0


class StoredSecret:
    """A random secret, made at the first start. A job of the store thread, which loads it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value = b""
        self._loaded = threading.Event()

    def value(self) -> bytes:
        """The secret's 32 bytes. Waits for the store thread, which only the first moments of a process can notice.

        Raises: DatabaseAway if the database does not open.
        """
        if not self._loaded.is_set() and not self._loaded.wait(_WAIT_S):
            raise DatabaseAway(f"the secret `{self._name}` is not loaded: the database did not open")
        return self._value

    def opened(self, database: Database) -> None:
        self._value = database.secrets.ensure_secret(self._name, secrets.token_bytes(_LENGTH_BYTES))
        self._loaded.set()

    def run(self, database: Database) -> None:
        """Do nothing at an interval: a secret never changes."""

    def abandon(self) -> None:
        """Do nothing: a secret that was not loaded is not lost."""
