"""A plan: the ordered attempts for a request, and why. Pure values."""

from __future__ import annotations

from msgspec import Struct

from renga.providers.base import Target, Tier


class Attempt(Struct, frozen=True):
    """One try of one target."""

    target: Target
    tier: Tier | None
    """None when the client named the target itself."""


class Plan(Struct, frozen=True):
    attempts: tuple[Attempt, ...]
    why: str
    """Short and machine-readable, as `tier:haiku`, for the ledger and the `renga-plan` header."""
    echo_model: str
    """What the client finds in `message.model`; "" for the name of whichever target answers."""
