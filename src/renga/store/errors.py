"""How the database fails, without SQLAlchemy."""

from __future__ import annotations

from renga.errors import RengaError


class DatabaseFailed(RengaError):
    """A statement did not happen; its transaction was rolled back."""


class DatabaseAway(DatabaseFailed):
    """The database cannot be reached or is locked; the same statement may succeed later."""


class DatabaseTooNew(DatabaseFailed):
    """A newer Renga has migrated it; this one would misread it."""


class QuotaExceeded(Exception):
    """The owner has no room for this file; nothing was written."""


class ContentMissing(Exception):
    """The bytes that a row was to name are not there; nothing was written."""
