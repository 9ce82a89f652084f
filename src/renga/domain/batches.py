"""What is stored of message batches, as values. Times are microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from renga.domain.ledger import LedgerRow

RequestOutcome: TypeAlias = Literal["succeeded", "errored", "canceled", "expired"]


class BatchTerms(Struct, frozen=True, omit_defaults=True):
    """What holds for every request of a batch, kept as JSON with it."""

    version: str
    betas: tuple[str, ...] = ()
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    tiers: tuple[str, ...] = ()
    """That the key may use; empty: all."""
    response_cache: bool = False
    """Whether its key wants answers that were given before."""


class BatchRow(Struct, frozen=True):
    """A batch. The names are the columns."""

    batch_id: str
    key_id: str
    workspace_id: str | None
    created_us: int
    expires_us: int
    terms: BatchTerms
    request_count: int = 0
    sealed_us: int | None = None
    """None while its requests still come in."""
    cancel_initiated_us: int | None = None
    ended_us: int | None = None
    archived_us: int | None = None
    """When its results were deleted because of their age."""
    deleted_us: int | None = None
    succeeded: int | None = None
    """This and the other counts are None until it has ended."""
    errored: int | None = None
    canceled: int | None = None
    expired: int | None = None


class OpenBatches(Struct, frozen=True):
    """What is still to be done, of all owners."""

    batches: int
    requests: int
    """Without an outcome."""
    expires_us: int | None
    """When the first of them does."""


class NewRequest(Struct, frozen=True):
    """One request as it comes in."""

    position: int
    custom_id: str
    prefix: bytes
    """Hashes of what it begins with, coarse first: requests that share a prefix are neighbours in this order."""
    params: bytes


class OpenRequest(Struct, frozen=True):
    """One request that has no outcome yet."""

    position: int
    custom_id: str
    params: bytes


class Finished(Struct, frozen=True):
    """How one request of a batch ended, with its ledger row."""

    batch_id: str
    position: int
    outcome: RequestOutcome
    result: bytes
    """What the line of the results says of it, as JSON."""
    ended_us: int
    ledger_row: LedgerRow | None = None
    """Written in the same transaction, or not at all."""


class StoredResult(Struct, frozen=True):
    """One request's outcome, as it is kept."""

    position: int
    custom_id: str
    outcome: RequestOutcome
    result: bytes | None
    """None for those that never ran."""


class BatchPage(Struct, frozen=True):
    """A page of an owner's batches, newest first."""

    rows: tuple[BatchRow, ...]
    has_more: bool


class PageQuery(Struct, frozen=True):
    """Which page of an owner's batches is asked for."""

    limit: int
    after_id: str | None = None
    """Only those that follow this one in the list, so older ones."""
    before_id: str | None = None
    """Only those that precede it."""
