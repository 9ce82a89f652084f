"""Files that clients upload, to name them in requests later.

Owns: their bytes (`blobs.py`, `object_store.py`), the resource over bytes and table (`file_service.py`), and putting a
file's content where a request names it (`file_inlining.py`).
Must never know: HTTP, and which target reads a file.
"""

from __future__ import annotations

from pathlib import Path

from renga.clock import Clock
from renga.config.files import FileSettings
from renga.files.blobs import DiskBlobs
from renga.files.file_service import FileService
from renga.store.database_handle import DatabaseHandle

__all__ = ["FileService", "open_file_service"]


def open_file_service(settings: FileSettings, folder: Path, clock: Clock, database: DatabaseHandle) -> FileService:
    """The files of an installation as the settings have them. Opens and creates nothing yet.

    Raises: ConfigError if the settings name a bucket that cannot be one.
    """
    if not settings.bucket:
        return FileService(settings, folder, DiskBlobs(folder), clock, database)
    from renga.files.object_store import open_bucket

    return FileService(settings, folder, open_bucket(settings), clock, database)
