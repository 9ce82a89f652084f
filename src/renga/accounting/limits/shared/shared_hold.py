"""What a request has taken of limits that servers share: its arguments to the script, and what the script said.

Must never know: connections. Values and codecs.

Units: what is missing in a bucket is in parts of 1 / MINUTE, in which a microsecond brings exactly `limit`.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct, field

from renga.accounting.limits.account import Hold, left_nano_usd, name_warnings
from renga.accounting.limits.reservation import ReservationRequest, SettledUse
from renga.accounting.limits.shared.valkey_connection import Reply, encode_argument
from renga.accounting.limits.spending import Spent
from renga.accounting.limits.token_buckets import (
    LIMIT_NAMES,
    AccountKind,
    BucketReading,
    LimitRefusal,
    Limits,
    LimitState,
    tightest,
)

MINUTE = 60_000_000
"""Microseconds."""
ARGUMENTS_AN_ACCOUNT = 14
_HEAD = 6
_FIELDS = 7
_KINDS: dict[AccountKind, bytes] = {"key": b"k:", "workspace": b"w:"}


class SharedHoldPart(Struct, eq=False):
    """One account that a request takes from, and its state when it did."""

    kind: AccountKind
    name: str
    subject: bytes
    limits: Limits
    input_tokens: int
    output_tokens: int
    missing: list[int] = field(default_factory=lambda: [0, 0, 0])
    """Of requests, input and output."""
    spent: Spent = Spent(0, 0)
    now_us: int = 0
    """The server's time of day when this was so."""
    at_ns: int = 0
    """Our own clock then."""

    def read(self, now_ns: int) -> LimitState:
        """The limits as this request left them, refilled since; what others took since is not known here."""
        limits, elapsed_us = self.limits, (now_ns - self.at_ns) // 1000
        return LimitState(
            self._read_bucket(0, limits.requests_per_minute, elapsed_us),
            self._read_bucket(1, limits.input_tokens_per_minute, elapsed_us),
            self._read_bucket(2, limits.output_tokens_per_minute, elapsed_us),
            left_nano_usd(limits, self.spent),
            name_warnings(self.kind, limits, self.spent),
        )

    def correct(self, used: SettledUse, nano_usd: int, now_ns: int) -> None:
        """What the script does when the request has ended."""
        limits, elapsed_us = self.limits, (now_ns - self.at_ns) // 1000
        missing = self.missing
        for bucket, limit, amount in (
            (0, limits.requests_per_minute, 0),
            (1, limits.input_tokens_per_minute, used.input_tokens - self.input_tokens),
            (2, limits.output_tokens_per_minute, used.output_tokens - self.output_tokens),
        ):
            rest = max(0, missing[bucket] - elapsed_us * (limit or 0))
            missing[bucket] = max(0, rest + amount * MINUTE)
        self.spent = Spent(self.spent.day + nano_usd, self.spent.month + nano_usd)
        self.now_us += elapsed_us
        self.at_ns += elapsed_us * 1000

    def _read_bucket(self, bucket: int, limit: int | None, elapsed_us: int) -> BucketReading | None:
        if limit is None:
            return None
        missing = max(0, self.missing[bucket] - elapsed_us * limit)
        left = limit * MINUTE - missing
        full_us = self.now_us + elapsed_us + missing // limit
        return BucketReading(limit, max(0, left) // MINUTE, -(-full_us // 1_000_000))


class SharedHold(Struct, eq=False):
    """What a running request has taken, or may have. Part of its lease."""

    reservation: ReservationRequest
    id: bytes
    at_us: int
    """When it came, by our own clock; 0 where no budget is set."""
    parts: tuple[SharedHoldPart, ...]
    nano_usd: int = 0
    input_nano_usd: int = 0
    is_taken: bool = False
    """Whether the script was asked to take it: it may have, and must be told of the end."""
    fallback_hold: Hold | None = None
    """What it took of this server's share, where it came while the others' count was away."""
    now_ns: int = 0
    """When it was last settled or taken; what `read` tells is of then."""

    @property
    def member(self) -> bytes:
        """The entry that stands for this hold among the running requests."""
        return b"%b:%d" % (self.id, self.nano_usd)

    def read(self) -> LimitState:
        """The limits as this request left them; of two accounts, the tighter."""
        if self.fallback_hold is not None:
            return self.fallback_hold.read()
        states = [part.read(self.now_ns) for part in self.parts]
        return states[0] if len(states) == 1 else tightest(states[0], states[1])

    def encode(self, part: SharedHoldPart, before: Spent) -> bytes:
        """The arguments of one account, as the reserving script reads them."""
        return b"".join(
            (
                _encode_limits(part.subject, part.limits),
                b"$1\r\n0\r\n" if self.reservation.is_batch or not part.limits.requests_per_minute else b"$1\r\n1\r\n",
                *map(
                    _encode_number,
                    (part.input_tokens, part.output_tokens, self.nano_usd, before.day, before.month),
                ),
            )
        )

    def take(self, reply: list[Reply], now_ns: int) -> LimitRefusal | None:
        """Note what the script said. Returns what keeps the request out, if anything does."""
        numbers = [value for value in reply if isinstance(value, int)]
        now_us, refusing, limit, wait_us = numbers[2:_HEAD]
        self.now_ns = now_ns
        for index, part in enumerate(self.parts):
            at = _HEAD + index * _FIELDS
            part.missing = numbers[at : at + 3]
            part.spent = Spent(numbers[at + 3], numbers[at + 4])
            part.now_us, part.at_ns = now_us, now_ns
        if not refusing:
            return None
        return LimitRefusal(self.parts[refusing - 1].kind, LIMIT_NAMES[limit - 1], wait_us)

    def correct(self, used: SettledUse, nano_usd: int, now_ns: int) -> None:
        """Correct what `read` tells to what the request used."""
        self.now_ns = now_ns
        if self.fallback_hold is None:
            for part in self.parts:
                part.correct(used, nano_usd, now_ns)

    def encode_end(self, part: SharedHoldPart, used: SettledUse) -> bytes:
        """The entry of a report that says it has ended. What was not taken there is not corrected there."""
        is_corrected = self.fallback_hold is None and not self.reservation.is_batch
        limits = part.limits
        return b"".join(
            (
                b"$1\r\nS\r\n",
                encode_argument(part.subject),
                encode_argument(self.member),
                *map(
                    _encode_number,
                    (
                        used.input_tokens - part.input_tokens if is_corrected else 0,
                        used.output_tokens - part.output_tokens if is_corrected else 0,
                        limits.requests_per_minute or 0,
                        limits.input_tokens_per_minute or 0,
                        limits.output_tokens_per_minute or 0,
                    ),
                ),
            )
        )

    def encode_open(self, part: SharedHoldPart) -> bytes:
        """The entry that says it still runs."""
        return b"$1\r\nO\r\n" + encode_argument(part.subject) + encode_argument(self.member)


def make_parts(reservation: ReservationRequest) -> tuple[SharedHoldPart, ...]:
    """The accounts that a request takes from."""
    both: tuple[tuple[AccountKind, str, Limits | None], ...] = (
        ("key", reservation.key_id, reservation.limits),
        ("workspace", reservation.workspace_id, reservation.workspace_limits),
    )
    return tuple(
        [
            SharedHoldPart(
                kind,
                name,
                name_subject(kind, name),
                limits,
                _fit(reservation, reservation.input_tokens, limits.input_tokens_per_minute),
                _fit(reservation, reservation.max_tokens, limits.output_tokens_per_minute),
            )
            for kind, name, limits in both
            if limits is not None
        ]
    )


def name_subject(kind: AccountKind, name: str) -> bytes:
    """A key or workspace, as the scripts know it."""
    return _KINDS[kind] + name.encode()


def _fit(reservation: ReservationRequest, tokens: int, limit: int | None) -> int:
    """What is taken: one that is larger than the whole bucket waits until it is full."""
    return 0 if limit is None or reservation.is_batch else min(tokens, limit)


def _encode_number(number: int) -> bytes:
    return encode_argument(b"%d" % number)


@lru_cache(maxsize=4096)
def _encode_limits(subject: bytes, limits: Limits) -> bytes:
    """What stays the same from request to request."""
    day, month = limits.budget_nano_usd_per_day, limits.budget_nano_usd_per_month
    numbers = (
        limits.requests_per_minute or 0,
        limits.input_tokens_per_minute or 0,
        limits.output_tokens_per_minute or 0,
        limits.concurrent_requests or 0,
        -1 if day is None else day,
        -1 if month is None else month,
        int(limits.has_budget),
    )
    return encode_argument(subject) + b"".join(map(_encode_number, numbers))
