"""What is known of how good answers were, as values. Times are microseconds since 1970 (UTC), money is nano-dollars."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Source: TypeAlias = Literal["shadow", "canary", "feedback"]
"""Where a score came from: a second answer in the background, a candidate beside the incumbent, whoever asked."""
Label: TypeAlias = Literal["kept", "escalated", "unjudged", "failed"]
"""What became of a request that was drawn. `unjudged`: both answered, and nothing here can compare them. `failed`: the
second answer did not come."""


class OutcomeRecord(Struct, frozen=True):
    """One score or pair of scores. The names are the columns."""

    request_id: str
    time_us: int
    key_id: str
    policy: str
    """The policy that decided; for a canary the candidate's target."""
    source: Source
    label: str | None
    """A `Label` for what was drawn; the client's own word for feedback."""
    scores: dict[str, float]
    """Per tier or target, 0 to 1."""
    costs_nano_usd: dict[str, int]
    check_nano_usd: int | None
    evidence: dict[str, float]
    """What was known when the request was kept or handed on, under the names of `routing/outcomes/outcome_file.py`."""
    propensity: float | None
    """The chance with which the request was drawn; None for feedback, which nobody drew."""
    second_nano_usd: int | None = 0
    """What was asked in the background; None: its price is not known. Not part of what the request cost."""
    certificate: str | None = None
    """The seal of the certificate that was in force."""
    small: str | None = None
    """The policy's small tier. Its cost is read from the ledger when the row is written; None: no cost is asked for."""
    top: str | None = None


class Feedback(Struct, frozen=True):
    """What somebody says of an answer."""

    key_id: str
    score: float
    label: str | None
    request_id: str | None = None
    message_id: str | None = None
    """One of the two is given."""


class JudgedRequest(Struct, frozen=True):
    """The request that a feedback was about."""

    request_id: str
    policy: str | None
    judged: str
    """The tier whose answer was judged, or the target where the client had named it."""


class OutcomeQuery(Struct, frozen=True):
    """Which rows of the outcomes to read."""

    sources: tuple[Source, ...] = ("shadow",)
    policy: str | None = None
    since_us: int = 0
    newest: int = 100_000
    """At most so many, the newest."""


class NumberedOutcome(Struct, frozen=True):
    """A row and its place in the table."""

    row_number: int
    record: OutcomeRecord


class RoutedRow(Struct, frozen=True):
    """What a report needs of one request that a policy decided."""

    request_id: str
    time_us: int
    policy: str
    tier: str | None
    target: str | None
    why: str
    kept: bool | None
    escalated_because: str | None
    status: str
    input_tokens: int
    cache_creation_5m_tokens: int
    cache_creation_1h_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_nano_usd: int | None
    check_cost_nano_usd: int | None
    first_event_us: int | None
