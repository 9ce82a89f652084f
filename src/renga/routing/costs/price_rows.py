"""Prices as the router's plans need them: a target's row from the dated price table.

Owns: turning one into the other, once a target and day.
Must never know: requests.
"""

from __future__ import annotations

from renga.accounting.pricing.price_book import Price, PriceBook
from renga.clock import Clock
from renga.routing.costs.cost_model import PriceRow, PriceStep

_MILLION = 1_000_000
_FRESH_NS = 3_600 * 1_000_000_000
"""A row is asked for anew after an hour, for prices change with the day."""


class PriceRows:
    """Rows by target. On the event loop's thread."""

    def __init__(self, prices: PriceBook, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock
        self._rows: dict[str, PriceRow | None] = {}
        self._stale_ns = 0

    def row(self, target: str) -> PriceRow | None:
        """A target's prices today; None where they are not known."""
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._stale_ns or len(self._rows) > 4096:
            self._rows.clear()
            self._stale_ns = now_ns + _FRESH_NS
        if target not in self._rows:
            price = self._prices.find(target, int(self._clock.now().timestamp() * _MILLION))
            self._rows[target] = None if price is None else render_row(target, price)
        return self._rows[target]


def render_row(target: str, price: Price) -> PriceRow:
    """A price as steps of prompt length, rounded to whole nano-dollars a token: enough to compare plans, and not what
    is billed.
    """
    ends = [rate.above_tokens for rate in price.rates[1:]]
    return PriceRow(
        target,
        tuple(
            PriceStep(
                up_to,
                _each(rate.input),
                _each(rate.output),
                _each(rate.cache_read),
                _each(rate.cache_creation_5m),
                _each(rate.cache_creation_1h),
            )
            for rate, up_to in zip(price.rates, [*ends, None], strict=True)
        ),
    )


def _each(nano_usd_per_million: int) -> int:
    return (nano_usd_per_million + _MILLION // 2) // _MILLION
