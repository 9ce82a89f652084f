"""What is stored of files, as values. Times are microseconds since 1970 in UTC."""

from __future__ import annotations

from msgspec import Struct

from renga.domain.owners import Owner


class FileRow(Struct, frozen=True):
    """An uploaded file without its bytes. The names are the columns."""

    file_id: str
    key_id: str
    workspace_id: str | None
    created_us: int
    expires_us: int | None
    deleted_us: int | None
    filename: str
    mime_type: str
    size_bytes: int
    content_sha256: bytes
    """Names the bytes, which several files may share."""
    downloadable: bool
    """Whether its owner may have the bytes back: for files that were generated here."""


class FileCount(Struct, frozen=True):
    """How much is kept, of all owners."""

    files: int
    total_bytes: int
    """By what files say of their size; the same bytes twice are kept once."""


class FileQuery(Struct, frozen=True):
    """Which files to list, newest first."""

    owner: Owner
    now_us: int
    """Files that expired by then are not listed."""
    limit: int = 20
    older_than: tuple[int, str] | None = None
    """Only what comes after this file in the list: its `created_us` and `file_id`."""
    newer_than: tuple[int, str] | None = None
    """Only what comes before it; the nearest ones."""
    file_ids: tuple[str, ...] | None = None
    """Only these."""


class FileQuota(Struct, frozen=True):
    """How much an owner may keep. A workspace counts as one owner. None: no limit."""

    max_bytes: int | None
    max_files: int | None
