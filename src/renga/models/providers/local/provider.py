"""The local engine behind the provider seam.

Owns: one model's life (load, start, stop) and the way from a call to its stream.
Must never know: HTTP, other providers.
Invariants: the three input counts of `message_start` add up to `count_tokens`, because both come from `_prepare`;
leaving the stream cancels the engine's work; an engine that dies after the first batch ends the stream in an error
event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from msgspec import Struct
from msgspec.structs import replace

from renga.clock import Clock, SystemClock
from renga.config import EngineSettings
from renga.config.cache import CacheSettings
from renga.errors import ApiError, ConfigError, InvalidRequest, RengaError
from renga.models.cache.prefix_cache import CacheMark, MarkedPrompt
from renga.models.cache.prefix_chain import chain_prefixes
from renga.models.engine.client import EngineClient, SpawnedProcess, spawn
from renga.models.engine.grammar.answer_rules import build_answer_grammar
from renga.models.engine.ipc import BACKGROUND, LIVE, EngineConfig, EngineStats, GenerationRequest
from renga.models.engine.loading.model_loader import Model, load_model
from renga.models.engine.text.chat_template import Prompt
from renga.models.providers.local.generation import LocalAnswer, answer_tokens
from renga.models.providers.local.held_prefixes import HeldPrefixes
from renga.models.providers.local.prompt_rendering import Conversation, build_conversation
from renga.models.providers.provider_seam import Capabilities, ProviderHealth
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.signature import Signer

_log = logging.getLogger("renga.models.engine")

_LONG_BODY_BYTES = 64 * 1024
"""Beyond this a prompt is encoded in a thread: 0.2 us a byte would hold the event loop for more than 10 ms."""


class Prepared(Struct, frozen=True):
    """A call, ready for the engine."""

    conversation: Conversation
    prompt: Prompt
    max_tokens: int
    """What the context leaves of what the client allows."""
    grammar: str | None
    marked: MarkedPrompt | None
    """The prompt as the prompt cache knows it; None where it has no breakpoint."""


class StartedEngine(Struct, frozen=True):
    """A model and the engine process that is loading it."""

    model: Model
    launch: EngineConfig
    spawned: SpawnedProcess


def start_engine(settings: EngineSettings) -> StartedEngine:
    """Resolve the model and start its process. Needs no event loop, so that a server can do it before anything else.

    Raises: ConfigError if there is no such model.
    Cost: 20 ms for a model that is there; a hub id or a first GGUF takes long.
    """
    model = load_model(settings.model)
    launch = replace(
        model.launch(cache_bytes=settings.cache_bytes, threads=settings.threads),
        running_max=settings.max_running,
        background_max=settings.max_background,
        waiting_max=settings.max_waiting,
    )
    # the cache may hold less than the model was made for
    return StartedEngine(replace(model, context_tokens=launch.context_tokens), launch, spawn(launch))


def build_prefixes(settings: CacheSettings, clock: Clock) -> HeldPrefixes:
    """The prompt cache as it was set up in `[cache]`."""
    return HeldPrefixes(clock, settings.minimum_tokens, hides=settings.hide_shared_prefixes)


def _mark_prompt(message: MessageRequest, model: str, prompt: Prompt) -> MarkedPrompt:
    """A prompt as the prompt cache knows it."""
    marks = (
        CacheMark(mark.index, tokens, mark.hour)
        for mark, tokens in zip(message.breakpoints, prompt.positions, strict=True)
    )
    return MarkedPrompt(chain_prefixes(message, model), tuple(marks), len(prompt.token_ids))


class LocalProvider:
    """Serves one model from the engine process."""

    def __init__(
        self,
        settings: EngineSettings,
        signature_secret: Callable[[], bytes],
        engine: StartedEngine | None = None,
        prefixes: HeldPrefixes | None = None,
    ) -> None:
        """`signature_secret` is asked when the first signature is needed: it may still be on its way from disk.

        `engine` is one that was started beforehand, see `start_engine`.
        """
        self._prefixes = prefixes or build_prefixes(CacheSettings(), SystemClock())
        self._settings = settings
        self._engine = engine
        self._secret = signature_secret
        self._model: Model | None = None
        self._client: EngineClient | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failure: RengaError | None = None

    async def start(self) -> None:
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            engine = self._engine or await asyncio.to_thread(start_engine, self._settings)
            client = EngineClient(engine.launch, engine.spawned)
            await client.start()
            self._model, self._client = engine.model, client
            await client.wait_ready()
        except RengaError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("unexpected while the model was loaded")
            self._fail(ApiError(f"{type(error).__name__}: {error}"))

    def _fail(self, failure: RengaError) -> None:
        """Say why no request of this server will be answered here, where whoever started it looks."""
        self._failure = failure
        _log.error("the local model cannot be used: %s", failure.sentence())

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._client is not None:
            await self._client.stop()

    def health(self) -> ProviderHealth:
        if self._failure is not None:
            return ProviderHealth(False, self._failure.sentence())
        if self._client is None or not self._client.ready:
            return ProviderHealth(False, "the engine is loading the model")
        return ProviderHealth(True)

    async def models(self) -> tuple[str, ...]:
        return (self._model.name,) if self._model else ()

    @property
    def in_flight(self) -> int:
        """Requests given to the engine and not ended."""
        return self._client.in_flight if self._client else 0

    @property
    def engine_process_id(self) -> int | None:
        """The engine's process; None while there is none."""
        return self._client.process_id if self._client else None

    async def wait_ready(self) -> None:
        """Wait until the model is loaded.

        Raises: ApiError if it cannot be.
        """
        _, client = await self._loaded()
        await self._wait_ready(client)

    def load(self) -> EngineStats:
        """The engine's load; zeros while the model is being loaded."""
        return self._client.stats() if self._client else EngineStats()

    def capabilities(self, model: str) -> Capabilities:
        loaded = self._model
        context_tokens = loaded.context_tokens if loaded else 0
        family = loaded.family if loaded else None
        return Capabilities(
            max_input_tokens=context_tokens,
            max_output_tokens=context_tokens,
            tools=bool(family and (family.tool_open or family.bare_tool_calls)),
            structured_outputs=True,
            thinking=bool(family and family.think_open),
            prefill=True,
        )

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        return len((await self._prepare(request, model)).prompt.token_ids)

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        prepared = await self._prepare(request, model)
        loaded, client = await self._loaded()
        await self._wait_ready(client)
        message = request.message
        sampling = loaded.sampling
        generation = GenerationRequest(
            prompt_token_ids=prepared.prompt.token_ids,
            max_tokens=prepared.max_tokens,
            temperature=sampling.temperature if message.temperature is None else message.temperature,
            top_p=sampling.top_p if message.top_p is None else message.top_p,
            top_k=sampling.top_k if message.top_k is None else message.top_k,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            grammar=prepared.grammar,
            owner=request.caller.key_id,
            priority=BACKGROUND if request.service_tier == "batch" else LIVE,
        )
        self._prefixes.fit(client.launch.cache_blocks, client.deaths)
        claim = await self._prefixes.claim(request.caller.cache_owner, prepared.prompt.token_ids, prepared.marked)
        answering = LocalAnswer(
            model=loaded,
            conversation=prepared.conversation,
            generation=generation,
            request=message,
            answered_as=answered_as,
            signer=self._signer(request, model),
            thinking_open=prepared.prompt.thinking_open,
            context_full=prepared.max_tokens < message.max_tokens,
            timeout_s=self._settings.request_timeout_s,
            claim=claim,
        )
        batches = answer_tokens(client, answering)
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()

    def _signer(self, request: InferenceRequest, model: str) -> Signer:
        return Signer(self._secret(), model, request.caller.key_id)

    async def _prepare(self, request: InferenceRequest, model: str) -> Prepared:
        """Render the prompt and fit the answer into the context.

        Raises: InvalidRequest if a block cannot be read, a schema cannot be held or the prompt is too long.
        """
        loaded, _ = await self._loaded()
        if len(request.body) > _LONG_BODY_BYTES:
            return await asyncio.to_thread(self._prepare_now, request, model, loaded)
        return self._prepare_now(request, model, loaded)

    def _prepare_now(self, request: InferenceRequest, model: str, loaded: Model) -> Prepared:
        message = request.message
        conversation = build_conversation(message, loaded.family, self._signer(request, model))
        prompt = loaded.template.render(conversation.chat)
        if prompt.thinking_open and not conversation.must_think:
            # `adaptive` leaves it to the model; a template that opens the block itself would force it
            prompt = loaded.template.render(replace(conversation.chat, thinking=False))
        room_tokens = loaded.context_tokens - len(prompt.token_ids)
        if room_tokens < min(1, message.max_tokens):
            raise InvalidRequest(
                f"prompt is too long: {len(prompt.token_ids)} tokens > {loaded.context_tokens - 1} maximum",
                path="messages",
            )
        grammar = build_answer_grammar(replace(conversation.rules, thinking_open=prompt.thinking_open))
        marked = _mark_prompt(message, model, prompt) if message.breakpoints else None
        return Prepared(conversation, prompt, min(message.max_tokens, room_tokens), grammar, marked)

    async def _loaded(self) -> tuple[Model, EngineClient]:
        """The model and its client, waiting for the first load.

        Raises: ApiError, retryable, if the model could not be loaded.
        """
        if self._starting is None:
            raise ApiError("the local engine was not started")
        while self._model is None or self._client is None:
            if self._failure is not None:
                raise ApiError(f"the local engine has no model: {self._failure.sentence()}")
            await asyncio.wait({self._starting}, timeout=0.01)
        return self._model, self._client

    async def _wait_ready(self, client: EngineClient) -> None:
        if client.ready:
            return
        try:
            await client.wait_ready()
        except ConfigError as error:
            raise ApiError(f"the local engine cannot run: {error.sentence()}") from error
