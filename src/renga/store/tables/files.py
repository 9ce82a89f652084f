"""The statements for uploaded files.

Owns: the table `files`: who sees what, quotas, what is due to go. Must never know: where the bytes are.
Invariants: a row never changes but for `deleted_us`, which is set once; nobody but its owner can tell a file from none;
`create_file` and `release_content` of the same content never run at the same time, so that bytes cannot be removed
under a row that has just been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, or_, select, tuple_, update
from sqlalchemy.sql import ColumnElement

from renga.domain.files import FileCount, FileQuery, FileQuota, FileRow
from renga.domain.owners import Owner
from renga.store.errors import ContentMissing, QuotaExceeded
from renga.store.tables import definitions
from renga.store.transactions import Transactions

_files = definitions.files
_columns = tuple(_files.c[name] for name in FileRow.__struct_fields__)


class FileTable:
    """Rows of files. Any thread may call any method; each is one transaction, or a read and one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create_file(self, row: FileRow, quota: FileQuota, has_content: Callable[[], bool]) -> None:
        """Write a row, if there is room for it and its bytes are there.

        Raises: QuotaExceeded, ContentMissing; nothing was written then.
        """
        owner = Owner(row.key_id, row.workspace_id)
        with self._transactions.writing() as connection:
            _lock(connection, f"files:{owner.workspace_id or owner.key_id}", row.content_sha256.hex())
            _check_quota(connection, owner, quota, row.created_us, row.size_bytes)
            if not has_content():
                raise ContentMissing
            connection.execute(_files.insert(), [msgspec.structs.asdict(row)])

    def check_room(self, owner: Owner, quota: FileQuota, now_us: int, size_bytes: int) -> None:
        """Ask before the bytes come whether there is room for them.

        Raises: QuotaExceeded.
        """
        with self._transactions.reading() as connection:
            _check_quota(connection, owner, quota, now_us, size_bytes)

    def count_files(self, now_us: int) -> FileCount:
        """The files that are there, whosever they are."""
        counted = select(func.count(), func.sum(_files.c.size_bytes)).where(_is_alive(now_us))
        with self._transactions.reading() as connection:
            number, total_bytes = connection.execute(counted).one()
        return FileCount(number, int(total_bytes or 0))

    def read_file(self, owner: Owner, file_id: str) -> FileRow | None:
        """One file, expired and deleted ones too; None where there is none that this owner may see."""
        query = select(*_columns).where(_files.c.file_id == file_id, _is_visible(owner))
        with self._transactions.reading() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else _to_row(found)

    def list_files(self, query: FileQuery) -> list[FileRow]:
        """Files that are there, newest first."""
        place = tuple_(_files.c.created_us, _files.c.file_id)
        statement = select(*_columns).where(_is_visible(query.owner), _is_alive(query.now_us))
        if query.file_ids is not None:
            statement = statement.where(_files.c.file_id.in_(query.file_ids))
        if query.older_than is not None:
            statement = statement.where(place < query.older_than)
        if query.newer_than is not None:
            statement = statement.where(place > query.newer_than)
            statement = statement.order_by(_files.c.created_us, _files.c.file_id)
        else:
            statement = statement.order_by(_files.c.created_us.desc(), _files.c.file_id.desc())
        with self._transactions.reading() as connection:
            found = [_to_row(row) for row in connection.execute(statement.limit(query.limit))]
        return found if query.newer_than is None else found[::-1]

    def delete_file(self, owner: Owner, file_id: str, at_us: int) -> bool:
        """Mark a file as deleted. Returns whether there was one to delete."""
        statement = update(_files).where(_files.c.file_id == file_id, _is_visible(owner), _files.c.deleted_us.is_(None))
        with self._transactions.writing() as connection:
            return connection.execute(statement.values(deleted_us=at_us)).rowcount > 0

    def delete_expired(self, now_us: int, limit: int) -> list[bytes]:
        """Mark up to `limit` expired files as deleted. Returns the content that they named."""
        due = select(_files.c.file_id, _files.c.content_sha256).where(
            _files.c.deleted_us.is_(None), _files.c.expires_us <= now_us
        )
        with self._transactions.reading() as connection:
            found = connection.execute(due.limit(limit)).all()
        if not found:
            return []
        statement = update(_files).where(_files.c.file_id.in_([row[0] for row in found]), _files.c.deleted_us.is_(None))
        with self._transactions.writing() as connection:
            connection.execute(statement.values(deleted_us=now_us))
        return [bytes(row[1]) for row in found]

    def delete_of_revoked(self, before_us: int, now_us: int) -> list[bytes]:
        """Mark files as deleted whose key was revoked before this time, and that no workspace shares.

        Returns the content that they named.
        """
        keys = definitions.keys
        gone = select(keys.c.key_id).where(keys.c.revoked_us < before_us)
        due = _files.c.key_id.in_(gone) & _files.c.workspace_id.is_(None) & _files.c.deleted_us.is_(None)
        with self._transactions.writing() as connection:
            contents = [bytes(row[0]) for row in connection.execute(select(_files.c.content_sha256).where(due))]
            if contents:
                connection.execute(update(_files).where(due).values(deleted_us=now_us))
        return contents

    def release_content(self, content: bytes, remove: Callable[[], None]) -> bool:
        """Remove bytes that no file names any more. Returns whether it did. What `remove` raises is passed on."""
        named = select(func.count()).where(_files.c.content_sha256 == content, _files.c.deleted_us.is_(None))
        with self._transactions.writing() as connection:
            _lock(connection, content.hex())
            if connection.execute(named).scalar():
                return False
            remove()
            return True

    def find_unnamed(self, contents: Iterable[bytes]) -> list[bytes]:
        """Those of the contents that no file names."""
        asked = list(contents)
        named = select(_files.c.content_sha256).where(_files.c.content_sha256.in_(asked), _files.c.deleted_us.is_(None))
        with self._transactions.reading() as connection:
            found = {bytes(row[0]) for row in connection.execute(named)}
        return [content for content in asked if content not in found]

    def forget_deleted(self, before_us: int) -> int:
        """Drop the rows of files that were deleted before this time. Returns how many."""
        with self._transactions.writing() as connection:
            return connection.execute(delete(_files).where(_files.c.deleted_us < before_us)).rowcount


