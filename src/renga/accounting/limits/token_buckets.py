"""Token buckets, and what they say of themselves.

Owns: the arithmetic of one limit, and the values that a client is told. Must never know: keys, requests, HTTP.
Invariants: integers only, so nothing drifts; a bucket never holds more than a minute's worth, so within any W seconds
no more than `limit + W / 60 * limit` can be taken; what was taken too much (a prompt that proved longer than it was
taken for) is a debt that is paid by time.

Source: Messages API documentation, rate limits: token buckets that fill continuously, 429 with `retry-after`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from renga.errors import RateLimited

MINUTE_NS = 60_000_000_000
SECOND_NS = 1_000_000_000


AccountKind: TypeAlias = Literal["key", "workspace"]
"""Whose limit it is."""

LimitName: TypeAlias = Literal[
    "requests_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
    "concurrent_requests",
    "budget_held",
    "budget_day",
    "budget_month",
]
"""What may keep a request out. `budget_held`: running requests may spend what is left."""

LIMIT_NAMES: tuple[LimitName, ...] = get_args(LimitName)
"""Of two that take equally long, the first is told."""

RETRY_S = 1.0
"""After a limit that ends when another request does: nobody knows when that will be."""


class Limits(Struct, frozen=True):
    """What one key or one workspace may do. None: no limit."""

    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    budget_nano_usd_per_day: int | None = None
    budget_nano_usd_per_month: int | None = None
    warn_nano_usd_per_day: int | None = None
    warn_nano_usd_per_month: int | None = None

    @property
    def has_budget(self) -> bool:
        """Whether dollars must be known for it."""
        return (
            self.budget_nano_usd_per_day is not None
            or self.budget_nano_usd_per_month is not None
            or self.warn_nano_usd_per_day is not None
            or self.warn_nano_usd_per_month is not None
        )

    @property
    def has_hard_budget(self) -> bool:
        """Whether dollars may keep a request out."""
        return self.budget_nano_usd_per_day is not None or self.budget_nano_usd_per_month is not None


class BucketReading(Struct, frozen=True, gc=False):
    """What one limit a minute says at one moment."""

    limit: int
    remaining: int
    full_s: int
    """When all of it will be there again: seconds since 1970, rounded up."""


class LimitState(Struct, frozen=True):
    """What a client is told of its limits; None for what is not limited."""

    requests: BucketReading | None = None
    input_tokens: BucketReading | None = None
    output_tokens: BucketReading | None = None
    budget_left_nano_usd: int | None = None
    """Until the nearest budget is spent, without what runs at the moment."""
    warnings: tuple[str, ...] = ()
    """The periods whose soft budget is spent: `day`, `month`; a workspace's are `workspace day`, `workspace month`."""

    @property
    def tokens(self) -> BucketReading | None:
        """The limits of input and output tokens, added together."""
        first, second = self.input_tokens, self.output_tokens
        if first is None or second is None:
            return first or second
        return BucketReading(
            first.limit + second.limit, first.remaining + second.remaining, max(first.full_s, second.full_s)
        )


class LimitRefusal(Struct, frozen=True, gc=False):
    """Why a request is kept out: of all limits that have no room, the one that takes longest."""

    kind: AccountKind
    limit: LimitName
    wait_us: int
    """Until there is room; for a spent budget, until its day or month ends."""


def longer(first: LimitRefusal | None, second: LimitRefusal | None) -> LimitRefusal | None:
    """The one that takes longer; the first of two that take equally long."""
    if first is None or second is None:
        return first or second
    return second if second.wait_us > first.wait_us else first


def tightest(first: LimitState, second: LimitState) -> LimitState:
    """Combine the limits of two accounts: of each limit, the one with less left."""
    left, other = first.budget_left_nano_usd, second.budget_left_nano_usd
    if left is None or (other is not None and other < left):
        left = other
    return LimitState(
        _less(first.requests, second.requests),
        _less(first.input_tokens, second.input_tokens),
        _less(first.output_tokens, second.output_tokens),
        left,
        first.warnings + second.warnings,
    )


def _less(first: BucketReading | None, second: BucketReading | None) -> BucketReading | None:
    if first is None or second is None:
        return first or second
    return second if second.remaining < first.remaining else first


class LimitReached(RateLimited):
    """A key or its workspace is at a limit; `state` is what the response's headers say of them."""

    def __init__(self, message: str, state: LimitState, *, retry_after_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)
        self.state = state


class BudgetSpent(LimitReached):
    """A key or its workspace has spent its budget. Nothing is gained by trying again before the period ends, which may
    be weeks away.
    """

    def __init__(self, message: str, state: LimitState, *, retry_after_s: float, hint: str | None = None) -> None:
        super().__init__(message, state, retry_after_s=retry_after_s, hint=hint)
        # Source: docs/reference/messages-api.md, "Errors"; the SDK's class is EnforcedSpendLimitReachedError.
        self.error_code = "enforced_spend_limit_reached"


class TokenBucket:
    """A limit a minute, filled continuously. Cost: each method about 0.2 us.

    Units: the level is in parts of 1 / MINUTE_NS, in which a nanosecond brings exactly `limit`.
    """

    __slots__ = ("_full", "_level", "_seen_ns", "limit")

    def __init__(self, limit: int, now_ns: int, taken: int = 0) -> None:
        self.limit = limit
        self._full = limit * MINUTE_NS
        self._level = self._full - taken
        self._seen_ns = now_ns

    def fit(self, amount: int) -> int:
        """What a request is taken for: one that is larger than the whole bucket waits until it is full."""
        return amount if amount < self.limit else self.limit

    def wait_ns(self, amount: int, now_ns: int) -> int:
        """How long until `amount` can be taken; 0 for now. `amount` fits."""
        self._fill(now_ns)
        missing = amount * MINUTE_NS - self._level
        return -(-missing // self.limit) if missing > 0 else 0

    def take(self, amount: int) -> None:
        """Take it, whether it is there or not. Negative to give back; the surplus runs over."""
        level = self._level - amount * MINUTE_NS
        self._level = level if level < self._full else self._full

    def settle(self, amount: int, now_ns: int) -> None:
        """Correct what was taken by `amount`: more if positive, give back if negative."""
        level = self._level + (now_ns - self._seen_ns) * self.limit
        # Full first, then corrected: what ran over while the request ran does not come back.
        level = (level if level < self._full else self._full) - amount * MINUTE_NS
        self._level = level if level < self._full else self._full
        self._seen_ns = now_ns

    def read(self, now_ns: int, now_us: int) -> BucketReading:
        """What it says now. `now_us` is the same moment since 1970."""
        self._fill(now_ns)
        level = self._level
        full_ns = now_us * 1000 + (self._full - level) // self.limit
        return BucketReading(self.limit, level // MINUTE_NS if level > 0 else 0, -(-full_ns // SECOND_NS))

    def resize(self, limit: int, now_ns: int) -> TokenBucket:
        """A bucket of another size from which as much was taken."""
        self._fill(now_ns)
        return TokenBucket(limit, now_ns, self._full - self._level)

    def _fill(self, now_ns: int) -> None:
        # A request's moment is read before the bucket is made that its key needs: nothing is taken for running back.
        if now_ns <= self._seen_ns:
            return
        level = self._level + (now_ns - self._seen_ns) * self.limit
        self._level = level if level < self._full else self._full
        self._seen_ns = now_ns
