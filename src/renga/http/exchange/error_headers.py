"""Headers of an error that mean the same to the clients of every format.

Owns: when to come again, how to authenticate. Must never know: a format's own names for them, or bodies.
"""

from __future__ import annotations

import math

from renga.accounting.limits.token_buckets import BudgetSpent, LimitReached
from renga.errors import Overloaded, RateLimited, RengaError, Unauthenticated
from renga.http.exchange.asgi import Header

_RETRY_AFTER_S = 1.0
"""What a client is told when nobody knows better."""


def find_retry_after_s(error: RengaError) -> float | None:
    """After how many seconds it is worth while to ask again; None where waiting is of no use."""
    if error.retry_after_s is None and isinstance(error, RateLimited | Overloaded):
        return _RETRY_AFTER_S
    return error.retry_after_s


def render_error_headers(error: RengaError) -> list[Header]:
    """The headers of HTTP itself, and those of the SDKs that are generated with Stainless: Anthropic's and OpenAI's."""
    headers: list[Header] = []
    retry_after_s = find_retry_after_s(error)
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
        if isinstance(error, LimitReached):
            # SDKs prefer it, and so wait no longer than they must.
            headers.append((b"retry-after-ms", b"%d" % math.ceil(retry_after_s * 1000)))
    if isinstance(error, BudgetSpent):
        # SDKs would otherwise sleep until the next day or month: they obey any retry-after.
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
