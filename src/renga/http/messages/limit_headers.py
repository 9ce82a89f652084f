"""A key's limits as response headers.

Owns: their names and spelling. Must never know: how limits are kept.

Source: docs/reference/messages-api.md, "Response headers". The `renga-budget-*` headers are our own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from renga.accounting.limits.token_buckets import LimitState
from renga.http.exchange.asgi import Header
from renga.http.exchange.header_values import render_usd


def _names(kind: bytes) -> tuple[bytes, bytes, bytes]:
    prefix = b"anthropic-ratelimit-" + kind
    return prefix + b"-limit", prefix + b"-remaining", prefix + b"-reset"


_REQUESTS, _TOKENS = _names(b"requests"), _names(b"tokens")
_INPUT_TOKENS, _OUTPUT_TOKENS = _names(b"input-tokens"), _names(b"output-tokens")


def render_limits(state: LimitState) -> list[Header]:
    """The headers; what is not limited has none. Cost: about 3 us for all."""
    headers: list[Header] = []
    for (limit, remaining, reset), reading in (
        (_REQUESTS, state.requests),
        (_TOKENS, state.tokens),
        (_INPUT_TOKENS, state.input_tokens),
        (_OUTPUT_TOKENS, state.output_tokens),
    ):
        if reading is not None:
            headers += (
                (limit, b"%d" % reading.limit),
                (remaining, b"%d" % reading.remaining),
                (reset, _render_second(reading.full_s)),
            )
    if state.budget_left_nano_usd is not None:
        headers.append((b"renga-budget-remaining-usd", render_usd(max(0, state.budget_left_nano_usd))))
    if state.warnings:
        headers.append((b"renga-budget-warning", ", ".join(state.warnings).encode()))
    return headers


@lru_cache(maxsize=256)
def _render_second(at_s: int) -> bytes:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")
