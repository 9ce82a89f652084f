"""A key's limits as response headers.

Owns: their names and spelling. Must never know: how limits are kept.

Source: messages-api notes, section 1.10 (`anthropic-ratelimit-*`, resets as RFC 3339; all twelve seen in a recording).
The `renga-budget-*` headers are our own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from renga.http.exchange import Header
from renga.meter.limits import LimitState, Reading

_NANO = 1_000_000_000


def render_limits(state: LimitState) -> list[Header]:
    """The headers; what is not limited has none. Cost: about 3 us for all."""
    headers: list[Header] = []
    for prefix, reading in (
        (b"anthropic-ratelimit-requests-", state.requests),
        (b"anthropic-ratelimit-tokens-", state.tokens),
        (b"anthropic-ratelimit-input-tokens-", state.input_tokens),
        (b"anthropic-ratelimit-output-tokens-", state.output_tokens),
    ):
        if reading is not None:
            headers += _render_reading(prefix, reading)
    if state.budget_left_nano_usd is not None:
        headers.append((b"renga-budget-remaining-usd", render_usd(max(0, state.budget_left_nano_usd))))
    if state.warnings:
        headers.append((b"renga-budget-warning", ", ".join(state.warnings).encode()))
    return headers


def render_usd(nano_usd: int) -> bytes:
    """Nano-dollars as decimal dollars, exactly."""
    dollars, nano = divmod(nano_usd, _NANO)
    return b"%d.%09d" % (dollars, nano)


def _render_reading(prefix: bytes, reading: Reading) -> tuple[Header, Header, Header]:
    return (
        (prefix + b"limit", b"%d" % reading.limit),
        (prefix + b"remaining", b"%d" % reading.remaining),
        (prefix + b"reset", _render_second(reading.full_s)),
    )


@lru_cache(maxsize=256)
def _render_second(at_s: int) -> bytes:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")
