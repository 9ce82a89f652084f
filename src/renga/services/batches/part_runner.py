"""Running the requests of batches, part by part.

Owns: how many run at once, in which order, what is tried again and when, and that each outcome is stored.
Must never know: who schedules parts, HTTP, SQL.
Invariants: a request enters the path like any other (`answer()`), with service tier `batch`; requests of a part are
started in the order of their prefixes; what is stopped or killed before its outcome is stored runs again, and has no
ledger row from before.
"""

from __future__ import annotations

import asyncio
import logging
import random
import traceback

import msgspec
from msgspec import Struct

from renga.accounting.limits.token_buckets import BudgetSpent
from renga.domain.batches import BatchRow, Finished, OpenRequest
from renga.domain.ledger import LedgerRow
from renga.errors import ApiError, EngineDied, InvalidRequest, Overloaded, RateLimited, RengaError
from renga.inference import Caller, InferenceRequest, Services, answer
from renga.protocols.messages.decode import ApiVersion, decode_request
from renga.protocols.messages.events.accumulator import fold
from renga.protocols.resources.batches import errored_result, succeeded_result
from renga.services.batches.outcome_writer import OutcomeWriter
from renga.store.database_handle import DatabaseHandle

_log = logging.getLogger("renga.batches")

SURFACE = "batches"
_PAGE = 32
"""Requests read from the database at once."""
_TRIES_MAX = 10
"""Of failures that may pass, over about 3 minutes. Where there is no room, a request is tried until its batch ends."""
_DEATHS_MAX = 3
"""Engines that a request may outlive: it may be what kills them."""
_RETRY_MAX_S = 60.0
CANCEL_GRACE_S = 10.0
"""How long running requests may finish in a batch that is cancelled."""
BUDGET_WAIT_S = 60.0
"""How long a part rests whose key has spent its budget, before it is looked at again."""

_STOP_REST_S = 1.0
"""When another process, or this one's next life, goes on with a part that was stopped."""

_VERSIONS: dict[str, ApiVersion] = {"2023-06-01": "2023-06-01", "2026-10-21": "2026-10-21"}


class BatchPart(Struct, frozen=True):
    """Some requests of a batch: `count` of them from `offset` on, in the order of prefixes."""

    batch_id: str
    offset: int
    count: int


