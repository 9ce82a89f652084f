"""Workspaces as values: keys that belong together and share limits, batches and files."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from renga.domain.keys import KeyLimits


class WorkspaceRow(Struct, frozen=True):
    """Keys that belong together: they share limits, batches and files."""

    workspace_id: str
    name: str
    created_us: int
    archived_us: int | None = None
    limits: KeyLimits = KeyLimits()
    """On top of its keys' own: a request must fit into both."""


class WorkspaceChange(Struct, frozen=True):
    """New values of a workspace; what is unset stays."""

    name: str | UnsetType = UNSET
    limits: KeyLimits | UnsetType = UNSET
