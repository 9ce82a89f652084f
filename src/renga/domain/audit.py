"""The audit as values: who changed what, and when."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Author(Struct, frozen=True):
    """Who changes something, and at which moment."""

    name: str
    """A key's id, `cli:` and a user's name, or `system`."""
    at_us: int


class AuditRow(Struct, frozen=True):
    """One change that was made, or one request of an administrator."""

    row_number: int
    time_us: int
    actor: str
    action: str
    """As `key.create`, `workspace.archive`, `GET /v1/organizations/api_keys`."""
    subject: str
    """The id of what was changed."""
    detail: dict[str, Any]
    """The new values; never a secret."""


class AuditQuery(Struct, frozen=True):
    """Which entries of the audit to read."""

    limit: int = 100
    before_row: int | None = None
    """Only older ones than this."""
    since_us: int | None = None
    subject: str | None = None
    actor: str | None = None
