"""API keys: who may call, known by the hash of what they send.

Owns: making, new secrets, and the index in memory that requests are checked against.
Must never know: headers, what terms mean.
Invariants: a secret is shown once, by whoever made it, and is stored nowhere; `identify` never waits, except in the
first moments of a process until the store thread has loaded the keys; a change made by another process is seen within
one interval of the store thread (at most 1 s), and a new secret at its first use.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from renga import ids
from renga.accounting.limits.quotas import Quotas
from renga.clock import Clock
from renga.domain.keys import DEFAULT_SCOPES, KeyRow, KeyTerms, Rotation
from renga.domain.owners import Owner
from renga.errors import Unauthenticated
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from renga.store.database import Database

_log = logging.getLogger("renga.keys")

_LOAD_WAIT_S = 10.0
_SEEK_INTERVAL_S = 0.05
"""Unknown secrets make the database be asked at most so often, however many come."""
_STAMP_INTERVAL_US = 60_000_000
"""`last used` is kept to the minute, so that a busy key costs one write a minute."""


class KeyIdentity(Struct, frozen=True):
    """Whose request it is, and what its key may do."""

    key_id: str
    name: str
    workspace_id: str | None = None
    terms: KeyTerms = KeyTerms()
    expires_us: int | None = None
    """When the secret stops working: the key's own end, or the end of its rotation."""

    @property
    def owner(self) -> Owner:
        """Whose batches and files it sees."""
        return Owner(self.key_id, self.workspace_id)


NOBODY = KeyIdentity("", "")
"""Who asks on a route that needs no key."""


_NO_TERMS = KeyTerms()
_FIRST_SCOPES = (*DEFAULT_SCOPES, "usage")
"""Of the key that a new installation makes: whoever started it may also read its reports."""


class NewKey(Struct, frozen=True):
    """A key just made. The only place where the secret ever is."""

    row: KeyRow
    secret: str


class _KeyEntry(Struct, frozen=True):
    digest: bytes
    identity: KeyIdentity


class KeyRing:
    """The keys that work. A job of the store thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        create_first: bool = False,
        quotas: Quotas | None = None,
        database: DatabaseHandle | None = None,
    ) -> None:
        """Without `database`, keys that other processes make are seen at the store thread's next run."""
        self._clock = clock
        self._database = database
        self._quotas = quotas
        self._create_first = create_first
        self._index: dict[bytes, _KeyEntry] = {}
        self._admitted: dict[bytes, _KeyEntry] = {}
        self._generation = -1
        self._used: set[str] = set()
        self._stamped_us: dict[str, int] = {}
        self._loaded = threading.Event()
        self._refreshing = threading.Lock()
        self._seeking: asyncio.Task[None] | None = None
        self.first_key: NewKey | None = None
        """Made when the database had never held a key and `create_first` was asked for."""

    def identify(self, secret: str) -> KeyIdentity | None:
        """Who has this secret; None for nobody. About 1.5 us.

        Raises: Unauthenticated if its time is over.
        """
        if not self._loaded.is_set():
            self._loaded.wait(_LOAD_WAIT_S)
        digest = digest_secret(secret)
        entry = self._index.get(digest)
        # The lookup is by a hash that nobody can steer; the comparison is there so that this stays true of any index.
        if entry is None or not compare_digest(entry.digest, digest):
            return None
        identity = entry.identity
        if identity.expires_us is not None and self._now_us() >= identity.expires_us:
            raise Unauthenticated("The API key has expired.", hint="`renga keys list` shows until when keys work")
        self._used.add(identity.key_id)
        return identity

    async def seek(self, secret: str) -> KeyIdentity | None:
        """Who has a secret that `identify` does not know: it may have been made a moment ago, by another process.

        Raises: Unauthenticated if its time is over.
        Cost: one small query for all who ask at the same time, and up to 50 ms.
        """
        if self._seeking is None or self._seeking.done():
            self._seeking = asyncio.create_task(self._look())
        await asyncio.shield(self._seeking)
        return self.identify(secret)

    async def _look(self) -> None:
        """See what other processes changed, now and not at the next run; then nobody looks for a while."""
        if self._database is not None:
            try:
                await self._database.run_in_background(self._refresh)
            except DatabaseFailed as error:
                _log.debug("no look at the keys: %s", error)  # the store thread says that the database is away
        await asyncio.sleep(_SEEK_INTERVAL_S)

    def admit(self, secret: str, identity: KeyIdentity) -> None:
        """Let a key in for this process only, as the commands that answer by themselves need it."""
        digest = digest_secret(secret)
        self._admitted[digest] = _KeyEntry(digest, identity)
        self._index = {**self._index, **self._admitted}
        self._loaded.set()

    def load(self, rows: Iterable[KeyRow]) -> None:
        """Replace the index by these keys."""
        working = (row for row in rows if row.revoked_us is None and row.disabled_us is None)
        entries = {entry.digest: entry for row in working for entry in _entries_of(row)}
        # One assignment of a new dict: a request on the other thread sees the old index or the new one, whole.
        self._index = {**entries, **self._admitted}
        self._loaded.set()

    def opened(self, database: Database) -> None:
        if self._create_first:
            key = make_key("first", self._now_us(), KeyTerms(scopes=_FIRST_SCOPES))
            if database.keys.create_first(key.row):
                self.first_key = key
        self._refresh(database)

    def run(self, database: Database) -> None:
        """See what other processes changed, and stamp the keys that were used."""
        self._refresh(database)
        now_us = self._now_us()
        used, self._used = self._used, set()
        due = {key: now_us for key in used if now_us - self._stamped_us.get(key, 0) >= _STAMP_INTERVAL_US}
        if due:
            database.keys.write_last_used(due)
            self._stamped_us.update(due)

    def abandon(self) -> None:
        """Do nothing: only times of last use are lost, and nobody counts on them."""

    def _refresh(self, database: Database) -> None:
        with self._refreshing:
            generation = database.keys.read_generation()
            if generation != self._generation:
                rows = database.keys.read()
                if self._quotas is not None:
                    # First, so that no request comes in under a key whose limits are not known.
                    self._quotas.load(rows, database)
                self.load(rows)
                self._generation = generation

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def _entries_of(row: KeyRow) -> Iterator[_KeyEntry]:
    """The secrets of a key: its own, and after a rotation the one before."""
    identity = KeyIdentity(row.key_id, row.name, row.workspace_id, row.terms, row.expires_us)
    yield _KeyEntry(row.secret_sha256, identity)
    if row.previous_sha256 is not None and row.previous_until_us is not None:
        ends_us = row.previous_until_us if row.expires_us is None else min(row.previous_until_us, row.expires_us)
        yield _KeyEntry(row.previous_sha256, replace(identity, expires_us=ends_us))


def digest_secret(secret: str) -> bytes:
    """What is stored of a secret. A plain hash is enough: the secret has 256 random bits, so it cannot be guessed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def make_key(name: str, now_us: int, terms: KeyTerms = _NO_TERMS) -> NewKey:
    """A new key; the caller stores its row and shows its secret."""
    secret = ids.key_secret()
    return NewKey(KeyRow(ids.key_id(), name, digest_secret(secret), secret[-4:], now_us, terms=terms), secret)


class NewSecret(Struct, frozen=True):
    """A secret that replaces a key's. The only place where it ever is."""

    rotation: Rotation
    secret: str


def make_secret(previous_until_us: int) -> NewSecret:
    """A new secret for a key; the one before works until then. The caller stores it and shows it."""
    secret = ids.key_secret()
    return NewSecret(Rotation(digest_secret(secret), secret[-4:], previous_until_us), secret)
