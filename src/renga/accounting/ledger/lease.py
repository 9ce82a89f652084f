"""Leases and outcomes: what a request reserved before it ran, and what it settled to, as plain values."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from renga.accounting.limits.account import Hold
from renga.accounting.limits.shared.shared_hold import SharedHold
from renga.domain.reasons import Reasons
from renga.protocols.messages.events.event_types import Message, Usage
from renga.protocols.messages.inference_request import InferenceRequest

Status: TypeAlias = Literal["succeeded", "partial", "failed", "canceled"]
"""partial: an upstream died after the first event. canceled: the client left. Both are billed for what was used."""


Role: TypeAlias = Literal["answer", "second", "judge"]
"""What an attempt was for: to answer the request, to be compared with the answer, or to grade it."""


class Lease(Struct, frozen=True, eq=False):
    """An open reservation. Every lease is settled exactly once."""

    request: InferenceRequest
    reserved_monotonic_ns: int
    hold: Hold | SharedHold | None = None
    """What it took of its key's limits; None where the key has none."""


class AttemptRecord(Struct, frozen=True):
    """How one attempt at a target ended, and what it used."""

    target: str
    error_type: str | None
    """None for success, else the error's type."""
    duration_us: int
    role: Role = "answer"
    usage: Usage | None = None
    """What it used, where it said so."""
    abandoned: bool = False
    """It was stopped on our side before it had said what it used."""
    was_sent: bool = True
    """False for a target that was passed over, which `error_type` says why."""


class RequestOutcome(Struct, frozen=True):
    """What happened, for one ledger row."""

    status: Status
    target: str | None
    tier: str | None
    reasons: Reasons
    """Why this target answered, and what was found on the way."""
    attempts: tuple[AttemptRecord, ...]
    usage: Usage | None
    """Of the answer that the client gets; None when nothing was generated or counted."""
    stop_reason: str | None
    error_type: str | None
    overhead_us: int
    """Time spent in Renga itself before the winning attempt was sent."""
    first_event_us: int | None
    total_us: int
    mean_logprob: float | None = None
    winner: int | None = -1
    """Which of the attempts `usage` belongs to; the others carry their own. None: it belongs to none."""
    policy: str | None = None
    """The routing policy that decided; None where the client chose a tier or a target itself."""
    triage_score: float | None = None
    confidence: float | None = None
    """That the small tier's answer was good enough, as its check found; None where nothing was checked."""
    check_cost_nano_usd: int | None = None
    """Filled by the ledger, which prices the attempts."""
    kept: bool | None = None
    """Whether the small tier's answer was accepted; None where no policy decided or nothing came of it."""
    escalated_because: str | None = None
    """What a check found, as `structural:not_empty`, or why the small tier did not answer; None where it was kept. For
    people and for counting: `reasons` says the same as values."""
    agreement: float | None = None
    """The share of agreement with second answers; None where there were none."""
    message_id: str | None = None
    """As the client got it; None where nothing came."""
    rejected: Message | None = None
    """The answer that was not accepted, where another took its place: to be compared with it, and never stored."""
