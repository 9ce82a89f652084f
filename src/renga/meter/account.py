"""One key's limits and budgets, as its requests come and go.

Owns: what is taken on arrival, held while a request runs, and corrected when it has ended.
Must never know: where limits are set, HTTP, SQL.
Invariants: a request takes from every bucket or from none; when all holds are settled, nothing runs and nothing is
held; a key's dollars are over its budget by at most the last request that was let in, as long as a prompt has at least
`_BYTES_A_TOKEN_MIN` bytes a token. Everything runs on the event loop's thread.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from msgspec import Struct

from renga.clock import Clock
from renga.errors import PermissionDenied
from renga.meter.limits import SECOND_NS, Bucket, BudgetSpent, LimitReached, Limits, LimitState
from renga.meter.metrics import Metrics
from renga.meter.prices import Price
from renga.meter.spending import Spending, Spent

_log = logging.getLogger("renga.limits")

_BYTES_A_TOKEN = 4
"""For the limits: about what English text has. Corrected to the truth when the request has ended."""
_BYTES_A_TOKEN_MIN = 2
"""For the budgets, which must rather hold too much: what dense code, digits and most other languages have."""
_CONCURRENCY_RETRY_S = 1.0
"""Nobody knows when another request ends."""
_NANO = 1_000_000_000


class Desk(Struct, frozen=True):
    """What all accounts share."""

    clock: Clock
    spending: Spending
    metrics: Metrics


class Hold(Struct, eq=False):
    """What a running request has taken of its key's limits. Part of its lease."""

    account: Account
    input_bytes: int
    max_tokens: int
    input_tokens: int
    output_tokens: int
    at_us: int
    turn: int
    """Of the account's dollars: still the same, nobody has held or spent any since."""
    nano_usd: int = 0
    input_nano_usd: int = 0

    def read(self) -> LimitState:
        """The key's limits as they are now."""
        return self.account.read()


