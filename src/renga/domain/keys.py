"""API keys as values: what a key may do, its limits, and how it changes. Times are microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import UNSET, Struct, UnsetType

KeyScope: TypeAlias = Literal["messages", "batches", "files", "usage", "admin"]
"""What a route asks of a key."""
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
DEFAULT_SCOPES: tuple[KeyScope, ...] = ("messages", "batches", "files")
"""Of a key that names none: what a client needs, and nothing of the installation."""


class KeyLimits(Struct, frozen=True, omit_defaults=True):
    """What a key has of its own, kept as JSON with the key. Unset: as `[limits]` says for every key. None: no limit."""

    requests_per_minute: int | UnsetType | None = UNSET
    input_tokens_per_minute: int | UnsetType | None = UNSET
    output_tokens_per_minute: int | UnsetType | None = UNSET
    concurrent_requests: int | UnsetType | None = UNSET
    budget_nano_usd_per_day: int | UnsetType | None = UNSET
    budget_nano_usd_per_month: int | UnsetType | None = UNSET
    warn_nano_usd_per_day: int | UnsetType | None = UNSET
    warn_nano_usd_per_month: int | UnsetType | None = UNSET


class KeyTerms(Struct, frozen=True, omit_defaults=True):
    """What a key may do and what is kept of it, kept as JSON with the key."""

    scopes: tuple[KeyScope, ...] = ()
    """Empty: `DEFAULT_SCOPES`."""
    tiers: tuple[str, ...] = ()
    """Tiers that it may use; empty: all."""
    response_cache: bool = False
    """Whether its requests may be answered from stored answers of its own."""

    def allows(self, scope: KeyScope) -> bool:
        """Whether a key with these terms may use routes of a scope."""
        scopes = self.scopes or DEFAULT_SCOPES
        return scope in scopes or (scope == "usage" and "admin" in scopes)


class KeyRow(Struct, frozen=True):
    """A key as the server knows it. The secret itself is nowhere."""

    key_id: str
    name: str
    secret_sha256: bytes
    hint: str
    """The secret's last four characters, to recognise it by."""
    created_us: int
    last_used_us: int | None = None
    revoked_us: int | None = None
    limits: KeyLimits = KeyLimits()
    workspace_id: str | None = None
    expires_us: int | None = None
    terms: KeyTerms = KeyTerms()
    disabled_us: int | None = None
    """Since when it does not work for the time being; None: it does."""
    previous_sha256: bytes | None = None
    """The secret before the last rotation, which works until `previous_until_us`."""
    previous_until_us: int | None = None


class KeyChange(Struct, frozen=True):
    """New values of a key; what is unset stays."""

    name: str | UnsetType = UNSET
    limits: KeyLimits | UnsetType = UNSET
    terms: KeyTerms | UnsetType = UNSET
    workspace_id: str | UnsetType | None = UNSET
    expires_us: int | UnsetType | None = UNSET
    disabled_us: int | UnsetType | None = UNSET


class Rotation(Struct, frozen=True):
    """A new secret for a key."""

    secret_sha256: bytes
    hint: str
    previous_until_us: int
    """Until when the secret before works as well."""
