"""What clients ask of batches: make, look at, list, cancel, read, delete.

Owns: the rules of the resource: bounds, duplicates, what is seen when, what may be deleted.
Must never know: HTTP, SQL, how a batch is run.
Invariants: a batch exists whole or not at all; little more than `_PIECE_BYTES` of one is held at a time.

Source: docs/reference/messages-api.md, "Limits of size and number" and "Message batches".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec.structs import replace

from renga import ids
from renga.clock import Clock
from renga.config import BatchSettings
from renga.domain.batches import BatchRow, BatchTerms, NewRequest, PageQuery
from renga.domain.owners import Owner
from renga.errors import InvalidRequest, NotFound, RateLimited
from renga.protocols.resources.batch_body import RequestSplitter
from renga.protocols.resources.batches import (
    LIFE_S,
    BatchProgress,
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchPage,
    ProcessingStatus,
    RequestCounts,
    decode_batch_request,
    prefix_of,
    render_line,
)
from renga.store.database_handle import DatabaseHandle

if TYPE_CHECKING:
    from renga.store.database import Database

_T = TypeVar("_T")
_PIECE_BYTES = 2 * 1024 * 1024
_PIECE_REQUESTS = 500
"""What is written in one transaction while a batch comes in: about 15 ms."""
_RESULTS = 200
"""Lines that are read at once while results go out."""


class BatchWorkerSeam(Protocol):
    """What the service needs of whoever runs batches, as `services/batches/batch_worker.py` does."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None:
        """Note that a batch was added or is to be cancelled."""
        ...

    def tidy(self) -> None:
        """Something was deleted, and its requests are to go now."""
        ...


