"""The life of batches in one process: when to run, to end, to take over, to forget.

Owns: the rhythm, and the order in which runner and runtime are started and stopped.
Must never know: HTTP, SQL, dbos, how a request is answered.
Invariants: nothing is imported or started before there is an open batch; every open batch is in the schedule, and one
that has fallen out of it is put back; a batch ends when its last request has an outcome, or when its time is up.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from renga.clock import Clock
from renga.config import BatchSettings
from renga.domain.batches import BatchRow
from renga.errors import RengaError
from renga.inference import Services
from renga.protocols.resources.batches import RESULTS_S
from renga.services.batches.part_runner import CANCEL_GRACE_S, BatchPart, BatchRunner
from renga.services.durable.heartbeat import HEARTBEAT_S, Heartbeat
from renga.services.durable.workflow_runtime import DurableQueue, DurableTask, RuntimeSettings, WorkflowRuntime
from renga.store.database_handle import DatabaseHandle

if TYPE_CHECKING:
    from renga.store.tables.batch_runs import BatchRunTable

_T = TypeVar("_T")
_log = logging.getLogger("renga.batches")

_QUEUE = "renga-batches"
_WORKFLOW = "renga-batch-part"
"""Both are in the database of the schedule: parts of an older Renga are known by them."""
PART_REQUESTS = 250
"""Requests a part: a worker that dies leaves this many to be looked at again, and 100,000 requests are 400 parts."""
_PARTS_AT_ONCE = 3
"""In one process: one is being started, the others are being finished or wait to be started, so that no poll of the
schedule is waited for."""
_BUSY_S = 0.25
_IDLE_S = 5.0
"""How often the open batches are looked at: while there are some, and while there are none."""
_LOOK_AFTER_S = 3.0
"""How often it is looked whether a batch has fallen out of the schedule."""
_EXPIRE_S = 3600.0
_UPLOAD_S = 3600.0
"""After which a batch that never came in whole is deleted."""


class WorkerLocation(Struct, frozen=True):
    """Where the schedule and the locks of workers are kept."""

    schedule_url: str
    lock_folder: Path


def place_of(database_url: str, data_dir: Path) -> WorkerLocation:
    """Beside our own database: another file of SQLite, or another schema of the same PostgreSQL."""
    if not database_url.startswith("sqlite:"):
        return WorkerLocation(database_url, data_dir / "workers")
    path = Path(database_url.removeprefix("sqlite:///")) if database_url.startswith("sqlite:///") else None
    if path is None or not path.name or path.name == ":memory:":
        path = data_dir / "renga.db"
    return WorkerLocation(f"sqlite:///{path.with_name(f'{path.stem}-batches.db')}", path.parent / "workers")


class BatchWorker:
    """Runs batches in the background. Used from one event loop."""

    def __init__(
        self, answering: Services, database: DatabaseHandle, settings: BatchSettings, place: WorkerLocation
    ) -> None:
        self._clock: Clock = answering.clock
        self._database = database
        self._settings = settings
        self._runner = BatchRunner(answering, database, settings.max_running)
        self._heartbeat = Heartbeat(database, place.lock_folder)
        queue = DurableQueue(_QUEUE, _WORKFLOW, _PARTS_AT_ONCE, make_part_task, self._run_task)
        self._runtime = WorkflowRuntime(RuntimeSettings(place.schedule_url, self._heartbeat.worker_id), (queue,))
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled: dict[str, float] = {}
        """Open batches whose parts were put into the schedule, with when that was last looked at."""
        self._heartbeat_s = -HEARTBEAT_S
        self._expired_s = -math.inf

    @property
    def started(self) -> bool:
        """Whether there was a batch to run since the start."""
        return self._runtime.started

    @property
    def running(self) -> int:
        """Requests of batches that run here."""
        return self._runner.running

    async def start(self) -> None:
        """Begin to look for open batches. Returns at once."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run_forever(), name="batches")

    def wake(self) -> None:
        """Look at the batches now: there is something new."""
        self._woken.set()

    def tidy(self) -> None:
        """Something was deleted, and its requests are to go now."""
        self._expired_s = -math.inf
        self._woken.set()

    async def stop(self) -> None:
        """Stop running; what was answered is stored, and what was not runs again, here or elsewhere. Idempotent."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        await self._runner.stop()
        await asyncio.to_thread(self._runtime.stop)
        try:
            await self._heartbeat.sign_off()
        except RengaError as error:
            _log.warning("this worker could not sign off; others take over in a while: %s", error)

    async def _run_forever(self) -> None:
        await self._database.wait_open()
        while True:
            busy = False
            try:
                busy = await self._look_at_batches()
            except RengaError as error:
                _log.error("batches: %s", error)
            except Exception:
                _log.exception("batches: this is tried again")
            self._woken.clear()
            timer = asyncio.create_task(self._clock.sleep(_BUSY_S if busy else _IDLE_S))
            woken = asyncio.create_task(self._woken.wait())
            try:
                await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()

    async def _look_at_batches(self) -> bool:
        """Do what is due. Returns whether anything is open."""
        now_s = self._clock.monotonic_ns() / 1e9
        now_us = int(self._clock.now().timestamp() * 1_000_000)
        if now_s - self._expired_s >= _EXPIRE_S:
            self._expired_s = now_s
            await self._expire_results(now_us)
        batches = await self._run(lambda table: table.read_open_batches())
        for batch_id in self._scheduled.keys() - {batch.batch_id for batch in batches}:
            await self._forget(batch_id)
        if not batches:
            return False
        if self._settings.run and not self._runtime.started:
            await asyncio.to_thread(self._heartbeat.take_lock)
            await asyncio.to_thread(self._runtime.start)
        if self._runtime.started and now_s - self._heartbeat_s >= HEARTBEAT_S:
            await self._heartbeat.record(now_us)
            await self._take_over(now_us)
            self._heartbeat_s = now_s
        for batch in batches:
            await self._advance_batch(batch, now_s, now_us)
        return True

    async def _advance_batch(self, batch: BatchRow, now_s: float, now_us: int) -> None:
        """Do what is due for one open batch."""
        batch_id = batch.batch_id
        if now_us >= batch.expires_us:
            self._runner.close(batch_id, grace_s=0.0)
            await self._run(lambda table: table.close_requests(batch_id, "expired", now_us))
            await self._end_batch(batch_id, now_us)
        elif batch.cancel_initiated_us is not None:
            await self._cancel_batch(batch, now_us)
        elif not self._runtime.started:
            return
        elif batch_id not in self._scheduled:
            tasks = [make_part_task(part.batch_id, part.offset, part.count) for part in cut_parts(batch)]
            await asyncio.to_thread(self._runtime.enqueue, _QUEUE, tasks)
            self._scheduled[batch_id] = now_s
        elif now_s - self._scheduled[batch_id] >= _LOOK_AFTER_S:
            self._scheduled[batch_id] = now_s
            if not await asyncio.to_thread(self._runtime.is_unfinished, batch_id):
                await self._reschedule(batch, now_us)

    async def _cancel_batch(self, batch: BatchRow, now_us: int) -> None:
        """Let running requests finish for a moment, then end the batch."""
        batch_id = batch.batch_id
        self._runner.close(batch_id, grace_s=CANCEL_GRACE_S)
        assert batch.cancel_initiated_us is not None
        waited_s = (now_us - batch.cancel_initiated_us) / 1_000_000
        running = self._runner.is_running(batch_id)
        if not running and self._runtime.started:
            running = await asyncio.to_thread(self._runtime.is_running, batch_id)
        if not running or waited_s > 2 * CANCEL_GRACE_S:
            await self._run(lambda table: table.close_requests(batch_id, "canceled", now_us))
            await self._end_batch(batch_id, now_us)

    async def _reschedule(self, batch: BatchRow, now_us: int) -> None:
        """Repair a batch that no part works on: end it, or schedule its open parts again."""
        batch_id = batch.batch_id
        if await self._end_batch(batch_id, now_us):
            return
        _log.warning("%s has open requests and no part in the schedule; it is scheduled again", batch_id)
        await asyncio.to_thread(self._runtime.forget, batch_id)
        self._scheduled.pop(batch_id, None)

    async def _end_batch(self, batch_id: str, now_us: int) -> bool:
        """End a batch if nothing of it is open."""
        if await self._run(lambda table: table.has_open_requests(batch_id)):
            return False
        await self._run(lambda table: table.end_batch(batch_id, now_us))
        await self._forget(batch_id)
        return True

    async def _forget(self, batch_id: str) -> None:
        """Nothing of a batch is to be scheduled any more."""
        self._scheduled.pop(batch_id, None)
        if self._runtime.started:
            await asyncio.to_thread(self._runtime.forget, batch_id)

    async def _take_over(self, now_us: int) -> None:
        """Put what dead workers ran back into the line."""
        for worker_id in await self._heartbeat.find_dead(now_us):
            _log.warning("%s is dead; its parts are taken over", worker_id)
            await asyncio.to_thread(self._runtime.take_over, worker_id)
            await self._heartbeat.reap(worker_id)

    async def _expire_results(self, now_us: int) -> None:
        """Archive batches whose results are too old, and remove what was deleted or never finished uploading."""
        await self._run(lambda table: table.archive_results(now_us - RESULTS_S * 1_000_000, now_us))
        while await self._run(lambda table: table.delete_unread_requests(now_us - int(_UPLOAD_S * 1_000_000))):
            pass

    async def _run(self, work: Callable[[BatchRunTable], _T]) -> _T:
        return await self._database.run_in_background(lambda database: work(database.batch_runs))

    def _run_task(self, task: DurableTask) -> float | None:
        """Called on a thread of the runtime's; the part runs on the event loop, where providers live."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._serve_part(read_part(task)), self._loop).result()

    async def _serve_part(self, part: BatchPart) -> float | None:
        rest_s = await self._runner.run(part)
        if rest_s is None:
            now_us = int(self._clock.now().timestamp() * 1_000_000)
            # what is kept of its parts goes later: this part is one of them, and still at work
            if not await self._run(lambda table: table.has_open_requests(part.batch_id)):
                await self._run(lambda table: table.end_batch(part.batch_id, now_us))
        return rest_s


def cut_parts(batch: BatchRow) -> list[BatchPart]:
    """The parts of a batch, always the same."""
    return [BatchPart(batch.batch_id, offset, PART_REQUESTS) for offset in range(0, batch.request_count, PART_REQUESTS)]


def make_part_task(batch_id: str, offset: int, count: int) -> DurableTask:
    """A part as the queue keeps it.

    The further a part is inside its batch, the later its turn: so that batches take turns, and a short one is not kept
    waiting by a long one.
    """
    return DurableTask(batch_id, (offset, count), priority=1 + offset // max(count, 1))


def read_part(task: DurableTask) -> BatchPart:
    """The part that a task of the queue stands for."""
    offset, count = task.rest
    return BatchPart(task.group, int(offset), int(count))
