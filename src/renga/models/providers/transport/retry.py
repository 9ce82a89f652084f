"""Whether and when to ask the same upstream again. Only before the first event: nothing here runs after it.

Owns: the table of what is worth another try, and the waiting between tries.
Must never know: which API is spoken.
Invariants: an upstream's own word (`x-should-retry`, `retry-after`) wins over the table; a wait longer than the cap is
not waited: the error goes on with its `retry_after_s`, and the plan's next target may do better.

A silent upstream (first-byte timeout) is not asked again: its first generation may still run, and a second would double
the load that made it slow.

Source: docs/reference/messages-api.md, "Retries, timeouts and pages".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import TypeVar

from msgspec import Struct

from renga.clock import Clock
from renga.errors import RengaError
from renga.models.providers.transport.upstream_client import UpstreamLost, UpstreamUnreachable

Result = TypeVar("Result")

RETRIED_STATUSES = frozenset({408, 409, 429})
RETRIED_FROM = 500
"""Every status from here on is retried."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
JITTER_RATIO = 0.25
"""Each wait is shortened by up to this share, so that clients that failed together do not return together."""
RETRY_AFTER_CAP_S = 30.0
"""The longest `retry-after` that a request is held for. SDKs wait longer themselves when they get the error."""

_WORDS = {"true": True, "false": False}


class UpstreamRefusal(Exception):
    """An upstream's answer that is an error: what it means here, and what it said about trying again."""

    def __init__(self, error: RengaError, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.headers = headers


RETRIED_FAILURES = (UpstreamRefusal, UpstreamUnreachable, UpstreamLost)
"""What may be worth another try: an answer that is an error, and failures of the transport before an answer began."""


class RetryPolicy(Struct, frozen=True):
    """How often, by which clock, and with which randomness (0 to 1)."""

    max_retries: int
    clock: Clock
    random: Callable[[], float] = SystemRandom().random


async def with_retries(attempt: Callable[[], Awaitable[Result]], policy: RetryPolicy) -> Result:
    """Run an attempt until it succeeds or another try is not worth it.

    Raises: RengaError, the last attempt's.
    """
    tried = 0
    while True:
        try:
            return await attempt()
        except RETRIED_FAILURES as error:
            wait_s = plan_retry(error, tried, policy)
        tried += 1
        await policy.clock.sleep(wait_s)


def plan_retry(error: UpstreamRefusal | RengaError, tried: int, policy: RetryPolicy) -> float:
    """Seconds to wait before the next try, after an attempt that ended in one of `RETRIED_FAILURES`.

    Raises: RengaError, what the failure means for the client, if there is to be no other try.
    """
    if isinstance(error, UpstreamRefusal):
        wait_s, failure = plan_wait(error.status, error.headers, tried, policy), error.error
    else:
        wait_s, failure = plan_wait(None, {}, tried, policy), error
    if wait_s is None:
        raise failure
    return wait_s


def plan_wait(status: int | None, headers: Mapping[str, str], tried: int, policy: RetryPolicy) -> float | None:
    """Seconds to wait before the next try; None when there is to be none. `status` None: the transport failed."""
    if tried >= policy.max_retries or not is_retried(status, headers):
        return None
    asked_s = read_retry_after(headers, policy.clock.now())
    if asked_s is None:
        backoff_s = min(FIRST_WAIT_S * 2**tried, LONGEST_WAIT_S)
        return backoff_s * (1 - JITTER_RATIO * policy.random())
    return asked_s if asked_s <= RETRY_AFTER_CAP_S else None


def is_retried(status: int | None, headers: Mapping[str, str]) -> bool:
    """Whether a failure is worth another try at the same upstream."""
    word = _WORDS.get(headers.get("x-should-retry", "").strip().lower())
    if word is not None:
        return word
    return status is None or status in RETRIED_STATUSES or status >= RETRIED_FROM


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """What an upstream asks to wait, in seconds: `retry-after-ms`, or `retry-after` as seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max((until - now).total_seconds(), 0.0)


def _number(text: str | None) -> float | None:
    """A finite number that is not negative."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
