"""A shelf on a scratch disk, with a clock that is set by hand."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from renga.config import FileSettings
from renga.files import FileShelf
from renga.files.blobs import DiskBlobs
from renga.files.kinds import find_mime_type
from renga.files.shelf import NewFile
from renga.store.database import Database, open_database
from renga.store.file_rows import FileRow
from renga.store.rows import Owner
from renga.testing.clock import SleepingClock

ALICE, BOB = Owner("key_a"), Owner("key_b")


@pytest.fixture
def clock() -> SleepingClock:
    return SleepingClock()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: making one takes as long as a dozen of these tests."""
    path = tmp_path_factory.mktemp("migrated") / "renga.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    with open_database(f"sqlite:///{shutil.copy(migrated, tmp_path)}") as database:
        yield database


@pytest.fixture
def blobs(tmp_path: Path) -> DiskBlobs:
    return DiskBlobs(tmp_path / "files")


@pytest.fixture
def shelf(tmp_path: Path, clock: SleepingClock, database: Database, blobs: DiskBlobs) -> FileShelf:
    shelf = FileShelf(FileSettings(max_inline_bytes=100_000), tmp_path / "files", blobs, clock)
    shelf.opened(database)
    return shelf


async def put(shelf: FileShelf, content: bytes, owner: Owner = ALICE, name: str = "a", **new: int) -> FileRow:
    """Upload something."""
    async with shelf.receive(owner, len(content)) as intake:
        await intake.write(content)
        return await shelf.add(owner, intake, NewFile(name, find_mime_type(intake.head, None, name), **new))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], list[Path]]:
    """Every file below the shelf's folder."""
    return lambda: [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


@pytest.fixture
async def sweeping(shelf: FileShelf) -> AsyncIterator[FileShelf]:
    await shelf.start()
    yield shelf
    await shelf.stop()
