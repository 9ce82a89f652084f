"""One key's or one workspace's limits and budgets in this process, as requests come and go.

Owns: what is taken on arrival, held while a request runs, and corrected when it has ended.
Must never know: where limits are set, HTTP, SQL, other processes.
Invariants: when all holds are settled, nothing runs and nothing is held; dollars are over a budget by at most the last
request that was let in, as long as a prompt has at least `BYTES_A_TOKEN_MIN` bytes a token. Everything runs on the
event loop's thread.
"""

from __future__ import annotations

import logging

from msgspec import Struct

from renga.accounting.limits.limit_errors import render_usd
from renga.accounting.limits.reservation import ReservationRequest, SettledUse
from renga.accounting.limits.spending import Spending, Spent
from renga.accounting.limits.token_buckets import (
    RETRY_S,
    AccountKind,
    LimitName,
    LimitRefusal,
    Limits,
    LimitState,
    TokenBucket,
    tightest,
)
from renga.clock import Clock
from renga.metrics.request_metrics import RequestMetrics

_log = logging.getLogger("renga.limits")

_RETRY_US = int(RETRY_S * 1_000_000)


class AccountContext(Struct, frozen=True):
    """The clock, the sums and the metrics that all accounts of a process share."""

    clock: Clock
    spending: Spending
    metrics: RequestMetrics


class Hold(Struct, eq=False):
    """What a running request has taken of one account, and of the other that it takes from. Part of its lease."""

    account: Account
    reservation: ReservationRequest
    input_tokens: int
    output_tokens: int
    turn: int
    """Of the account's dollars: still the same, nobody has held or spent any since."""
    workspace_hold: Hold | None
    """Of the workspace, where the key has limits too."""
    at_us: int = 0
    """When the budgets were looked at; 0 where there is none."""
    nano_usd: int = 0
    input_nano_usd: int = 0

    def read(self) -> LimitState:
        """The limits as they are now; of two accounts, the tighter."""
        state = self.account.read()
        return state if self.workspace_hold is None else tightest(state, self.workspace_hold.account.read())


