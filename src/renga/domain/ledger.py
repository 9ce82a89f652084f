"""The ledger's rows as values, and questions for them. Times are microseconds since 1970 in UTC, money is integer
nano-dollars.
"""

from __future__ import annotations

from msgspec import Struct


class AttemptRow(Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt of a request, kept as JSON in its ledger row."""

    target: str
    error_type: str | None
    duration_us: int
    role: str = "answer"
    """`answer`, `second` (to compare with) or `judge`."""
    input_tokens: int = 0
    """The four input classes are disjoint, as in the row."""
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = 0
    """Its part of the row's cost; None: its price is not known."""


class LedgerRow(Struct, frozen=True):
    """One request. Written once, never changed. The names are the columns."""

    request_id: str
    time_us: int
    """When it was settled."""
    key_id: str
    surface: str
    requested_model: str
    target: str | None
    tier: str | None
    why: str
    attempts: tuple[AttemptRow, ...]
    status: str
    error_type: str | None
    stop_reason: str | None
    input_tokens: int
    """Uncached. The four input classes are disjoint; their sum is the prompt."""
    cache_creation_5m_tokens: int
    cache_creation_1h_tokens: int
    cache_read_tokens: int
    output_tokens: int
    """Thinking included."""
    thinking_tokens: int
    cost_nano_usd: int | None
    """None: the price is not known. A price of nothing is 0."""
    price_source: str | None
    """Where the price came from, with its date: `genai-prices 0.2.3`, `renga.toml`."""
    overhead_us: int
    first_event_us: int | None
    total_us: int
    mean_logprob: float | None
    streamed: bool
    workspace_id: str | None = None
    service_tier: str | None = None
    """`batch` for requests at half price; None for the others."""
    policy: str | None = None
    """The routing policy that decided; None where the client chose a tier or a target itself."""
    triage_score: float | None = None
    """What triage thought of the prompt; higher is harder."""
    confidence: float | None = None
    """That the small tier's answer was good enough, as its check found; None where nothing was checked."""
    check_cost_nano_usd: int | None = None
    """Part of the cost: second answers, judgements and answers that were not accepted."""
    kept: bool | None = None
    """Whether the small tier's answer was accepted; None where no policy decided or nothing came of it."""
    escalated_because: str | None = None
    """The check's reason, as `structural:not_empty`; None where the answer was kept."""
    message_id: str | None = None
    """Of the answer, so that whoever got it can judge it (`POST /v1/feedback`)."""


class RowQuery(Struct, frozen=True):
    """Which page of ledger rows to read, oldest first."""

    limit: int
    after_row: int = 0
    """The number of the last row of the page before."""
    since_us: int | None = None
    """Inclusive."""
    until_us: int | None = None
    """Exclusive."""


class RecentQuery(Struct, frozen=True):
    """Which of the newest ledger rows to read."""

    limit: int
    key_id: str | None = None
    only_failures: bool = False
    """Those that failed or broke off."""


class NumberedRow(Struct, frozen=True):
    """A ledger row and its place in the order of writing."""

    row_number: int
    row: LedgerRow
