"""Sums over the ledger as values: which requests are added up, by what, and what came out."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

Dimension: TypeAlias = Literal[
    "day", "key", "workspace", "tier", "target", "surface", "status", "policy", "service_tier"
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
ReportDimension: TypeAlias = Literal["api_key_id", "workspace_id", "model", "service_tier", "context_window"]


class ReportQuery(Struct, frozen=True):
    """Which requests to add up in slices of time, and by what."""

    start_us: int
    """Inclusive; the start of a slice."""
    end_us: int
    """Exclusive."""
    width_us: int
    by: tuple[ReportDimension, ...] = ()
    filters: tuple[tuple[ReportDimension, tuple[str, ...]], ...] = ()
    """Dimensions and the values to keep."""


class ReportRow(Struct, frozen=True):
    """Sums over one group of requests in one slice of time."""

    start_us: int
    group: tuple[str | None, ...]
    """The values of `ReportQuery.by`, in its order."""
    input_tokens: int
    cache_creation_5m_tokens: int
    cache_creation_1h_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_nano_usd: int
    """Of the requests whose price is known."""
    requests: int
    unpriced: int


class UsageQuery(Struct, frozen=True):
    """Which requests to add up, and by what."""

    by: tuple[Dimension, ...] = ("day", "key", "tier", "target")
    since_us: int | None = None
    """Inclusive."""
    until_us: int | None = None
    """Exclusive."""
    key_id: str | None = None
    workspace_id: str | None = None
    target: str | None = None
    """One target, or all of a provider's as `anthropic/*`."""


class UsageRow(Struct, frozen=True):
    """Sums over one group of requests."""

    group: tuple[str | None, ...]
    """The values of `UsageQuery.by`, in its order. Days as 2026-11-21, in UTC."""
    requests: int
    failures: int
    input_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    cost_nano_usd: int
    """Of the requests whose price is known."""
    unpriced: int
    """Requests whose price is not known; not part of the cost."""
