"""Uploading, deleting, expiring: what is shown can be read, and what nobody names is gone."""

import asyncio
import os
import stat
from hashlib import sha256

import pytest

from renga.domain.files import FileQuery
from renga.domain.owners import Owner
from renga.errors import ApiError, NotFound
from renga.files.intake import Intake, clear_abandoned

from .conftest import ALICE, BOB, put


async def read(files, row):
    return b"".join([chunk async for chunk in files.read(row)])


async def test_what_is_uploaded_is_private_and_comes_back(files, stored, tmp_path):
    row = await put(files, b"hello", name="hello.txt")
    assert await read(files, await files.find(ALICE, row.file_id)) == b"hello"
    assert (row.size_bytes, row.mime_type, row.content_sha256) == (5, "text/plain", sha256(b"hello").digest())
    (path,) = stored()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folders = [folder for folder in (tmp_path / "files").rglob("*") if folder.is_dir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (tmp_path / "files", *folders)} == {0o700}


async def test_a_large_file_goes_through_in_pieces(files):
    piece = os.urandom(1 << 20)
    async with files.receive(ALICE, 0) as intake:
        for _ in range(20):
            for start in range(0, len(piece), 65536):
                await intake.write(piece[start : start + 65536])
            assert intake._waiting_bytes < 1 << 20
        assert await intake.finish() == sha256(piece * 20).digest()


async def test_an_upload_that_fails_leaves_nothing(files, stored):
    with pytest.raises(RuntimeError):
        async with files.receive(ALICE, 0) as intake:
            await intake.write(b"x" * 2_000_000)
            raise RuntimeError
    assert stored() == []


async def test_the_last_delete_takes_the_bytes_with_it(files, stored):
    first, second = await put(files, b"same"), await put(files, b"same", BOB)
    await files.delete(ALICE, first.file_id)
    assert await read(files, second) == b"same"
    await files.delete(BOB, second.file_id)
    assert stored() == []


async def test_many_uploads_and_deletes_of_the_same_bytes_never_lose_them(files):
    """The oracle: whatever is listed can be read, all the time."""
    stop = asyncio.Event()

    async def churn():
        while not stop.is_set():
            row = await put(files, b"contended")
            assert await read(files, row) == b"contended"
            await files.delete(ALICE, row.file_id)

    async def watch():
        for _ in range(30):
            kept = await put(files, b"contended", BOB)
            assert await read(files, kept) == b"contended"
            await files.delete(BOB, kept.file_id)
        stop.set()

    await asyncio.gather(churn(), churn(), watch())


async def test_bytes_deleted_between_placing_and_writing_the_row_are_refused(files, blobs, monkeypatch):
    place = blobs.place
    monkeypatch.setattr(blobs, "place", lambda name, path: (place(name, path), blobs.remove(name)))
    with pytest.raises(ApiError):
        await put(files, b"unlucky")
    assert await files.list_page(FileQuery(ALICE, files.now_us())) == []


async def test_a_full_disk_is_an_error_and_not_half_a_file(files, blobs, stored, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs, "place", full)
    with pytest.raises(ApiError, match="cannot be read or written"):
        await put(files, b"too much")
    assert stored() == []


async def test_an_expired_file_expires(expiring, clock, stored):
    row = await put(expiring, b"short", expires_in_s=3600)
    await put(expiring, b"long")
    clock.advance(3_601)
    assert await clock.sleeping.get() == 60
    clock.wake.set()
    await clock.sleeping.get()
    assert len(stored()) == 1
    with pytest.raises(NotFound) as raised:
        await expiring.find(ALICE, row.file_id)
    assert raised.value.error_code == "file_expired"


async def test_a_life_may_be_the_settings(files, clock):
    files.settings = type(files.settings)(expire_after_s=60)
    row = await put(files, b"x")
    assert row.expires_us == row.created_us + 60_000_000


async def test_a_cleaning_finds_what_a_killed_server_left(files, clock, blobs, stored, database, tmp_path):
    """Bytes without a row, and half an upload; neither if it is young, for it may just be ending."""
    kept = await put(files, b"named")
    orphan = tmp_path / "orphan"
    orphan.write_bytes(b"orphan")
    blobs.place(sha256(b"orphan").digest(), orphan)
    half = Intake(tmp_path / "files" / "incoming")
    await half.__aenter__()
    assert await files.remove_unnamed() == 0
    assert len(stored()) == 3
    for path in stored():
        os.utime(path, (0, 0))
    assert await files.remove_unnamed() == 1
    assert [path.read_bytes() for path in stored()] == [b"named"]
    assert await read(files, kept) == b"named"
    await half.__aexit__(None, None, None)


async def test_rows_of_what_was_deleted_go_after_a_month(files, clock, database):
    row = await put(files, b"x")
    await files.delete(ALICE, row.file_id)
    clock.advance(29 * 86_400)
    await files.remove_unnamed()
    assert database.files.read_file(ALICE, row.file_id) is not None
    clock.advance(2 * 86_400)
    await files.remove_unnamed()
    assert database.files.read_file(ALICE, row.file_id) is None


async def test_a_workspace_shares_its_files(files):
    mine, ours = Owner("key_a", "wrkspc_1"), Owner("key_c", "wrkspc_1")
    row = await put(files, b"ours", mine)
    assert (await files.find(ours, row.file_id)).file_id == row.file_id
    with pytest.raises(NotFound):
        await files.find(BOB, row.file_id)


def test_nothing_is_cleared_where_nothing_is(tmp_path):
    clear_abandoned(tmp_path / "absent")
