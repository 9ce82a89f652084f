"""Files that clients upload, to name them in requests later.

Owns: their bytes (`blobs.py`, `object_store.py`), the resource over bytes and table (`shelf.py`), and putting a file's
content where a request names it (`inline.py`).
Must never know: HTTP, and which target reads a file.
"""

from __future__ import annotations

from pathlib import Path

from renga.clock import Clock
from renga.config.files import FileSettings
from renga.files.blobs import DiskBlobs
from renga.files.file_service import FileService

__all__ = ["FileService", "open_shelf"]


def open_shelf(settings: FileSettings, folder: Path, clock: Clock) -> FileService:
    """The shelf of the settings. Opens and creates nothing yet.

    Raises: ConfigError if the settings name a bucket that cannot be one.
    """
    if not settings.bucket:
        return FileService(settings, folder, DiskBlobs(folder), clock)
    from renga.files.object_store import open_bucket

    return FileService(settings, folder, open_bucket(settings), clock)
