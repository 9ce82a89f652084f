"""A file service on a scratch disk, with a clock that is set by hand."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from renga.config import FileSettings
from renga.domain.files import FileRow
from renga.domain.owners import Owner
from renga.files import FileService
from renga.files.blobs import DiskBlobs
from renga.files.file_service import NewFile
from renga.files.media_types import find_mime_type
from renga.store.database import Database, open_database
from renga.store.database_handle import DatabaseHandle
from renga.testing.fake_clock import SleepingClock

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
def handle(database: Database) -> DatabaseHandle:
    handle = DatabaseHandle()
    handle.open(database)
    return handle


@pytest.fixture
def files(tmp_path: Path, clock: SleepingClock, handle: DatabaseHandle, blobs: DiskBlobs) -> FileService:
    return FileService(FileSettings(max_inline_bytes=100_000), tmp_path / "files", blobs, clock, handle)


async def put(files: FileService, content: bytes, owner: Owner = ALICE, name: str = "a", **new: int) -> FileRow:
    """Upload something."""
    async with files.receive(owner, len(content)) as intake:
        await intake.write(content)
        return await files.add(owner, intake, NewFile(name, find_mime_type(intake.head, None, name), **new))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], list[Path]]:
    """Every file below the service's folder."""
    return lambda: [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


@pytest.fixture
async def expiring(files: FileService) -> AsyncIterator[FileService]:
    await files.start()
    yield files
    await files.stop()