class Account:
    """A key or a workspace with limits."""

    __slots__ = (
        "_context",
        "_held_nano_usd",
        "_input",
        "_kind",
        "_output",
        "_requests",
        "_running",
        "_turn",
        "_warned",
        "has_budget",
        "limits",
        "name",
    )

    def __init__(self, kind: AccountKind, name: str, limits: Limits, context: AccountContext) -> None:
        self.name = name
        self._kind: AccountKind = kind
        self._context = context
        self._requests: TokenBucket | None = None
        self._input: TokenBucket | None = None
        self._output: TokenBucket | None = None
        self._running = 0
        self._held_nano_usd = 0
        self._turn = 0
        self._warned: dict[str, int] = {}
        self.apply(limits)

    @property
    def running(self) -> int:
        """Requests that run now, without those of batches."""
        return self._running

    @property
    def held_nano_usd(self) -> int:
        """Dollars set aside for requests that run now."""
        return self._held_nano_usd

    def apply(self, limits: Limits) -> None:
        """Change the limits; what was taken stays taken."""
        now_ns = self._context.clock.monotonic_ns()
        self.limits = limits
        self.has_budget = limits.has_budget
        self._requests = _resize(self._requests, limits.requests_per_minute, now_ns)
        self._input = _resize(self._input, limits.input_tokens_per_minute, now_ns)
        self._output = _resize(self._output, limits.output_tokens_per_minute, now_ns)
        # What was spent before may be past them already.
        self._warn()

    def find_refusal(self, reservation: ReservationRequest, now_ns: int, now_us: int) -> LimitRefusal | None:
        """What keeps a request out now; None where it fits. `now_us` is read where there is a budget.

        Cost: about 1.5 us with every limit set.
        """
        limit: LimitName = "requests_per_minute"
        wait_ns = 0
        if not reservation.is_batch:
            if self._requests is not None:
                wait_ns = self._requests.wait_ns(1, now_ns)
            bucket = self._input
            if bucket is not None:
                input_ns = bucket.wait_ns(bucket.fit(reservation.input_tokens), now_ns)
                if input_ns > wait_ns:
                    limit, wait_ns = "input_tokens_per_minute", input_ns
            bucket = self._output
            if bucket is not None:
                output_ns = bucket.wait_ns(bucket.fit(reservation.max_tokens), now_ns)
                if output_ns > wait_ns:
                    limit, wait_ns = "output_tokens_per_minute", output_ns
        # Rounded up: a client that waits as long as it was told must find room.
        found = LimitRefusal(self._kind, limit, -(-wait_ns // 1000)) if wait_ns else None
        running = self.limits.concurrent_requests
        if running is not None and self._running >= running and not reservation.is_batch:
            found = self._longer(found, "concurrent_requests", _RETRY_US)
        return self._check_budgets(found, now_us) if self.has_budget else found

    def take(self, reservation: ReservationRequest, workspace_hold: Hold | None) -> Hold:
        """Take what a request is expected to need. `find_refusal` has just found nothing."""
        if reservation.is_batch:
            return Hold(self, reservation, 0, 0, self._turn, workspace_hold)
        self._running += 1
        input_tokens = output_tokens = 0
        if self._requests is not None:
            self._requests.take(1)
        if self._input is not None:
            input_tokens = self._input.fit(reservation.input_tokens)
            self._input.take(input_tokens)
        if self._output is not None:
            output_tokens = self._output.fit(reservation.max_tokens)
            self._output.take(output_tokens)
        return Hold(self, reservation, input_tokens, output_tokens, self._turn, workspace_hold)

    def find_spent(self, hold: Hold, now_us: int) -> LimitRefusal | None:
        """Whether requests that came in since leave nothing of the budgets."""
        if not self.has_budget or hold.turn == self._turn:
            return None
        return self._check_budgets(None, now_us)

    def hold_dollars(self, hold: Hold, nano_usd: int) -> None:
        """Set dollars aside until the hold is settled."""
        hold.nano_usd = nano_usd
        self._held_nano_usd += nano_usd
        self._turn += 1

    def settle(self, hold: Hold, used: SettledUse, now_ns: int) -> None:
        """Correct what a request took to what it used. Its dollars have been added to the spending by now."""
        self._held_nano_usd -= hold.nano_usd
        if not hold.reservation.is_batch:
            self._running -= 1
            if self._input is not None:
                self._input.settle(used.input_tokens - hold.input_tokens, now_ns)
            if self._output is not None:
                self._output.settle(used.output_tokens - hold.output_tokens, now_ns)
        if self.has_budget:
            self._turn += 1
            self._warn()

    def read(self) -> LimitState:
        """The limits as they are now."""
        context = self._context
        now_ns, now_us = context.clock.monotonic_ns(), context.spending.now_us()
        left, warnings = None, ()
        if self.has_budget:
            spent = context.spending.read(self.name, now_us)
            left, warnings = left_nano_usd(self.limits, spent), name_warnings(self._kind, self.limits, spent)
        return LimitState(
            None if self._requests is None else self._requests.read(now_ns, now_us),
            None if self._input is None else self._input.read(now_ns, now_us),
            None if self._output is None else self._output.read(now_ns, now_us),
            left,
            warnings,
        )

    def _check_budgets(self, found: LimitRefusal | None, now_us: int) -> LimitRefusal | None:
        """What was found so far, or a budget that keeps the request out for longer."""
        limits, spending = self.limits, self._context.spending
        spent = spending.read(self.name, now_us)
        left = left_nano_usd(limits, spent)
        if left is None or left > self._held_nano_usd:
            return found
        if left > 0:
            return self._longer(found, "budget_held", _RETRY_US)
        periods, month = spending.roll(now_us), limits.budget_nano_usd_per_month
        if month is not None and spent.month >= month:
            return self._longer(found, "budget_month", periods.month_end_us - now_us)
        return self._longer(found, "budget_day", periods.day_end_us - now_us)

    def _longer(self, found: LimitRefusal | None, limit: LimitName, wait_us: int) -> LimitRefusal:
        return LimitRefusal(self._kind, limit, wait_us) if found is None or wait_us > found.wait_us else found

    def _warn(self) -> None:
        """Log each soft budget once a period."""
        limits = self.limits
        if limits.warn_nano_usd_per_day is None and limits.warn_nano_usd_per_month is None:
            return
        spending = self._context.spending
        now_us = spending.now_us()
        spent = spending.read(self.name, now_us)
        for name in passed_periods(limits, spent):
            periods = spending.roll(now_us)
            start_us = periods.day_start_us if name == "day" else periods.month_start_us
            if self._warned.get(name) != start_us:
                self._warned[name] = start_us
                tell_passed(self._context.metrics, self._kind, self.name, name, spent)


def left_nano_usd(limits: Limits, spent: Spent) -> int | None:
    """Until the nearest budget is spent; None without one."""
    day, month = limits.budget_nano_usd_per_day, limits.budget_nano_usd_per_month
    left = None if day is None else day - spent.day
    if month is not None and (left is None or month - spent.month < left):
        left = month - spent.month
    return left


def passed_periods(limits: Limits, spent: Spent) -> tuple[str, ...]:
    """The periods whose soft budget is spent."""
    day, month = limits.warn_nano_usd_per_day, limits.warn_nano_usd_per_month
    passed_day = ("day",) if day is not None and spent.day >= day else ()
    return (*passed_day, "month") if month is not None and spent.month >= month else passed_day


def name_warnings(kind: AccountKind, limits: Limits, spent: Spent) -> tuple[str, ...]:
    """The names of passed soft budgets, as a client is told them."""
    passed = passed_periods(limits, spent)
    return passed if kind == "key" or not passed else tuple([f"workspace {name}" for name in passed])


def tell_passed(metrics: RequestMetrics, kind: AccountKind, name: str, period: str, spent: Spent) -> None:
    """Say that a soft budget is spent."""
    metrics.count_warning(period)
    amount = spent.day if period == "day" else spent.month
    _log.warning("%s %s has spent %s this %s, past its soft budget", kind, name, render_usd(amount), period)


def _resize(bucket: TokenBucket | None, limit: int | None, now_ns: int) -> TokenBucket | None:
    if limit is None:
        return None
    return TokenBucket(limit, now_ns) if bucket is None else bucket.resize(limit, now_ns)
