"""The Files resource over a table and a keeper of bytes: take in, show, list, read, delete, expire.

Owns: the order of the two, so that a file that is shown can be read; removing what has expired.
Must never know: HTTP, SQL.
Invariants: a row is written after its bytes are safe, and bytes are removed after the last row that names them, never
under one that is just being written (`store/tables/files.py`); a file of somebody else's is the same as none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from renga.clock import Clock
from renga.config.files import FileSettings
from renga.domain.files import FileQuery, FileQuota, FileRow
from renga.domain.owners import Owner
from renga.errors import ApiError, InvalidRequest, NotFound, Overloaded
from renga.files.blobs import Blobs
from renga.files.intake import Intake, clear_abandoned
from renga.ids import file_id as make_file_id
from renga.store.database_handle import DatabaseHandle
from renga.store.errors import ContentMissing, QuotaExceeded

if TYPE_CHECKING:
    from renga.store.database import Database

_log = logging.getLogger("renga.files")
_T = TypeVar("_T")

_EXPIRY_INTERVAL_S = 60.0
_EXPIRIES_A_CLEANING = 360
"""Every six hours what no file names is looked for: it takes listing everything."""
_ORPHAN_S = 86_400.0
"""How old bytes without a row must be: those of an upload that is just ending have none yet."""
_TOMBSTONE_US = 30 * 86_400_000_000
"""How long a deleted file's row stays, to tell an expired file from one that never was; and how long the files of a
revoked key do, which nobody can see any more."""
_PAGE_ROWS = 500
_PLACE_TRIES = 20


class NewFile(Struct, frozen=True):
    """What is known of a file besides its bytes."""

    filename: str
    mime_type: str
    expires_in_s: int | None = None
    downloadable: bool = False
    """For files that were generated here."""


class FileService:
    """The files of an installation: their rows in the database, their bytes elsewhere."""

    def __init__(
        self, settings: FileSettings, folder: Path, blobs: Blobs, clock: Clock, database: DatabaseHandle
    ) -> None:
        self.settings = settings
        self._incoming = folder / "incoming"
        self._blobs = blobs
        self._clock = clock
        self._quota = FileQuota(settings.quota_bytes, settings.quota_files)
        self._database = database
        self._uploads: Counter[str] = Counter()
        """That are running, by owner."""
        self._expiring: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Begin to remove what has expired."""
        self._expiring = asyncio.create_task(self._expire_forever())

    async def stop(self) -> None:
        """Stop removing what has expired. Idempotent."""
        if self._expiring is not None:
            self._expiring.cancel()
            with suppress(asyncio.CancelledError):
                await self._expiring
            self._expiring = None

    # The resource

    @asynccontextmanager
    async def receive(self, owner: Owner, expected_bytes: int) -> AsyncGenerator[Intake]:
        """A place for a file that is coming in, if there may be room for it.

        Raises: Overloaded, InvalidRequest (`storage_quota_exceeded`), ApiError.
        """
        name = owner.workspace_id or owner.key_id
        mine, most = self._uploads[name], self.settings.max_uploads
        # Half of them at most for one owner, so that slow uploads of one do not keep all others out.
        if self._uploads.total() >= most or mine >= (most + 1) // 2:
            raise Overloaded(f"{mine} uploads of yours are running.", hint="send the file again later")
        self._uploads[name] += 1
        try:
            await self._run(
                lambda database: database.files.check_room(owner, self._quota, self.now_us(), expected_bytes)
            )
            async with Intake(self._incoming) as intake:
                yield intake
        except OSError as error:
            raise _bytes_failed(error) from error
        finally:
            self._uploads[name] -= 1
            self._uploads += Counter()  # forgets those at 0

    async def add(self, owner: Owner, intake: Intake, new: NewFile) -> FileRow:
        """Keep what came in.

        Raises: InvalidRequest (`storage_quota_exceeded`), ApiError; nothing is kept then.
        """
        sha256 = await intake.finish()
        now_us = self.now_us()
        life_s = self.settings.expire_after_s if new.expires_in_s is None else new.expires_in_s
        row = FileRow(
            file_id=make_file_id(),
            key_id=owner.key_id,
            workspace_id=owner.workspace_id,
            created_us=now_us,
            expires_us=None if life_s is None else now_us + life_s * 1_000_000,
            deleted_us=None,
            filename=new.filename,
            mime_type=new.mime_type,
            size_bytes=intake.size_bytes,
            content_sha256=sha256,
            downloadable=new.downloadable,
        )
        await self._run(lambda database: self._keep(database, row, intake.path))
        return self._seen(row)

    async def find(self, owner: Owner, file_id: str) -> FileRow:
        """One file.

        Raises: NotFound; with the code `file_expired` where it was there once.
        """
        row = await self._run(lambda database: database.files.read_file(owner, file_id))
        if row is None:
            raise NotFound(f"There is no file {file_id}.", hint="GET /v1/files lists those of your key")
        gone_us = self.now_us() if row.deleted_us is None else row.deleted_us
        if row.expires_us is not None and row.expires_us <= gone_us:
            raise NotFound(f"The file {file_id} has expired.", hint="upload it again", error_code="file_expired")
        if row.deleted_us is not None:
            raise NotFound(f"The file {file_id} was deleted.", hint="upload it again")
        return self._seen(row)

    async def list_page(self, query: FileQuery) -> Sequence[FileRow]:
        """A page of files, newest first."""
        rows = await self._run(lambda database: database.files.list_files(query))
        return [self._seen(row) for row in rows]

    async def delete(self, owner: Owner, file_id: str) -> None:
        """Delete a file, and its bytes if no other file has the same.

        Raises: NotFound.
        """
        row = await self.find(owner, file_id)

        def forget(database: Database) -> bool:
            was_there = database.files.delete_file(owner, file_id, self.now_us())
            self._release(database, [row.content_sha256])
            return was_there

        if not await self._run(forget):
            raise NotFound(f"There is no file {file_id}.")

    async def read(self, row: FileRow) -> AsyncIterator[bytes]:
        """A file's bytes, about a MiB at a time.

        Raises: NotFound before the first, if the bytes are gone; ApiError.
        """
        chunks = self._blobs.read(row.content_sha256)
        try:
            while chunk := await asyncio.to_thread(next, chunks, b""):
                yield chunk
        except FileNotFoundError:
            _log.error("the bytes of %s are not where they should be", row.file_id)
            raise NotFound(f"The content of {row.file_id} is not here.") from None
        except OSError as error:
            raise _bytes_failed(error) from error

    def read_whole(self, row: FileRow) -> bytes:
        """A file's bytes at once. Blocks.

        Raises: as `read`.
        """
        try:
            return b"".join(self._blobs.read(row.content_sha256))
        except FileNotFoundError:
            raise NotFound(f"The content of {row.file_id} is not here.") from None
        except OSError as error:
            raise _bytes_failed(error) from error

    def now_us(self) -> int:
        """The time, as rows have it."""
        return int(self._clock.now().timestamp() * 1_000_000)

    # Expiry

    async def expire_files(self) -> int:
        """Remove what has expired. Returns how many files that were."""
        return await self._run(self._expire_page)

    async def remove_unnamed(self) -> int:
        """Remove bytes that no file names, abandoned uploads, and rows of what was deleted long ago.

        Returns how many blobs went.
        """
        return await self._run(self._remove_unnamed)

    async def _expire_forever(self) -> None:
        rounds = 0
        while True:
            await self._clock.sleep(_EXPIRY_INTERVAL_S)
            try:
                while await self.expire_files() == _PAGE_ROWS:
                    pass
                if rounds % _EXPIRIES_A_CLEANING == 0:
                    await self.remove_unnamed()
            except Exception as error:
                _log.warning("expired files could not be removed, trying again: %s", error)
            rounds += 1

    def _expire_page(self, database: Database) -> int:
        contents = database.files.delete_expired(self.now_us(), _PAGE_ROWS)
        self._release(database, contents)
        return len(contents)

    def _remove_unnamed(self, database: Database) -> int:
        clear_abandoned(self._incoming)
        now_us = self.now_us()
        database.files.forget_deleted(now_us - _TOMBSTONE_US)
        self._release(database, database.files.delete_of_revoked(now_us - _TOMBSTONE_US, now_us))
        old = self._blobs.older_than(self._clock.now().timestamp() - _ORPHAN_S)
        removed = 0
        for page in _pages(old, _PAGE_ROWS):
            removed += self._release(database, database.files.find_unnamed(page))
        return removed

    def _release(self, database: Database, contents: Sequence[bytes]) -> int:
        """Remove bytes that no file names. What cannot be removed now is left to the next cleaning."""
        removed = 0
        for sha256 in set(contents):
            try:
                removed += database.files.release_content(sha256, lambda sha256=sha256: self._blobs.remove(sha256))
            except OSError as error:
                _log.warning("bytes that no file names could not be removed, trying again later: %s", error)
        return removed

    def _keep(self, database: Database, row: FileRow, incoming: Path) -> None:
        for _ in range(_PLACE_TRIES):
            self._blobs.place(row.content_sha256, incoming)
            try:
                database.files.create_file(row, self._quota, lambda: self._blobs.has(row.content_sha256))
            except ContentMissing:
                # The last file with the same bytes was deleted in between, and they went with it.
                continue
            except BaseException:
                self._release(database, [row.content_sha256])
                raise
            return
        raise OSError("the bytes are removed as soon as they are placed")

    async def _run(self, work: Callable[[Database], _T]) -> _T:
        """Run work with the database and the bytes, on a worker thread.

        Raises: InvalidRequest where a quota is reached; ApiError where database or bytes cannot be reached.
        """
        try:
            return await self._database.run(work, subject="files")
        except QuotaExceeded as error:
            raise InvalidRequest(
                f"No room for this file: {error}.", hint="delete files first", error_code="storage_quota_exceeded"
            ) from None
        except OSError as error:
            raise _bytes_failed(error) from error

    def _seen(self, row: FileRow) -> FileRow:
        """The row as its owner sees it: the settings may allow every file to be downloaded."""
        return replace(row, downloadable=True) if self.settings.downloadable else row


def _bytes_failed(error: OSError) -> ApiError:
    _log.error("the bytes of a file cannot be read or written: %s", error)
    return ApiError("The bytes of the file cannot be read or written.", hint="send the request again")


def _pages(items: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while page := list(islice(items, size)):
        yield page