class Account:
    """A key with limits."""

    __slots__ = (
        "_desk",
        "_has_budget",
        "_held_nano_usd",
        "_input",
        "_key_id",
        "_output",
        "_requests",
        "_running",
        "_turn",
        "_warned",
        "limits",
    )

    def __init__(self, key_id: str, limits: Limits, desk: Desk) -> None:
        self._key_id = key_id
        self._desk = desk
        self._requests: Bucket | None = None
        self._input: Bucket | None = None
        self._output: Bucket | None = None
        self._running = 0
        self._held_nano_usd = 0
        self._turn = 0
        self._warned: dict[str, int] = {}
        self.apply(limits)

    @property
    def running(self) -> int:
        """Requests that run now."""
        return self._running

    @property
    def held_nano_usd(self) -> int:
        """Dollars set aside for requests that run now."""
        return self._held_nano_usd

    def apply(self, limits: Limits) -> None:
        """Change the limits; what was taken stays taken."""
        now_ns = self._desk.clock.monotonic_ns()
        self.limits = limits
        self._has_budget = limits.has_budget
        self._requests = _resize(self._requests, limits.requests_per_minute, now_ns)
        self._input = _resize(self._input, limits.input_tokens_per_minute, now_ns)
        self._output = _resize(self._output, limits.output_tokens_per_minute, now_ns)
        # What was spent before may be past them already.
        self._warn()

    def reserve(self, input_bytes: int, max_tokens: int) -> Hold:
        """Take what a request is expected to need.

        Raises: LimitReached, BudgetSpent; nothing is taken then.
        Cost: about 2 us with every limit set.
        """
        limits = self.limits
        if limits.concurrent_requests is not None and self._running >= limits.concurrent_requests:
            named = f"{limits.concurrent_requests} concurrent requests"
            raise self._refuse("concurrent_requests", named, _CONCURRENCY_RETRY_S)
        at_us = self._check_budgets() if self._has_budget else 0
        now_ns = self._desk.clock.monotonic_ns()
        requests, entering, leaving = self._requests, self._input, self._output
        input_tokens = 1 + input_bytes // _BYTES_A_TOKEN
        taken_in = 0 if entering is None else entering.fit(input_tokens)
        taken_out = 0 if leaving is None else leaving.fit(max_tokens)
        request_ns = 0 if requests is None else requests.wait_ns(1, now_ns)
        input_ns = 0 if entering is None else entering.wait_ns(taken_in, now_ns)
        output_ns = 0 if leaving is None else leaving.wait_ns(taken_out, now_ns)
        if request_ns or input_ns or output_ns:
            raise self._refuse_rate(request_ns, input_ns, output_ns)
        if requests is not None:
            requests.take(1)
        if entering is not None:
            entering.take(taken_in)
        if leaving is not None:
            leaving.take(taken_out)
        self._running += 1
        return Hold(self, input_bytes, max_tokens, taken_in, taken_out, at_us, self._turn)

    def hold_price(self, hold: Hold, prices: dict[str, Price | None]) -> None:
        """Set aside what a request may cost at most, whichever of its targets answers.

        Raises: BudgetSpent, LimitReached if requests that came in between leave nothing; PermissionDenied if a budget
                is set and a price is not known. The hold is as it was, and still to be settled.
        """
        limits = self.limits
        if hold.turn != self._turn:
            self._check_budgets()
        input_tokens = 1 + hold.input_bytes // _BYTES_A_TOKEN_MIN
        most, most_input = 0, 0
        for target, price in prices.items():
            if price is None:
                if limits.budget_nano_usd_per_day is None and limits.budget_nano_usd_per_month is None:
                    continue
                raise PermissionDenied(
                    f"This key has a budget in dollars, and {target} has no known price.",
                    hint=f'set [prices."{target}"] in renga.toml, 0 if it costs nothing',
                )
            most_input = max(most_input, price.most_nano_usd(input_tokens, 0))
            most = max(most, price.most_nano_usd(input_tokens, hold.max_tokens))
        hold.nano_usd, hold.input_nano_usd = most, most_input
        self._held_nano_usd += most
        self._turn += 1

    def settle(self, hold: Hold, input_tokens: int, output_tokens: int) -> None:
        """Correct what a request took to what it used. Its dollars have been added to the spending by now.

        Cache reads are no input here. Source: Messages API documentation, rate limits.
        """
        now_ns = self._desk.clock.monotonic_ns()
        self._running -= 1
        self._held_nano_usd -= hold.nano_usd
        if self._input is not None:
            self._input.settle(input_tokens - hold.input_tokens, now_ns)
        if self._output is not None:
            self._output.settle(output_tokens - hold.output_tokens, now_ns)
        if self._has_budget:
            self._turn += 1
            self._warn()

    def read(self) -> LimitState:
        """The limits as they are now."""
        desk = self._desk
        now_ns, now_us = desk.clock.monotonic_ns(), desk.spending.now_us()
        left, warnings = None, ()
        if self._has_budget:
            spent = desk.spending.read(self._key_id, now_us)
            left, warnings = self._left_nano_usd(spent), self._passed(spent)
        return LimitState(
            None if self._requests is None else self._requests.read(now_ns, now_us),
            None if self._input is None else self._input.read(now_ns, now_us),
            None if self._output is None else self._output.read(now_ns, now_us),
            left,
            warnings,
        )

    def _check_budgets(self) -> int:
        """The time of day at which there was something left.

        Raises: BudgetSpent; LimitReached if running requests may spend what is left.
        """
        limits = self.limits
        spending = self._desk.spending
        now_us = spending.now_us()
        spent = spending.read(self._key_id, now_us)
        left = self._left_nano_usd(spent)
        if left is None or left > self._held_nano_usd:
            return now_us
        if left > 0:
            named = "the budget that is left, which running requests may spend"
            raise self._refuse("budget_held", named, _CONCURRENCY_RETRY_S)
        periods = spending.roll(now_us)
        month = limits.budget_nano_usd_per_month
        day = limits.budget_nano_usd_per_day
        if month is not None and spent.month >= month:
            name, budget, end_us = "month", month, periods.month_end_us
        else:
            name, budget, end_us = "day", day or 0, periods.day_end_us
        self._desk.metrics.count_refusal(f"budget_{name}")
        raise BudgetSpent(
            f"This key has spent its budget of {render_usd(budget)} a {name}.",
            self.read(),
            retry_after_s=(end_us - now_us) / 1_000_000,
            hint=f"the next {name} begins at {_render_time(end_us)}",
        )

    def _left_nano_usd(self, spent: Spent) -> int | None:
        """Until the nearest budget is spent; None without one."""
        day, month = self.limits.budget_nano_usd_per_day, self.limits.budget_nano_usd_per_month
        left = None if day is None else day - spent.day
        if month is not None and (left is None or month - spent.month < left):
            left = month - spent.month
        return left

    def _passed(self, spent: Spent) -> tuple[str, ...]:
        """The periods whose soft budget is spent."""
        day, month = self.limits.warn_nano_usd_per_day, self.limits.warn_nano_usd_per_month
        passed_day = ("day",) if day is not None and spent.day >= day else ()
        return (*passed_day, "month") if month is not None and spent.month >= month else passed_day

    def _warn(self) -> None:
        """Log each soft budget once a period."""
        if self.limits.warn_nano_usd_per_day is None and self.limits.warn_nano_usd_per_month is None:
            return
        spending = self._desk.spending
        now_us = spending.now_us()
        spent = spending.read(self._key_id, now_us)
        periods = spending.roll(now_us)
        for name in self._passed(spent):
            start_us = periods.day_start_us if name == "day" else periods.month_start_us
            if self._warned.get(name) == start_us:
                continue
            self._warned[name] = start_us
            self._desk.metrics.count_warning(name)
            amount = spent.day if name == "day" else spent.month
            _log.warning("key %s has spent %s this %s, past its soft budget", self._key_id, render_usd(amount), name)

    def _refuse_rate(self, request_ns: int, input_ns: int, output_ns: int) -> LimitReached:
        """The refusal of the limit that takes longest."""
        limits, wait_ns = self.limits, max(request_ns, input_ns, output_ns)
        if request_ns == wait_ns:
            name, limit = "requests_per_minute", limits.requests_per_minute
        elif input_ns == wait_ns:
            name, limit = "input_tokens_per_minute", limits.input_tokens_per_minute
        else:
            name, limit = "output_tokens_per_minute", limits.output_tokens_per_minute
        return self._refuse(name, f"{limit:,} {name.replace('_', ' ')}", wait_ns / SECOND_NS)

    def _refuse(self, name: str, named: str, retry_after_s: float) -> LimitReached:
        self._desk.metrics.count_refusal(name)
        return LimitReached(f"This key has reached its limit: {named}.", self.read(), retry_after_s=retry_after_s)


def render_usd(nano_usd: int) -> str:
    """Dollars for people: `$5.00`, `$0.0225`."""
    whole, nano = divmod(nano_usd, _NANO)
    digits = f"{nano:09d}".rstrip("0")
    return f"${whole:,}.{digits:0<2}"


def _render_time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _resize(bucket: Bucket | None, limit: int | None, now_ns: int) -> Bucket | None:
    if limit is None:
        return None
    return Bucket(limit, now_ns) if bucket is None else bucket.resize(limit, now_ns)
