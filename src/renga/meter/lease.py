"""Leases and outcomes: what a request reserved before it ran, and what it settled to. Values."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from renga.meter.account import Hold
from renga.wire.request import ServiceTier
from renga.wire.stream import Usage

Status: TypeAlias = Literal["succeeded", "partial", "failed", "canceled"]
"""partial: an upstream died after the first event. canceled: the client left. Both are billed for what was used."""


class Terms(Struct, frozen=True):
    """What is known of a request before it runs."""

    request_id: str
    key_id: str
    surface: str
    """Where it entered: `messages`, later `batches`, `openai` and so on."""
    requested_model: str
    max_tokens: int
    streamed: bool
    input_bytes: int = 0
    """Of its body: what its input tokens are guessed from."""
    service_tier: ServiceTier = "standard"
    """`batch` pays half."""


class Lease(Struct, frozen=True, eq=False):
    """An open reservation. Every lease is settled exactly once."""

    terms: Terms
    reserved_monotonic_ns: int
    hold: Hold | None = None
    """What it took of its key's limits; None where the key has none."""


class AttemptRecord(Struct, frozen=True):
    """How one attempt ended."""

    target: str
    error_type: str | None
    """None for success, else the error's type."""
    duration_us: int


class Outcome(Struct, frozen=True):
    """What happened, for one ledger row."""

    status: Status
    target: str | None
    tier: str | None
    why: str
    attempts: tuple[AttemptRecord, ...]
    usage: Usage | None
    """None when nothing was generated or counted."""
    stop_reason: str | None
    error_type: str | None
    overhead_us: int
    """Time spent in Renga itself before the winning attempt was sent."""
    first_event_us: int | None
    total_us: int
    mean_logprob: float | None = None
