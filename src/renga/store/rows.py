"""What is stored, as values. Times are microseconds since 1970 in UTC, money is nano-dollars, both integers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from msgspec import UNSET, Struct, UnsetType

KeyScope: TypeAlias = Literal["messages", "batches", "files", "usage", "admin"]
"""What a route asks of a key."""
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
DEFAULT_SCOPES: tuple[KeyScope, ...] = ("messages", "batches", "files")
"""Of a key that names none: what a client needs, and nothing of the installation."""

Dimension: TypeAlias = Literal[
    "day", "key", "workspace", "tier", "target", "surface", "status", "policy", "service_tier"
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


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


class Owner(Struct, frozen=True):
    """Whose batches or files: a key's, and those of every key of its workspace."""

    key_id: str
    workspace_id: str | None = None


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


class Author(Struct, frozen=True):
    """Who changes something, and when."""

    name: str
    """A key's id, `cli:` and a user's name, or `system`."""
    at_us: int


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
    """Which entries to read."""

    limit: int = 100
    before_row: int | None = None
    """Only older ones than this."""
    since_us: int | None = None
    subject: str | None = None
    actor: str | None = None


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


class RowQuery(Struct, frozen=True):
    """A page of ledger rows."""

    limit: int
    after_row: int = 0
    """The number of the last row of the page before."""
    since_us: int | None = None
    """Inclusive."""
    until_us: int | None = None
    """Exclusive."""


class RecentQuery(Struct, frozen=True):
    """The newest ledger rows."""

    limit: int
    key_id: str | None = None
    only_failures: bool = False
    """Those that failed or broke off."""


class NumberedRow(Struct, frozen=True):
    """A ledger row and its place in the order of writing."""

    row_number: int
    row: LedgerRow


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
