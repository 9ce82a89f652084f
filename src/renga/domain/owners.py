"""Whose resources these are: a key and, where it has one, its workspace."""

from __future__ import annotations

from msgspec import Struct


class Owner(Struct, frozen=True):
    """Whose batches or files: a key's, and those of every key of its workspace."""

    key_id: str
    workspace_id: str | None = None
