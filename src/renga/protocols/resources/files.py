"""Files as the Files resource shows them.

Owns: the shapes, and the cursor of a page. Must never know: where files are kept.

Source: docs/reference/messages-api.md, "Files"; the Python SDK 2.11.0, `resources/files.py`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Literal

from msgspec import Struct

_PREFIX = "page_"


class FileMetadata(Struct, frozen=True):
    """One file. Every field is always there; null where there is nothing to say."""

    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_at: datetime
    downloadable: bool
    expires_at: datetime | None
    type: Literal["file"] = "file"


class FilePage(Struct, frozen=True):
    """A page of files, for clients that follow `next_page` and for those that follow `last_id`."""

    data: tuple[FileMetadata, ...]
    next_page: str | None
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedFile(Struct, frozen=True):
    """What the API answers when a file was deleted."""

    id: str
    type: Literal["file_deleted"] = "file_deleted"


def encode_cursor(created_us: int, file_id: str) -> str:
    """A page's cursor: the place of its last file, so that it holds when that file is deleted."""
    return _PREFIX + urlsafe_b64encode(f"{created_us}:{file_id}".encode()).rstrip(b"=").decode()


def decode_cursor(text: str) -> tuple[int, str] | None:
    """The place that a cursor names; None for what is no cursor."""
    if not text.startswith(_PREFIX):
        return None
    coded = text[len(_PREFIX) :]
    try:
        created, colon, file_id = urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode("ascii").partition(":")
    except ValueError:
        return None
    return (int(created), file_id) if colon and created.isdecimal() and len(created) < 19 else None