class BatchService:
    """The Message Batches resource, over the database and a worker."""

    def __init__(
        self, database: DatabaseHandle, clock: Clock, settings: BatchSettings, worker: BatchWorkerSeam
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._worker = worker
        self._forgetting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to run what is open. Returns at once."""
        await self._worker.start()

    async def stop(self) -> None:
        """Stop running; nothing is lost. Idempotent."""
        await self._worker.stop()

    @property
    def max_body_bytes(self) -> int:
        """How long the body of a new batch may be."""
        return self._settings.max_body_bytes

    async def create(self, owner: Owner, terms: BatchTerms, body: AsyncIterator[bytes]) -> MessageBatch:
        """Take a batch in.

        Raises: InvalidRequest with the path of what is wrong, RateLimited, ApiError. Nothing is left of it then.
        """
        now_us = self._now_us()
        batch = BatchRow(
            batch_id=ids.batch_id(),
            key_id=owner.key_id,
            workspace_id=owner.workspace_id,
            created_us=now_us,
            expires_us=now_us + LIFE_S * 1_000_000,
            terms=terms,
        )
        queued = await self._run(lambda database: database.batches.count_queued(owner))
        await self._run(lambda database: database.batches.create_batch(batch))
        try:
            count = await self._take_in(batch.batch_id, body, self._settings.max_queued - queued)
            await self._run(lambda database: database.batches.seal_batch(batch.batch_id, count, self._now_us()))
        except BaseException:
            self._forget(batch.batch_id)
            raise
        self._worker.wake()
        return await self.find(owner, batch.batch_id)

    async def find(self, owner: Owner, batch_id: str) -> MessageBatch:
        """One batch, with how far it is.

        Raises: NotFound.
        """
        row = await self._find(owner, batch_id)
        batch = render_batch(row)
        if row.ended_us is not None:
            return batch
        done = await self._run(lambda database: database.batches.count_done(batch_id))
        return replace(batch, renga=BatchProgress(done))

    async def list_page(self, owner: Owner, query: PageQuery) -> MessageBatchPage:
        """Some of the owner's batches, newest first."""
        page = await self._run(lambda database: database.batches.read_page(owner, query))
        data = tuple(render_batch(row) for row in page.rows)
        return MessageBatchPage(data, page.has_more, data[0].id if data else None, data[-1].id if data else None)

    async def cancel(self, owner: Owner, batch_id: str) -> MessageBatch:
        """Ask for the end of a batch; what runs gets a moment to finish. One that has ended stays as it is.

        Raises: NotFound.
        """
        now_us = self._now_us()
        row = await self._run(lambda database: database.batches.cancel_batch(owner, batch_id, now_us))
        if row is None:
            raise _not_found(batch_id)
        self._worker.wake()
        return render_batch(row)

    async def delete(self, owner: Owner, batch_id: str) -> DeletedMessageBatch:
        """Delete a batch that has ended. Idempotent.

        Raises: NotFound, InvalidRequest while it has not ended.
        """
        now_us = self._now_us()
        row = await self._run(lambda database: database.batches.find_batch(owner, batch_id, deleted=True))
        if row is None:
            raise _not_found(batch_id)
        if row.ended_us is None:
            raise InvalidRequest(f"{batch_id} has not ended yet.", hint="cancel it first, or wait until it has ended")
        await self._run(lambda database: database.batches.delete_batch(batch_id, now_us))
        self._worker.tidy()
        return DeletedMessageBatch(batch_id)

    async def open_results(self, owner: Owner, batch_id: str) -> AsyncIterator[bytes]:
        """The results as JSON lines, some at a time, in the order of the requests.

        Raises: NotFound, InvalidRequest while it has not ended or when they are too old.
        """
        row = await self._find(owner, batch_id)
        if row.ended_us is None:
            raise InvalidRequest(
                f"{batch_id} has not ended yet.", hint="its results are there when processing_status is `ended`"
            )
        if row.archived_us is not None:
            raise NotFound(f"The results of {batch_id} were deleted on {_render_time(row.archived_us)}.")
        return self._read_results(batch_id)

    async def _read_results(self, batch_id: str) -> AsyncIterator[bytes]:
        after = -1
        while True:
            start = after
            found = await self._run(
                lambda database, start=start: database.batches.read_results(batch_id, after=start, limit=_RESULTS)
            )
            if not found:
                return
            yield b"".join(render_line(each.custom_id, each.outcome, each.result) for each in found)
            after = found[-1].position

    async def _take_in(self, batch_id: str, body: AsyncIterator[bytes], room: int) -> int:
        """Write the requests as they come. Returns how many."""
        splitter, intake = RequestSplitter(), _BatchIntake(batch_id)
        async for piece in body:
            intake.elements += splitter.feed(piece)
            if splitter.count > room:
                raise RateLimited(
                    f"{self._settings.max_queued} requests of this key's batches may wait, and there are more.",
                    hint="wait until a batch has ended",
                    retry_after_s=60.0,
                )
            if intake.is_full():
                await self._write(intake)
        splitter.close()
        await self._write(intake)
        if not splitter.count:
            raise InvalidRequest("Must hold at least one request.", path="requests")
        return splitter.count

    async def _write(self, intake: _BatchIntake) -> None:
        await self._run(lambda database: database.batches.add_requests(intake.batch_id, intake.read()))

    def _forget(self, batch_id: str) -> None:
        """Delete what came in of a batch that failed, after its client was told. What this misses expires."""

        async def forget() -> None:
            await self._run(lambda database: database.batches.abandon_batch(batch_id))

        task = asyncio.get_running_loop().create_task(forget())
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _find(self, owner: Owner, batch_id: str) -> BatchRow:
        row = await self._run(lambda database: database.batches.find_batch(owner, batch_id))
        if row is None:
            raise _not_found(batch_id)
        return row

    async def _run(self, work: Callable[[Database], _T]) -> _T:
        return await self._database.run(work, subject="batches")

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


class _BatchIntake:
    """Requests of a batch that have come in and are not written yet."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.elements: list[bytes] = []
        self._positions: dict[str, int] = {}
        """Where each custom_id stands, of the whole batch."""

    def is_full(self) -> bool:
        """Whether it is time to write them."""
        return len(self.elements) >= _PIECE_REQUESTS or sum(map(len, self.elements)) >= _PIECE_BYTES

    def read(self) -> list[NewRequest]:
        """Decode what has come in, and forget it. Runs on a thread.

        Raises: InvalidRequest with the path of what is wrong.
        """
        elements, self.elements = self.elements, []
        requests: list[NewRequest] = []
        for element in elements:
            position = len(self._positions)
            request = decode_batch_request(element, position)
            earlier = self._positions.setdefault(request.custom_id, position)
            if earlier != position:
                raise InvalidRequest(
                    f"{request.custom_id!r} is also that of requests.{earlier}; each must be unique in its batch.",
                    path=f"requests.{position}.custom_id",
                )
            params = bytes(request.params)
            requests.append(NewRequest(position, request.custom_id, prefix_of(params), params))
        return requests


def render_batch(row: BatchRow) -> MessageBatch:
    """A batch as the API shows it, with a path as its `results_url`."""
    status: ProcessingStatus = (
        "ended" if row.ended_us is not None else "canceling" if row.cancel_initiated_us is not None else "in_progress"
    )
    if row.ended_us is None:
        counts = RequestCounts(row.request_count)
    else:
        counts = RequestCounts(0, row.succeeded or 0, row.errored or 0, row.canceled or 0, row.expired or 0)
    has_results = row.ended_us is not None and row.archived_us is None
    return MessageBatch(
        id=row.batch_id,
        processing_status=status,
        request_counts=counts,
        created_at=_render_time(row.created_us),
        expires_at=_render_time(row.expires_us),
        ended_at=_render_optional(row.ended_us),
        archived_at=_render_optional(row.archived_us),
        cancel_initiated_at=_render_optional(row.cancel_initiated_us),
        results_url=f"/v1/messages/batches/{row.batch_id}/results" if has_results else None,
    )


def _render_time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _render_optional(time_us: int | None) -> str | None:
    return None if time_us is None else _render_time(time_us)


def _not_found(batch_id: str) -> NotFound:
    return NotFound(f"There is no batch {batch_id[:100]!r}.", hint="GET /v1/messages/batches lists them")