class _Slot:
    """The right of one request to be with a target. Given back once, whatever becomes of it."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = False

    async def take(self) -> None:
        await self._slots.acquire()
        self._held = True

    def give_back(self, _: object = None) -> None:
        """Let another request have the slot; a second call does nothing."""
        if self._held:
            self._held = False
            self._slots.release()


class _Resting(Exception):
    """Raised when a part cannot go on now and is to be tried again later."""


class PartRun:
    """One part at work, with the tasks of its requests."""

    def __init__(self, batch: BatchRow) -> None:
        self.batch = batch
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_closing = False
        """Nothing more is started."""
        self.rest_s: float | None = None
        """When it is to be gone on with; None: it is done."""

    def close(self, *, grace_s: float) -> None:
        """Start nothing more, and cancel what still runs after a while."""
        self.is_closing = True
        asyncio.get_running_loop().call_later(grace_s, self.abort)

    def abort(self) -> None:
        """Cancel every request of the part that runs."""
        self.is_closing = True
        for task in self.tasks:
            task.cancel()


class BatchRunner:
    """Runs parts. Used from one event loop."""

    def __init__(self, answering: Services, database: DatabaseHandle, max_running: int) -> None:
        self._answering = answering
        self._database = database
        self._slots = asyncio.Semaphore(max_running)
        self._writer = OutcomeWriter(database, answering.clock)
        self._runs: set[PartRun] = set()
        self._is_stopped = False
        self._feeding = asyncio.Lock()
        """Parts are started one after the other, so that neighbours run together, and the next is there at once."""

    @property
    def running(self) -> int:
        """Requests in the hands of this process, those that wait for their next try included."""
        return sum(len(run.tasks) for run in self._runs)

    async def run(self, part: BatchPart) -> float | None:
        """Run what is open of a part. Returns in how many seconds to go on with it; None if nothing is left to do.

        Raises: DatabaseFailed.
        """
        if self._is_stopped:
            return _STOP_REST_S
        batch = await self._database.run_in_background(lambda database: database.batch_runs.find_batch(part.batch_id))
        if batch is None or batch.ended_us is not None or batch.cancel_initiated_us is not None:
            return None
        run = PartRun(batch)
        self._runs.add(run)
        try:
            async with self._feeding:
                await self._feed(run, part)
            while run.tasks:
                await asyncio.wait(run.tasks)
        finally:
            run.abort()
            self._runs.discard(run)
        return run.rest_s

    def is_running(self, batch_id: str) -> bool:
        """Whether any part of a batch is at work here."""
        return any(run.batch.batch_id == batch_id for run in self._runs)

    def close(self, batch_id: str, *, grace_s: float) -> None:
        """Let a batch come to its end. Idempotent."""
        for run in self._runs:
            if run.batch.batch_id == batch_id and not run.is_closing:
                run.close(grace_s=grace_s)

    async def stop(self) -> None:
        """Cancel everything; what was answered is stored. Parts return at once, to be gone on with."""
        self._is_stopped = True
        for run in self._runs:
            run.rest_s = _STOP_REST_S
            run.abort()
        while tasks := [task for run in self._runs for task in run.tasks]:
            await asyncio.wait(tasks, timeout=1.0)
        await self._writer.stop()

    async def _feed(self, run: PartRun, part: BatchPart) -> None:
        """Start the requests of a part, as there is room."""
        batch_id = part.batch_id
        positions = await self._database.run_in_background(
            lambda database: database.batch_runs.read_open_positions(batch_id, offset=part.offset, count=part.count)
        )
        for start in range(0, len(positions), _PAGE):
            page = positions[start : start + _PAGE]
            requests = await self._database.run_in_background(
                lambda database, page=page: database.batch_runs.read_requests(batch_id, page)
            )
            for request in requests:
                slot = _Slot(self._slots)
                await slot.take()
                if run.is_closing or run.rest_s is not None:
                    slot.give_back()
                    return
                task = asyncio.create_task(self._serve(run, request, slot))
                run.tasks.add(task)
                task.add_done_callback(run.tasks.discard)
                task.add_done_callback(slot.give_back)  # also of a task that never began

    async def _serve(self, run: PartRun, request: OpenRequest, slot: _Slot) -> None:
        """One request, from its first try to its stored outcome."""
        tries = 0
        try:
            while not run.is_closing and run.rest_s is None:
                outcome = await self._try(run, request, tries)
                if isinstance(outcome, Finished):
                    # With its slot still held: so no more than `max_running` requests are asked again after kill -9.
                    await self._writer.write(outcome)
                    return
                slot.give_back()
                tries += 1
                await self._answering.clock.sleep(outcome)
                await slot.take()
        except _Resting:
            run.rest_s = BUDGET_WAIT_S if run.rest_s is None else run.rest_s
        except asyncio.CancelledError:
            if not run.is_closing:
                raise
        except Exception as error:
            # the error's own words may quote the prompt
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("%s request %d: %s\n%s", run.batch.batch_id, request.position, type(error).__name__, where)
            await self._writer.write(self._fail(run, request, ApiError("Internal error."), None))

    async def _try(self, run: PartRun, request: OpenRequest, tries: int) -> Finished | float:
        """Try once. Returns the outcome, or in how many seconds to try again.

        Raises: _Resting.
        """
        batch = run.batch
        request_id = ledger_id(batch.batch_id, request.position)
        ledger = self._answering.ledger
        try:
            body = await self._answer(self._read_request(batch, request, request_id))
        except BudgetSpent as error:
            ledger.take(request_id)
            raise _Resting from error
        except RengaError as error:
            row = ledger.take(request_id)
            wait_s = _retry_delay_s(error, tries)
            if wait_s is not None:
                return wait_s
            return self._fail(run, request, error, row)
        except BaseException:
            ledger.take(request_id)
            raise
        return Finished(
            batch.batch_id,
            request.position,
            "succeeded",
            succeeded_result(body),
            self._now_us(),
            ledger.take(request_id),
        )

    def _read_request(self, batch: BatchRow, request: OpenRequest, request_id: str) -> InferenceRequest:
        """The request as the path takes it.

        Raises: InvalidRequest.
        """
        version = _VERSIONS[batch.terms.version]
        decoded = decode_request(request.params, version)
        if decoded.stream:
            raise InvalidRequest("Not in a batch.", path="stream", hint="leave it out")
        if decoded.max_tokens == 0:
            raise InvalidRequest("0 warms a cache, which is of no use in a batch.", path="max_tokens")
        terms = batch.terms
        return InferenceRequest(
            decoded,
            request.params,
            Caller(batch.key_id, batch.workspace_id, terms.tiers, terms.response_cache),
            request_id,
            SURFACE,
            self._answering.clock.monotonic_ns(),
            version,
            terms.betas,
            terms.forwarded_headers,
            "batch",
        )

    async def _answer(self, request: InferenceRequest) -> bytes:
        """The answer's message as JSON.

        Raises: RengaError.
        """
        answered = await answer(request, self._answering)
        try:
            return mark_batch((await fold(answered)).body())
        finally:
            await answered.close()

    def _fail(self, run: PartRun, request: OpenRequest, error: RengaError, row: LedgerRow | None) -> Finished:
        batch_id, position = run.batch.batch_id, request.position
        result = errored_result(error, ledger_id(batch_id, position))
        return Finished(batch_id, position, "errored", result, self._now_us(), row)

    def _now_us(self) -> int:
        return int(self._answering.clock.now().timestamp() * 1_000_000)


def ledger_id(batch_id: str, position: int) -> str:
    """Of a request of a batch: the same at every try, so that the ledger's unique index knows it again."""
    return f"{batch_id}-{position}"


def mark_batch(message: bytes) -> bytes:
    """A message that says it was answered in a batch. Source: docs/reference/messages-api.md, "Message batches"."""
    value = msgspec.json.decode(message)
    value["usage"]["service_tier"] = "batch"
    return msgspec.json.encode(value)


def _retry_delay_s(error: RengaError, tries: int) -> float | None:
    """In how many seconds to try again; None if there is no use in it."""
    if not error.retryable:
        return None
    tries_max = _DEATHS_MAX if isinstance(error, EngineDied) else _TRIES_MAX
    if not isinstance(error, RateLimited | Overloaded) and tries + 1 >= tries_max:
        return None
    delay_s = min(0.5 * 2**tries, _RETRY_MAX_S)
    if error.retry_after_s is not None:
        delay_s = max(delay_s, min(error.retry_after_s, _RETRY_MAX_S))
    return delay_s * random.uniform(0.75, 1.25)  # noqa: S311 - so that many do not come back at once
