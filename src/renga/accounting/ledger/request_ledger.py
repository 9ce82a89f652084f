"""Reserve before a request, settle after it: one row a request, exactly one settling a lease.

Owns: open leases, a row's making (classes of tokens, cost), the queue to the store thread.
Must never know: HTTP, SQL, how a request was answered.
Invariants: `reserve` and `settle` run on the event loop's thread, never wait and never touch the database; a row leaves
the queue when the database has it, and what cannot be kept is logged and counted, never dropped in silence. With a
journal kill -9 loses no row of a request that was settled; without one, or by a power cut, those of the last
`ledger.flush_interval_s` (at most 1 s) and no others.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from renga.accounting.ledger.lease import AttemptRecord, Lease, RequestOutcome
from renga.accounting.ledger.spool import Spool, SpoolFull
from renga.accounting.limits.quotas import Quotas
from renga.accounting.pricing.price_book import PriceBook, TokenCounts, count_by_class
from renga.clock import Clock
from renga.domain.ledger import AttemptRow, LedgerRow
from renga.domain.reasons import render_reasons
from renga.metrics.request_metrics import RequestMetrics
from renga.protocols.messages.inference_request import InferenceRequest
from renga.store.errors import DatabaseAway, DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from renga.store.database import Database

_log = logging.getLogger("renga.ledger")

_BATCH_ROWS = 1_000
"""Rows a transaction: about 15 ms, so that another process waits little for the write lock."""

_NOTHING = TokenCounts()


class Bill(Struct, frozen=True, gc=False):
    """What the winning attempt used and cost."""

    tokens: TokenCounts
    cost_nano_usd: int | None


class LeaseSettledTwice(RuntimeError):
    """A mistake in the caller: the lease is not open. Nothing was written."""


class Ledger:
    """Accounts for every request. A job of the store thread."""

    def __init__(
        self,
        prices: PriceBook,
        metrics: RequestMetrics,
        clock: Clock,
        *,
        queue_rows: int,
        spool: Spool | None,
        quotas: Quotas | None = None,
    ) -> None:
        self._prices = prices
        self._metrics = metrics
        self._clock = clock
        self._queue_rows = queue_rows
        self._spool = spool
        self._journal = None if spool is None else spool.journal
        self._segments: list[Path] = []
        """Parts of the journal with rows that are still in the queue."""
        self._quotas = quotas
        self._open: set[Lease] = set()
        self._queue: deque[LedgerRow] = deque()
        self._writing: list[LedgerRow] = []
        self._kept: dict[str, LedgerRow] = {}
        self._lost = 0
        self._is_spool_failing = False
        metrics.watch("renga_open_leases", "Requests that run at the moment.", lambda: self.open_leases)
        metrics.watch("renga_ledger_queue_rows", "Ledger rows not written yet.", lambda: self.queued_rows)
        metrics.watch("renga_ledger_lost_rows_total", "Ledger rows given up; each was logged.", lambda: self._lost)

    @property
    def open_leases(self) -> int:
        """How many leases are reserved and not settled."""
        return len(self._open)

    @property
    def queued_rows(self) -> int:
        """Rows that the database does not have yet."""
        return len(self._queue) + len(self._writing)

    @property
    def lost_rows(self) -> int:
        """Rows that were given up since the start."""
        return self._lost

    def reserve(self, request: InferenceRequest) -> Lease:
        """Open a lease. It must be settled exactly once, whatever happens.

        Raises: LimitReached, BudgetSpent; no lease is open then.
        """
        hold = None if self._quotas is None else self._quotas.reserve(request)
        lease = Lease(request, self._clock.monotonic_ns(), hold)
        self._open.add(lease)
        return lease

    def extend(self, lease: Lease, request: InferenceRequest) -> Lease:
        """The same reservation for a request that has grown since: files were put into it. Before `hold_price`, so that
        a budget holds what it may cost now; limits a minute are corrected when it ends, as ever.

        Raises: LeaseSettledTwice if it is not open.
        """
        self._close(lease)
        longer = Lease(request, lease.reserved_monotonic_ns, lease.hold)
        self._open.add(longer)
        return longer

    def hold_price(
        self, lease: Lease, targets: Sequence[str], also_billed: Sequence[str] = ()
    ) -> Awaitable[None] | None:
        """Set aside what the request may cost at most, where it has a budget: one of `targets` answers, and each that
        is `also_billed` is asked too. Call it once the plan is known, with none where a stored answer is given. Returns
        what must be waited for, if anything: limits that servers share are taken here.

        Raises: BudgetSpent, LimitReached, PermissionDenied (a price is not known). The lease stays open.
        """
        if lease.hold is None or self._quotas is None:
            return None
        return self._quotas.hold_price(lease.hold, lease.request, targets, also_billed)

    def drop(self, lease: Lease) -> None:
        """Close a lease of a request that a limit kept out after all: it leaves no row.

        Raises: LeaseSettledTwice if it is not open.
        """
        self._close(lease)
        if self._quotas is not None:
            self._quotas.drop(lease.hold)

    def settle(self, lease: Lease, outcome: RequestOutcome) -> int | None:
        """Close a lease with what happened. Returns the cost in nano-dollars, None if the price is not known.

        Raises: LeaseSettledTwice if it is not open; nothing is written then.
        Cost: about 8 us, 2 of them for the journal.
        """
        self._close(lease)
        row = self._make_row(lease.request, outcome)
        if lease.request.service_tier == "batch":
            self._kept[row.request_id] = row
        elif len(self._queue) >= self._queue_rows:
            self._give_up((row,), "the queue is full")
        else:
            # First the queue: a segment that the store thread cuts has only rows that it will find in the queue.
            self._queue.append(row)
            if self._journal is not None:
                self._journal.append(row)
        self._metrics.observe(row)
        self._prices.count(row)
        if self._quotas is not None:
            self._quotas.settle(lease.hold, row)
        return row.cost_nano_usd

    def take(self, request_id: str) -> LedgerRow | None:
        """The row of a batch request's last try, for its runner to write in one transaction with the result.

        Rows of batch requests are not queued: the result and its row must both be there or neither, whatever is killed
        when. A request that is tried again has one row, that of the try whose result counts.
        """
        return self._kept.pop(request_id, None)

    def _close(self, lease: Lease) -> None:
        try:
            self._open.remove(lease)
        except KeyError:
            raise LeaseSettledTwice(f"{lease.request.request_id} is not open") from None

    def opened(self, database: Database) -> None:
        """Write what an earlier process left on disk, so that sums over the ledger are whole from the start."""
        self._write_spooled(database)
        if self._journal is not None:
            for segment in self._journal.find_left():
                rows = self._journal.read(segment)
                self._write(database, rows)
                self._journal.clear(segment)
                if rows:
                    _log.warning("wrote %d ledger rows of a process that was killed", len(rows))
            self._journal.cut()

    def run(self, database: Database) -> None:
        """Write what waits; what the database does not take goes to the spool, where kill -9 does not reach it.

        Raises: DatabaseAway.
        """
        segment = None if self._journal is None else self._journal.cut()
        if segment is not None:
            self._segments.append(segment)
        try:
            self._write_queued(database)
            self._clear_segments()
            self._write_spooled(database)
            self._is_spool_failing = False
        except DatabaseAway:
            self._save()
            self._clear_segments()
            raise

    def abandon(self) -> None:
        """Move the remaining rows to the spool, because the server ends while the database is away."""
        self._save()
        rows = [*self._writing, *self._queue]
        self._writing = []
        self._queue.clear()
        if rows and self._journal is not None:
            kept = {row.request_id for row in self._journal.read_own()}
            rows = [row for row in rows if row.request_id not in kept]
        self._give_up(rows, "the server ends, and neither the database nor the disk took it")

    def _make_row(self, request: InferenceRequest, outcome: RequestOutcome) -> LedgerRow:
        time_us = int(self._clock.now().timestamp() * 1_000_000)
        usage = outcome.usage
        caller = request.caller
        is_batch = request.service_tier == "batch"
        tokens = _NOTHING if usage is None else count_by_class(usage, batch=is_batch)
        cost, source = self._price(outcome, tokens, request, time_us)
        checks_cost, attempts = self._price_attempts(outcome, Bill(tokens, cost), request, time_us)
        # What must be given stands in the order of the fields: msgspec looks for each name among those that are left,
        # and with 33 names a row takes four times as long.
        return LedgerRow(
            request.request_id,
            time_us,
            caller.key_id,
            request.surface,
            request.message.model,
            outcome.target,
            outcome.tier,
            render_reasons(outcome.reasons),
            attempts,
            outcome.status,
            outcome.error_type,
            outcome.stop_reason,
            tokens.input,
            tokens.cache_creation_5m,
            tokens.cache_creation_1h,
            tokens.cache_read,
            tokens.output,
            tokens.thinking,
            None if cost is None or checks_cost is None else cost + checks_cost,
            source,
            outcome.overhead_us,
            outcome.first_event_us,
            outcome.total_us,
            outcome.mean_logprob,
            request.message.stream,
            workspace_id=caller.workspace_id,
            service_tier="batch" if is_batch else None,
            policy=outcome.policy,
            triage_score=outcome.triage_score,
            confidence=outcome.confidence,
            check_cost_nano_usd=None if outcome.policy is None else checks_cost,
            kept=outcome.kept,
            escalated_because=outcome.escalated_because,
            message_id=outcome.message_id,
        )

    def _price(
        self, outcome: RequestOutcome, tokens: TokenCounts, request: InferenceRequest, time_us: int
    ) -> tuple[int | None, str | None]:
        """Cost of the answer, and source. A request that failed without usage cost nothing, nor did one that no target
        was asked for; one that ran uncounted is not known.
        """
        if outcome.target is None or (outcome.usage is None and outcome.status == "failed"):
            return 0, None
        price = self._prices.charge(outcome.target, time_us, request.caller.workspace_id)
        if price is None:
            return None, None
        if outcome.usage is None and not price.is_free:
            return None, price.source
        return price.cost_nano_usd(tokens), price.source

    def _price_attempts(
        self, outcome: RequestOutcome, answer: Bill, request: InferenceRequest, time_us: int
    ) -> tuple[int | None, tuple[AttemptRow, ...]]:
        """What was paid beside the answer (None: not known), and every attempt with its part."""
        if len(outcome.attempts) == 1 and outcome.winner is not None:
            return 0, (_attempt_row(outcome.attempts[0], answer.tokens, answer.cost_nano_usd),)
        others: int | None = 0
        rows: list[AttemptRow] = []
        is_batch = request.service_tier == "batch"
        count = len(outcome.attempts)
        winner = None if outcome.winner is None or not count else outcome.winner % count
        for index, record in enumerate(outcome.attempts):
            tokens, cost = answer.tokens, answer.cost_nano_usd
            if index != winner:
                tokens = _NOTHING if record.usage is None else count_by_class(record.usage, batch=is_batch)
                cost = self._price_attempt(record, tokens, request, time_us)
                others = None if others is None or cost is None else others + cost
            rows.append(_attempt_row(record, tokens, cost))
        return others, tuple(rows)

    def _price_attempt(
        self, record: AttemptRecord, tokens: TokenCounts, request: InferenceRequest, time_us: int
    ) -> int | None:
        if record.usage is None and not record.abandoned:
            return 0
        price = self._prices.charge(record.target, time_us, request.caller.workspace_id)
        if price is None or (record.usage is None and not price.is_free):
            return None
        return price.cost_nano_usd(tokens)

    def _fill_batch(self) -> None:
        """Move rows from the queue to the batch that is being written: in both for a moment, and never in neither."""
        while self._queue and len(self._writing) < _BATCH_ROWS:
            self._writing.append(self._queue[0])
            self._queue.popleft()

    def _write(self, database: Database, rows: Sequence[LedgerRow]) -> None:
        """Write a batch; where the database refuses it as a whole, row by row, so that one bad row stops no other."""
        try:
            database.ledger.write_rows(rows)
        except DatabaseAway:
            raise
        except DatabaseFailed:
            for row in rows:
                try:
                    database.ledger.write_rows((row,))
                except DatabaseAway:
                    raise
                except DatabaseFailed as refusal:
                    self._give_up((row,), refusal.message)

    def _write_queued(self, database: Database) -> None:
        while self._writing or self._queue:
            self._fill_batch()
            self._write(database, self._writing)
            self._writing = []

    def _write_spooled(self, database: Database) -> None:
        """Write what is on disk, in turn with what comes in meanwhile."""
        if self._spool is None or not self._spool.has_rows():
            return
        # Fails where the database is away, before anything is set apart.
        database.ledger.write_rows(())
        for file in self._spool.claim():
            count = 0
            for rows in self._spool.read(file, _BATCH_ROWS):
                self._write(database, rows)
                self._write_queued(database)
                count += len(rows)
            self._spool.clear(file)
            if count:
                _log.warning("wrote %d ledger rows that had been kept on disk", count)

    def _clear_segments(self) -> None:
        """What was queued when they were cut is elsewhere now, unless neither database nor spool took it."""
        if self._journal is not None and not self._writing:
            for segment in self._segments:
                self._journal.clear(segment)
            self._segments = []

    def _save(self) -> None:
        """Move what waits to the spool; what it does not take stays."""
        while self._spool is not None and (self._writing or self._queue):
            self._fill_batch()
            try:
                self._spool.append(self._writing)
            except (SpoolFull, OSError) as failure:
                if not self._is_spool_failing:
                    self._is_spool_failing = True
                    _log.error("cannot keep ledger rows on disk: %s; they are tried again", failure)
                return
            self._is_spool_failing = False
            self._writing = []

    def _give_up(self, rows: Sequence[LedgerRow], why: str) -> None:
        """As the last resort, write rows that are lost into the log, so that they can be counted."""
        self._lost += len(rows)
        for row in rows:
            _log.error(
                "ledger row lost (%s): request %s, key %s, target %s, %d input and %d output tokens, %s nano-dollars",
                why, row.request_id, row.key_id, row.target, row.input_tokens, row.output_tokens, row.cost_nano_usd,
            )  # fmt: skip


def _attempt_row(record: AttemptRecord, tokens: TokenCounts, cost_nano_usd: int | None) -> AttemptRow:
    return AttemptRow(
        record.target,
        record.error_type,
        record.duration_us,
        record.role,
        tokens.input,
        tokens.cache_creation_5m + tokens.cache_creation_1h,
        tokens.cache_read,
        tokens.output,
        cost_nano_usd,
    )
