"""The local models of a server: which are loaded, and who makes room for whom.

Owns: loading at start and on first use, unloading what is idle, and the memory that loaded models may take together.
Must never know: requests' content, HTTP.
Invariants: what loaded models may take at most never passes the bound; a request waits for its model no longer than
`load_timeout_s`; only idle models are unloaded, the one that was used longest ago first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from renga.clock import Clock
from renga.errors import ApiError, ConfigError, NotFound, Overloaded
from renga.models.engine.client import EngineClient
from renga.models.engine.loading.model_loader import Model
from renga.models.providers.local.local_model import LocalModel
from renga.models.providers.provider_seam import ProviderHealth

_RETRY_AFTER_S = 5.0
"""When a request may come back for which its model was not loaded in time."""


class ModelPool:
    """Local models by name; the first is the default one. Use it from one event loop."""

    def __init__(self, models: tuple[LocalModel, ...], clock: Clock, max_memory_bytes: int = 0) -> None:
        """`max_memory_bytes` bounds what all loaded models take together; 0: no bound."""
        self.models = {model.name: model for model in models}
        self.default = models[0]
        self._clock = clock
        self._max_memory_bytes = max_memory_bytes
        self._reserved: dict[str, int] = {}
        """Memory of each model that is loaded, or is being loaded or unloaded."""
        self._room = asyncio.Lock()
        """Held by whoever waits for room: first come, first served."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Those that load a model now."""
        self._unloading: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        """When each idle model is unloaded."""
        self._last_used_ns = dict.fromkeys(self.models, 0)
        self._changed = asyncio.Event()
        """Set when a model got idle or gave its memory back, and made anew."""
        self._is_started = False

    async def start(self) -> None:
        """Begin to load what is to be loaded at start, and return."""
        self._is_started = True
        for model in self.models.values():
            if model.settings.load == "start":
                self._begin_load(model)

    async def stop(self) -> None:
        """Unload everything. Requests in flight end in `EngineDied`. Idempotent."""
        self._is_started = False
        for timer in self._timers.values():
            timer.cancel()
        loading = [*self._tasks.values()]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, *self._unloading, return_exceptions=True)
        for model in self.models.values():
            await model.stop_process()

    def find_model(self, name: str) -> LocalModel:
        """The model of a name.

        Raises: NotFound if there is none.
        """
        model = self.models.get(name)
        if model is None:
            raise NotFound(f"there is no local model {name}", hint=f"there are {', '.join(self.models)}")
        return model

    def health(self, model: LocalModel) -> ProviderHealth:
        """Whether a model can take requests now; none can before `start` and after `stop`."""
        return model.health() if self._is_started else ProviderHealth(False, "the local engine is not running")

    @contextmanager
    def use(self, model: LocalModel) -> Generator[None]:
        """Keep a model loaded, and note that it was used."""
        try:
            with model.in_use():
                yield
        finally:
            self._last_used_ns[model.name] = self._clock.monotonic_ns()
            self._note_idle(model)

    async def read_model(self, model: LocalModel) -> Model:
        """What a model's files say, which needs no engine process.

        Raises: as `load_model` does.
        """
        if model.known is not None:
            return model.known
        if not self._is_started:
            raise ApiError("the local engine was not started")
        if model.failure is not None:
            raise model.failed()
        async with _bounded(model):
            return await model.read_files()

    async def load_model(self, model: LocalModel) -> EngineClient:
        """The client of a model's engine process, which is started if it is not there. Call it within `use`.

        Raises: Overloaded if that takes too long; ApiError if the model cannot be used.
        """
        if model.client is not None and model.client.ready:
            return model.client
        async with _bounded(model):
            return await self._load(model)

    async def _load(self, model: LocalModel) -> EngineClient:
        while model.client is None or not model.client.ready:
            if not self._is_started:
                raise ApiError("the local engine was not started")
            if model.failure is not None:
                raise model.failed()
            if model.client is None or model.is_loading:
                await asyncio.shield(self._begin_load(model))
                continue
            try:
                await model.client.wait_ready()  # its process was lost, and is being started again
            except ConfigError as error:
                raise ApiError(f"the local engine cannot run: {error.sentence()}") from error
        return model.client

    def _begin_load(self, model: LocalModel) -> asyncio.Task[None]:
        """The task that loads a model, begun if there is none. It never raises; `failure` says what went wrong."""
        task = self._tasks.get(model.name)
        if task is None:
            model.is_loading = True
            task = self._tasks[model.name] = asyncio.create_task(self._run_load(model))
        return task

    async def _run_load(self, model: LocalModel) -> None:
        try:
            await model.read_files()
            reserved_bytes = await self._reserve(model)
            try:
                await model.start_process()
            except BaseException:
                self._release(model, reserved_bytes)
                raise
        except Exception as error:
            model.fail(error)
            await model.stop_process()
        finally:
            model.is_loading = False
            del self._tasks[model.name]
        self._last_used_ns[model.name] = self._clock.monotonic_ns()
        self._note_idle(model)

    async def _reserve(self, model: LocalModel) -> int:
        """Wait until a model's memory is free, unloading others where they are idle. Gives what is reserved.

        Raises: ConfigError if it would not fit alone.
        """
        needed_bytes, bound = model.memory_bytes(), self._max_memory_bytes
        if bound and needed_bytes > bound:
            raise ConfigError(
                f"{model.name} takes up to {needed_bytes >> 20} MiB, and local models may take {bound >> 20} MiB",
                hint="raise engine.max_memory_bytes, or lower the model's cache_bytes",
            )
        async with self._room:
            while bound and sum(self._reserved.values()) + needed_bytes > bound:
                idle = [other for other in self.models.values() if other.is_idle]
                if idle:
                    await self._unload(min(idle, key=lambda other: self._last_used_ns[other.name]))
                else:
                    await self._changed.wait()
            self._reserved[model.name] = self._reserved.get(model.name, 0) + needed_bytes
        return needed_bytes

    def _release(self, model: LocalModel, reserved_bytes: int) -> None:
        """Give memory back, and wake whoever waits for it."""
        self._reserved[model.name] -= reserved_bytes
        self._announce()

    async def _unload(self, model: LocalModel) -> None:
        """Unload a model, unless somebody has begun to use it."""
        if not model.is_idle:
            return
        reserved_bytes = model.memory_bytes()
        await model.stop_process()
        self._release(model, reserved_bytes)

    def _note_idle(self, model: LocalModel) -> None:
        """Wake whoever waits for room, and unload an idle model when its time has come."""
        if not model.is_idle:
            return
        self._announce()
        timer = self._timers.pop(model.name, None)
        if timer is not None:
            timer.cancel()
        idle_s = model.settings.unload_idle_s
        if idle_s and self._is_started:
            loop = asyncio.get_running_loop()
            self._timers[model.name] = loop.call_later(idle_s, self._begin_unload, model)

    def _begin_unload(self, model: LocalModel) -> None:
        """Unload a model that nobody used for long enough; the loop calls it."""
        task = asyncio.create_task(self._unload(model))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    def _announce(self) -> None:
        """Wake everyone who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


@asynccontextmanager
async def _bounded(model: LocalModel) -> AsyncGenerator[None]:
    """Wait inside for no longer than a request may wait for this model.

    Raises: Overloaded when the time is over; loading goes on.
    """
    try:
        async with asyncio.timeout(model.settings.load_timeout_s):
            yield
    except TimeoutError as error:
        raise Overloaded(
            f"the local model {model.name} is still being loaded",
            hint="come back later, or raise its load_timeout_s",
            retry_after_s=_RETRY_AFTER_S,
        ) from error
