"""Refusals in words.

Owns: the errors that a client gets for a limit or a budget. Must never know: how limits are kept.
"""

from __future__ import annotations

from datetime import UTC, datetime

from renga.accounting.limits.token_buckets import (
    AccountKind,
    BudgetSpent,
    LimitReached,
    LimitRefusal,
    Limits,
    LimitState,
)

_NANO = 1_000_000_000
_ACCOUNT_KINDS: dict[AccountKind, str] = {"key": "This key", "workspace": "This key's workspace"}


def render_refusal(refusal: LimitRefusal, limits: Limits, state: LimitState, now_us: int) -> LimitReached:
    """The error for a refusal. `limits` are those of the account that refused, `state` is that of all."""
    who, wait_s = _ACCOUNT_KINDS[refusal.kind], refusal.wait_us / 1_000_000
    match refusal.limit:
        case "budget_day" | "budget_month":
            period = "day" if refusal.limit == "budget_day" else "month"
            budget = limits.budget_nano_usd_per_day if period == "day" else limits.budget_nano_usd_per_month
            return BudgetSpent(
                f"{who} has spent its budget of {render_usd(budget or 0)} a {period}.",
                state,
                retry_after_s=wait_s,
                hint=f"the next {period} begins at {_render_time(now_us + refusal.wait_us)}",
            )
        case "budget_held":
            named = "the budget that is left, which running requests may spend"
        case "concurrent_requests":
            named = f"{limits.concurrent_requests} concurrent requests"
        case _:
            named = f"{getattr(limits, refusal.limit):,} {refusal.limit.replace('_', ' ')}"
    return LimitReached(f"{who} has reached its limit: {named}.", state, retry_after_s=wait_s)


def render_usd(nano_usd: int) -> str:
    """Nano-dollars as people read dollars: `$5.00`, `$0.0225`."""
    whole, nano = divmod(nano_usd, _NANO)
    digits = f"{nano:09d}".rstrip("0")
    return f"${whole:,}.{digits:0<2}"


def _render_time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
