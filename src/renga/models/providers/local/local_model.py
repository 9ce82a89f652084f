"""One local model: what is known of it, and its engine process while it is loaded.

Owns: reading the model's files, starting and stopping its process, and whether it can take requests.
Must never know: other models, memory that they share, HTTP.
Invariants: the files are read once; a failure to load is final and is said to whoever asks for the model; a model that
is in use is never unloaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from renga.config import ModelSettings
from renga.errors import ApiError, RengaError
from renga.models.engine.child_process import SpawnedProcess, spawn
from renga.models.engine.client import EngineClient
from renga.models.engine.ipc import EngineConfig, EngineStats
from renga.models.engine.loading.model_loader import Model, load_model
from renga.models.engine.loading.model_source import name_model
from renga.models.providers.local.held_prefixes import HeldPrefixes
from renga.models.providers.provider_seam import ProviderHealth

_log = logging.getLogger("renga.models.engine")

_PROCESS_BYTES = 256 << 20
"""What an engine process takes besides weights and key-value cache: hokku's took 155 MB after four prompts of 4,000
tokens at once, 72 of them libraries that all such processes share; larger models' activations take more."""


class StartedEngine(Struct, frozen=True):
    """A model and the engine process that is loading it."""

    model: Model
    config: EngineConfig
    spawned: SpawnedProcess


def start_engine(settings: ModelSettings) -> StartedEngine:
    """Read the model and start its process. Needs no event loop, so that a server can do it before anything else.

    Raises: ConfigError if there is no such model.
    Cost: 20 ms for a model that is there; a hub id or a first GGUF takes long.
    """
    model = _read_model(name_model(settings.model), settings)
    config = model.engine_config(settings)
    return StartedEngine(model, config, spawn(config))


def _read_model(name: str, settings: ModelSettings) -> Model:
    """A model as its settings make it: sampled as they say, and with no more context than its cache holds."""
    model = load_model(settings.model)
    sampling = model.sampling
    return replace(
        model,
        name=name,
        context_tokens=model.engine_config(settings).context_tokens,
        sampling=replace(
            sampling,
            temperature=sampling.temperature if settings.temperature is None else settings.temperature,
            top_p=sampling.top_p if settings.top_p is None else settings.top_p,
            top_k=sampling.top_k if settings.top_k is None else settings.top_k,
        ),
    )


class LocalModel:
    """A model by its name. Use it from one event loop."""

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        make_prefixes: Callable[[], HeldPrefixes],
        started: StartedEngine | None = None,
    ) -> None:
        """`started` is a process that was started beforehand, see `start_engine`."""
        self.name = name
        self.settings = settings
        self.client: EngineClient | None = None
        """Its engine process, from when that is started until it is unloaded."""
        self.failure: RengaError | None = None
        """Why it cannot be loaded."""
        self.is_loading = settings.load == "start"
        """Whether it is on its way, or will be as soon as the server starts."""
        self.loads = 0
        """How often its process was started to load it; restarts after a crash do not count."""
        self.users = 0
        """Requests that need it now."""
        self._make_prefixes = make_prefixes
        self.prefixes = make_prefixes()
        """What its engine holds of earlier prompts."""
        self._started = started
        self._model = started.model if started else None
        self._reading: asyncio.Task[Model] | None = None

    @property
    def known(self) -> Model | None:
        """What its files say; None until they were read."""
        return self._model

    @property
    def is_idle(self) -> bool:
        """Whether it is loaded and nobody needs it."""
        return self.client is not None and not self.is_loading and not self.users

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Keep it from being unloaded while a request needs it."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    def health(self) -> ProviderHealth:
        """Whether it can take requests now. One that is not loaded can: the first request loads it."""
        if self.failure is not None:
            return ProviderHealth(False, self.failure.sentence())
        if self.client is not None and self.client.ready:
            return ProviderHealth(True)
        if self.client is None and not self.is_loading:
            return ProviderHealth(True, "not loaded; the first request loads it")
        return ProviderHealth(False, "the engine is loading the model")

    def stats(self) -> EngineStats:
        """Its engine's load; zeros while there is none."""
        return self.client.stats() if self.client else EngineStats()

    def memory_bytes(self) -> int:
        """What it takes at most while it is loaded. Its files must have been read."""
        assert self._model is not None
        return self._model.weight_bytes + self.settings.cache_bytes + _PROCESS_BYTES

    async def read_files(self) -> Model:
        """Read its files, which may mean to fetch or convert them; done once.

        Raises: ApiError if it cannot be used; `failure` says why.
        """
        if self._model is not None:
            return self._model
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(_read_model, self.name, self.settings))
        try:
            self._model = await asyncio.shield(self._reading)
        except Exception as error:
            raise self.fail(error) from error
        return self._model

    async def start_process(self) -> None:
        """Load it: start its engine process and wait until that is ready.

        Raises: ApiError if it cannot be used; `failure` says why.
        """
        model = await self.read_files()
        started, self._started = self._started, None
        config = started.config if started else model.engine_config(self.settings)
        client = EngineClient(config, started.spawned if started else None)
        self.prefixes = self._make_prefixes()
        self.loads += 1
        await client.start()
        self.client = client
        try:
            await client.wait_ready()
        except RengaError as error:
            await self.stop_process()
            raise self.fail(error) from error

    async def stop_process(self) -> None:
        """Unload it: end its engine process. Requests in flight end in `EngineDied`."""
        client, self.client = self.client, None
        if client is not None:
            await client.stop()
        started, self._started = self._started, None
        if started is not None:
            started.spawned.end()

    def fail(self, error: Exception) -> ApiError:
        """Note why it cannot be used, say it where whoever started the server looks, and give what requests get."""
        if self.failure is None:
            if isinstance(error, RengaError):
                self.failure = error
            else:
                _log.error("unexpected while the model was loaded", exc_info=error)
                self.failure = ApiError(f"{type(error).__name__}: {error}")
            _log.error("the local model %s cannot be used: %s", self.name, self.failure.sentence())
        return self.failed()

    def failed(self) -> ApiError:
        """What requests get that ask for a model which cannot be used."""
        assert self.failure is not None
        return ApiError(f"the local engine has no model {self.name}: {self.failure.sentence()}")
