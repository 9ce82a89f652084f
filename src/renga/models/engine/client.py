"""The server's end of the engine process: requests in, token batches or vectors out.

Owns: the child's life (start, watch, restart, stop), and which request each batch belongs to.
Must never know: text, chat templates, HTTP.
Invariants: every `generate` ends in a batch with `finish` or an exception, also when the child is killed; leaving the
iterator cancels the request in the child; no thread is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncGenerator

from renga.errors import ApiError, ConfigError, EngineDied, InvalidRequest, Overloaded
from renga.models.engine.child_process import ChildProcess, SpawnedProcess, spawn
from renga.models.engine.ipc import (
    LIVE,
    CancelCommand,
    EmbedCommand,
    EmbeddingReport,
    EmbeddingRequest,
    EngineConfig,
    EngineStats,
    FailedReport,
    GenerationRequest,
    ReadyReport,
    Report,
    StatsReport,
    SubmitCommand,
    TokenBatch,
    TokensReport,
    UnusableReport,
)
from renga.models.engine.token_queue import TokenQueue

_RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Pause before each new start, by how many starts in a row died before they were ready; the last one repeats."""


class EngineClient:
    """One engine process, kept alive. Use it from one event loop."""

    def __init__(self, config: EngineConfig, spawned: SpawnedProcess | None = None) -> None:
        """`spawned` is a process of the same config that is already on its way; without it `start` starts one."""
        self.config = config
        self._spawned = spawned
        self._ids = itertools.count(1)
        self._queues: dict[int, TokenQueue] = {}
        self._embeddings: dict[int, asyncio.Future[list[list[float]]]] = {}
        self._background = 0
        """How many of them nobody waits for: they take nobody's place in the line."""
        self._child: ChildProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        """Set at every change of state, and made anew."""
        self._unusable: str | None = None
        self._stats = EngineStats()
        self._deaths = 0
        self._service_s = 1.0
        """Running mean of how long a request takes, for `retry-after`."""

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, so that requests would run now."""
        return self._child is not None and self._child.was_ready

    @property
    def process_id(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.process.pid if self._child else None

    @property
    def deaths(self) -> int:
        """Processes that ended, each with its key-value cache."""
        return self._deaths

    @property
    def in_flight(self) -> int:
        """Requests that were given to the process and have not ended."""
        return len(self._queues) + len(self._embeddings)

    def stats(self) -> EngineStats:
        """The engine's load, as of its last report."""
        return self._stats

    async def start(self) -> None:
        """Start the process and return at once; `wait_ready` waits."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="engine supervisor")

    async def wait_ready(self) -> None:
        """Wait until the model is loaded.

        Raises: ConfigError if it cannot be loaded.
        """
        while not self.ready:
            if self._unusable is not None:
                raise ConfigError(f"the engine cannot load the model: {self._unusable}")
            await self._changed.wait()

    async def stop(self) -> None:
        """End the process. Requests in flight end in `EngineDied`."""
        if self._supervisor:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
            self._announce()

    async def generate(self, generation: GenerationRequest) -> AsyncGenerator[TokenBatch]:
        """Continue a prompt. Closing the iterator frees what the request holds at the engine's next step.

        While the process is being started or restarted, requests wait in line.
        Raises: Overloaded if too many wait; InvalidRequest if prompt or grammar cannot be used; EngineDied if the
                process was lost.
        """
        is_background = generation.priority > LIVE
        self._refuse_if_full(is_background=is_background)
        request_id = next(self._ids)
        queue = self._queues[request_id] = TokenQueue()
        self._background += is_background
        began_s = asyncio.get_running_loop().time()
        child: ChildProcess | None = None
        finished = False
        try:
            child = await self._connected()
            child.send(SubmitCommand(request_id, generation))
            while not finished:
                batch = await queue.take()
                finished = batch.finish is not None
                yield batch
            self._service_s += (asyncio.get_running_loop().time() - began_s - self._service_s) / 16
        finally:
            del self._queues[request_id]
            self._background -= is_background
            if child and not finished:
                child.send(CancelCommand(request_id))

    async def embed(self, embedding: EmbeddingRequest) -> list[list[float]]:
        """Turn texts into vectors of length 1, in their order; the model must be an embedding model.

        Raises: as `generate` does; InvalidRequest also where the model gives no embeddings.
        """
        is_background = embedding.priority > LIVE
        self._refuse_if_full(is_background=is_background)
        request_id = next(self._ids)
        vectors = self._embeddings[request_id] = asyncio.get_running_loop().create_future()
        self._background += is_background
        child: ChildProcess | None = None
        try:
            child = await self._connected()
            child.send(EmbedCommand(request_id, embedding))
            return await vectors
        finally:
            del self._embeddings[request_id]
            self._background -= is_background
            if child and (not vectors.done() or vectors.cancelled()):
                child.send(CancelCommand(request_id))

    def _refuse_if_full(self, *, is_background: bool) -> None:
        """Raise `Overloaded` if one more of its kind would be too many."""
        config = self.config
        count = self._background if is_background else self.in_flight - self._background
        if count < config.max_running + config.max_waiting:
            return
        rounds = math.ceil(count / config.max_running)
        raise Overloaded(
            f"{count} requests are running or waiting, which is all that the engine takes",
            retry_after_s=max(1.0, round(rounds * self._service_s)),
        )

    async def _connected(self) -> ChildProcess:
        """Wait for a child to talk to; it need not be ready, it reads its commands once it is."""
        while self._child is None or self._unusable is not None:
            if self._unusable is not None:
                raise self._make_death_error()
            if self._supervisor is None:
                raise EngineDied("the engine is stopped")
            await self._changed.wait()
        return self._child

    def _receive(self, report: Report, child: ChildProcess) -> None:
        """Take one report in; what belongs to a request that was left is dropped."""
        match report:
            case TokensReport(request_id, batch, _):
                if queue := self._queues.get(request_id):
                    queue.put(batch)
            case EmbeddingReport(request_id, vectors):
                embedding = self._embeddings.get(request_id)
                if embedding is not None and not embedding.done():
                    embedding.set_result(vectors)
            case FailedReport(request_id, reason, message):
                self._fail(request_id, InvalidRequest(message) if reason == "invalid" else ApiError(message))
            case StatsReport(stats):
                self._stats = stats
            case ReadyReport():
                child.was_ready = True
                self._announce()
            case UnusableReport(message):
                self._unusable = message
                self._announce()

    def _fail(self, request_id: int, error: Exception) -> None:
        """End one request in an error, unless it was left."""
        if queue := self._queues.get(request_id):
            queue.fail(error)
        embedding = self._embeddings.get(request_id)
        if embedding is not None and not embedding.done():
            embedding.set_exception(error)

    def _announce(self) -> None:
        """Wake everyone who waits for a change of state."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _supervise(self) -> None:
        """Keep a child alive until cancelled, or until one says that another start would not help."""
        failures = 0
        while self._unusable is None:
            await asyncio.sleep(_RESTART_DELAYS_S[min(failures, len(_RESTART_DELAYS_S) - 1)])
            child = await self._connect()
            try:
                self._child = child
                self._announce()
                await child.gone
            finally:
                self._reap(child)
            failures = 0 if child.was_ready else failures + 1

    def _reap(self, child: ChildProcess) -> None:
        """Reap a child and end the requests that it took along."""
        child.kill()
        self._deaths += 1
        self._child = None
        self._stats = EngineStats()
        for request_id in [*self._queues, *self._embeddings]:
            self._fail(request_id, self._make_death_error())
        self._announce()

    def _make_death_error(self) -> ApiError:
        """The error for requests that were in flight when the process ended."""
        if self._unusable is not None:
            return ApiError(f"the engine cannot load the model: {self._unusable}")
        return EngineDied("the engine process was lost; it is being restarted", retry_after_s=1.0)

    async def _connect(self) -> ChildProcess:
        """Start a process, or take the one that was started before there was a loop, and speak to it."""
        spawned, self._spawned = self._spawned or spawn(self.config), None
        loop = asyncio.get_running_loop()
        try:
            _, child = await loop.create_unix_connection(
                lambda: ChildProcess(spawned.process, self._receive), sock=spawned.socket
            )
        except BaseException:  # stopped while a new process was on its way
            spawned.end()
            raise
        return child
