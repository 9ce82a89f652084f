"""Conformance suites for what keeps files: `FileTableSuite` for a database, `BlobSuite` for a keeper of bytes.

Owns: what `store/tables/files.py` and `files/blobs.py` promise, as tests. Must never know: which implementation it
runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from renga.domain.audit import Author
from renga.domain.files import FileCount, FileQuery, FileQuota, FileRow
from renga.domain.keys import KeyRow
from renga.domain.owners import Owner
from renga.files.blobs import CHUNK_BYTES, Blobs
from renga.store.database import Database, open_database
from renga.store.errors import ContentMissing, QuotaExceeded

NO_QUOTA = FileQuota(None, None)
ALICE, BOB, CAROL = Owner("key_a"), Owner("key_b", "wrkspc_1"), Owner("key_c", "wrkspc_1")


def make_file(number: int, owner: Owner = ALICE) -> FileRow:
    """A file of 100 bytes, made at second `number`; every one has other bytes."""
    return FileRow(
        file_id=f"file_{number:03}",
        key_id=owner.key_id,
        workspace_id=owner.workspace_id,
        created_us=number * 1_000_000,
        expires_us=None,
        deleted_us=None,
        filename="notes.txt",
        mime_type="text/plain",
        size_bytes=100,
        content_sha256=sha256(str(number).encode()).digest(),
        downloadable=False,
    )


def there() -> bool:
    """Say yes, for a file whose bytes are always there."""
    return True


class FileTableSuite:
    """Subclass it in a test module and give the subclass a `url` fixture: an empty database."""

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        with open_database(url) as database:
            yield database

    def test_a_file_comes_back_as_it_was_written(self, database: Database) -> None:
        row = replace(make_file(1), expires_us=2**40, filename="Bericht – März.pdf", downloadable=True)
        database.files.create_file(row, NO_QUOTA, there)
        assert database.files.read_file(ALICE, row.file_id) == row

    def test_files_are_seen_by_their_key_and_its_workspace_only(self, database: Database) -> None:
        for number, owner in enumerate((ALICE, BOB, CAROL)):
            database.files.create_file(make_file(number, owner), NO_QUOTA, there)

        def seen(owner: Owner) -> list[str]:
            rows = database.files.list_files(FileQuery(owner, now_us=10**9))
            assert [database.files.read_file(owner, row.file_id) for row in rows] == rows
            return [row.file_id for row in rows]

        assert seen(ALICE) == ["file_000"]
        assert seen(BOB) == seen(CAROL) == ["file_002", "file_001"]
        assert seen(Owner("key_b")) == ["file_001"], "a key that left its workspace keeps its own"
        assert database.files.count_files(5) == FileCount(3, 300)
        assert database.files.read_file(ALICE, "file_001") is None
        assert not database.files.delete_file(ALICE, "file_001", 1)
        assert database.files.delete_file(CAROL, "file_001", 1)

    def test_pages_go_both_ways_and_leave_nothing_out(self, database: Database) -> None:
        for number in range(7):
            row = replace(make_file(number), created_us=number // 2)  # pairs with the same time
            database.files.create_file(row, NO_QUOTA, there)
        query = FileQuery(ALICE, now_us=10**9, limit=3)
        first = database.files.list_files(query)
        second = database.files.list_files(replace(query, older_than=(first[-1].created_us, first[-1].file_id)))
        third = database.files.list_files(replace(query, older_than=(second[-1].created_us, second[-1].file_id)))
        names = [row.file_id for row in (*first, *second, *third)]
        assert names == [f"file_{number:03}" for number in reversed(range(7))]
        back = database.files.list_files(replace(query, newer_than=(third[0].created_us, third[0].file_id)))
        assert back == second
        some = database.files.list_files(replace(query, file_ids=("file_001", "file_005", "nothing")))
        assert [row.file_id for row in some] == ["file_005", "file_001"]

    def test_quotas_hold_for_a_workspace_together_and_exactly(self, database: Database) -> None:
        quota = FileQuota(max_bytes=250, max_files=None)
        database.files.create_file(make_file(1, BOB), quota, there)
        database.files.create_file(make_file(2, CAROL), quota, there)
        with pytest.raises(QuotaExceeded, match="200 bytes are kept, and 250 may be"):
            database.files.create_file(make_file(3, BOB), quota, there)
        with pytest.raises(QuotaExceeded, match="2 files"):
            database.files.check_room(BOB, FileQuota(None, 2), 10**9, 0)
        database.files.create_file(make_file(4, ALICE), quota, there)
        database.files.delete_file(BOB, "file_001", 5)
        database.files.create_file(make_file(3, BOB), quota, there)

    def test_a_quota_holds_against_many_at_once(self, database: Database) -> None:
        refused: list[int] = []

        def create(number: int) -> None:
            try:
                database.files.create_file(make_file(number), FileQuota(None, 3), there)
            except QuotaExceeded:
                refused.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 5
        assert len(database.files.list_files(FileQuery(ALICE, now_us=10**9))) == 3

    def test_expired_files_are_not_listed_and_then_marked(self, database: Database) -> None:
        row = replace(make_file(1), expires_us=50)
        database.files.create_file(row, NO_QUOTA, there)
        database.files.create_file(make_file(2), NO_QUOTA, there)
        assert [found.file_id for found in database.files.list_files(FileQuery(ALICE, now_us=50))] == ["file_002"]
        assert database.files.delete_expired(49, 10) == []
        assert database.files.delete_expired(50, 10) == [row.content_sha256]
        assert database.files.delete_expired(50, 10) == []
        found = database.files.read_file(ALICE, row.file_id)
        assert found is not None and found.deleted_us == 50
        assert database.files.forget_deleted(51) == 1
        assert database.files.read_file(ALICE, row.file_id) is None

    def test_files_of_a_revoked_key_go_unless_a_workspace_shares_them(self, database: Database) -> None:
        for number, owner in enumerate((ALICE, BOB)):
            digest = sha256(owner.key_id.encode()).digest()
            database.keys.create(KeyRow(owner.key_id, owner.key_id, digest, "abcd", created_us=1))
            database.keys.revoke(owner.key_id, Author("test", 100))
            database.files.create_file(make_file(number, owner), NO_QUOTA, there)
        database.files.create_file(make_file(2, CAROL), NO_QUOTA, there)
        assert database.files.delete_of_revoked(100, 200) == []
        assert database.files.delete_of_revoked(101, 200) == [make_file(0).content_sha256]
        assert database.files.delete_of_revoked(101, 200) == []
        assert len(database.files.list_files(FileQuery(CAROL, now_us=10**9))) == 2

    def test_bytes_go_with_the_last_file_that_names_them(self, database: Database) -> None:
        row, removed = make_file(1), []
        twin = replace(row, file_id="file_twin", key_id="key_b")
        for each in (row, twin):
            database.files.create_file(each, NO_QUOTA, there)
        database.files.delete_file(ALICE, row.file_id, 9)
        assert not database.files.release_content(row.content_sha256, lambda: removed.append(1))
        database.files.delete_file(Owner("key_b"), twin.file_id, 9)
        assert database.files.find_unnamed([row.content_sha256, b"x" * 32]) == [row.content_sha256, b"x" * 32]
        assert database.files.release_content(row.content_sha256, lambda: removed.append(1))
        assert removed == [1]

    def test_a_row_is_never_written_for_bytes_that_are_gone(self, database: Database) -> None:
        with pytest.raises(ContentMissing):
            database.files.create_file(make_file(1), NO_QUOTA, lambda: False)
        assert database.files.read_file(ALICE, "file_001") is None

    def test_bytes_are_not_removed_under_a_row_that_is_being_written(self, database: Database) -> None:
        """Many upload and delete the same content at once; no row may ever be left without its bytes."""
        row, kept, stop = make_file(1), {"there": False}, threading.Event()
        failures: list[str] = []

        def upload(number: int) -> None:
            while not stop.is_set():
                mine = replace(row, file_id=f"file_{number}_{time.monotonic_ns()}")
                kept["there"] = True
                try:
                    database.files.create_file(mine, NO_QUOTA, lambda: kept["there"])
                except ContentMissing:
                    continue
                if not kept["there"]:
                    failures.append(mine.file_id)
                database.files.delete_file(ALICE, mine.file_id, 5)
                database.files.release_content(row.content_sha256, lambda: kept.update(there=False))

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        stop.wait(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []


class BlobSuite:
    """Subclass it in a test module and give the subclass a `blobs` fixture: an empty keeper of bytes."""

    def incoming(self, folder: Path, content: bytes) -> tuple[bytes, Path]:
        path = folder / "incoming"
        path.write_bytes(content)
        return sha256(content).digest(), path

    def test_bytes_come_back_whole(self, blobs: Blobs, tmp_path: Path) -> None:
        content = bytes(range(256)) * (CHUNK_BYTES // 100)
        name, path = self.incoming(tmp_path, content)
        assert not blobs.has(name)
        blobs.place(name, path)
        path.unlink()
        assert blobs.has(name)
        chunks = list(blobs.read(name))
        assert b"".join(chunks) == content
        assert len(chunks) > 1

    def test_what_is_placed_twice_is_there_once(self, blobs: Blobs, tmp_path: Path) -> None:
        name, path = self.incoming(tmp_path, b"the same")
        for _ in range(2):
            blobs.place(name, path)
        assert list(blobs.older_than(time.time() + 60)) == [name]
        assert list(blobs.older_than(time.time() - 3600)) == []

    def test_what_is_removed_is_gone_and_may_be_removed_again(self, blobs: Blobs, tmp_path: Path) -> None:
        name, path = self.incoming(tmp_path, b"short-lived")
        blobs.place(name, path)
        blobs.remove(name)
        blobs.remove(name)
        assert not blobs.has(name)
        with pytest.raises(FileNotFoundError):
            next(blobs.read(name))