def _check_quota(connection: Connection, owner: Owner, quota: FileQuota, now_us: int, size_bytes: int) -> None:
    """Raises: QuotaExceeded if one more file of this size would be too much."""
    counted = select(func.count(), func.sum(_files.c.size_bytes)).where(_is_counted(owner), _is_alive(now_us))
    number, total_bytes = connection.execute(counted).one()
    if quota.max_files is not None and number + 1 > quota.max_files:
        raise QuotaExceeded(f"{number} files are kept, and {quota.max_files} may be")
    if quota.max_bytes is not None and int(total_bytes or 0) + size_bytes > quota.max_bytes:
        raise QuotaExceeded(f"{int(total_bytes or 0)} bytes are kept, and {quota.max_bytes} may be")


def _is_visible(owner: Owner) -> ColumnElement[bool]:
    if owner.workspace_id is None:
        return _files.c.key_id == owner.key_id
    return or_(_files.c.key_id == owner.key_id, _files.c.workspace_id == owner.workspace_id)


def _is_counted(owner: Owner) -> ColumnElement[bool]:
    if owner.workspace_id is None:
        return (_files.c.key_id == owner.key_id) & _files.c.workspace_id.is_(None)
    return _files.c.workspace_id == owner.workspace_id


def _is_alive(now_us: int) -> ColumnElement[bool]:
    return _files.c.deleted_us.is_(None) & or_(_files.c.expires_us.is_(None), _files.c.expires_us > now_us)


def _lock(connection: Connection, *names: str) -> None:
    """Hold names until the transaction ends. In SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        for name in sorted(names):
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def _to_row(row: Row[Any]) -> FileRow:
    return FileRow(*row)
