"""The local models behind the provider seam.

Owns: the way from a request to its stream.
Must never know: HTTP, other providers, when models are loaded.
Invariants: the three input counts of `message_start` add up to `count_tokens`, because both come from
`prepare_request`; leaving the stream cancels the engine's work; an engine that dies after the first batch ends the
stream in an error event; between `send` and the engine's socket there are two frames, `EngineClient.generate` and
`ChildProcess.send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from renga.errors import RengaError, UpstreamTimedOut
from renga.models.engine.client import EngineClient
from renga.models.engine.loading.model_loader import Model
from renga.models.providers.local.answer_builder import AnswerBuilder, AnswerContext
from renga.models.providers.local.local_model import LocalModel
from renga.models.providers.local.model_pool import ModelPool
from renga.models.providers.local.preparation import PreparedRequest, calls_tools, prepare_request
from renga.models.providers.provider_seam import Capabilities, ProviderHealth
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.signature import Signer

_LONG_BODY_BYTES = 64 * 1024
"""Beyond this a prompt is encoded in a thread: 0.2 us a byte would hold the event loop for more than 10 ms."""

_UNREAD = Capabilities(0, 0, tools=True, structured_outputs=True, thinking=True, prefill=True)
"""Of a model whose files were not read yet: what it cannot do after all is refused once they are."""


class LocalProvider:
    """Serves the local models, each from an engine process of its own."""

    def __init__(self, pool: ModelPool, signature_secret: Callable[[], bytes]) -> None:
        """`signature_secret` is asked when the first signature is needed: it may still be on its way from disk."""
        self.pool = pool
        self._secret = signature_secret

    async def start(self) -> None:
        await self.pool.start()

    async def stop(self) -> None:
        await self.pool.stop()

    def health(self, model: str = "") -> ProviderHealth:
        if model:
            return self.pool.health(self.pool.find_model(model))
        each = {name: self.pool.health(local) for name, local in self.pool.models.items()}
        whole = each[self.pool.default.name]
        if self.pool.default.failure is not None:
            whole = next((health for health in each.values() if health.ready), whole)
        return replace(whole, models=each)

    async def models(self) -> tuple[str, ...]:
        return tuple(self.pool.models)

    async def wait_ready(self, model: str = "") -> None:
        """Wait until a model is loaded, the default one if none is named.

        Raises: ApiError if it cannot be; Overloaded if that takes too long.
        """
        local = self.pool.find_model(model) if model else self.pool.default
        with self.pool.use(local):
            await self.pool.load_model(local)

    def capabilities(self, model: str) -> Capabilities:
        known = self.pool.find_model(model).known
        if known is None:
            return _UNREAD
        return Capabilities(
            max_input_tokens=known.context_tokens,
            max_output_tokens=known.context_tokens,
            tools=calls_tools(known.family),
            structured_outputs=True,
            thinking=bool(known.family.think_open),
            prefill=True,
        )

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        known = await self.pool.read_model(self.pool.find_model(model))
        return len((await self._prepare(request, known)).prompt.token_ids)

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        local = self.pool.find_model(model)
        with self.pool.use(local):
            if local.known is None:
                await self.pool.load_model(local)
            known = await self.pool.read_model(local)
            prepared = await self._prepare(request, known)
            client = await self.pool.load_model(local)
            answer = AnswerBuilder(await self._begin_answer(prepared, local, client, request, answered_as))
            deadline = asyncio.get_running_loop().time() + local.settings.request_timeout_s
            try:
                while (generation := answer.take_generation()) is not None:
                    async with aclosing(client.generate(generation)) as tokens:
                        while answer.wants_tokens:
                            async with asyncio.timeout_at(deadline):
                                batch = await anext(tokens)
                            if events := answer.accept(batch, alone=client.in_flight == 1):
                                yield events
            except (RengaError, TimeoutError) as error:
                failure = error if isinstance(error, RengaError) else _timed_out()
                if not answer.began:
                    raise failure from error
                yield [error_event(failure)]
                return
            finally:
                answer.release()
            yield answer.end()

    async def _prepare(self, request: InferenceRequest, model: Model) -> PreparedRequest:
        """Prepare a request, in a thread where it is long."""
        signer = self._signer(request, model)
        if len(request.body) > _LONG_BODY_BYTES:
            return await asyncio.to_thread(prepare_request, request, model, signer)
        return prepare_request(request, model, signer)

    async def _begin_answer(
        self,
        prepared: PreparedRequest,
        local: LocalModel,
        client: EngineClient,
        request: InferenceRequest,
        answered_as: str,
    ) -> AnswerContext:
        """Claim what the prompt cache has of a prompt, waiting where others' prefixes must not be felt."""
        known = await self.pool.read_model(local)
        local.prefixes.fit(client.config.cache_blocks, client.deaths)
        cache_owner, prompt = request.caller.cache_owner, prepared.prompt
        return AnswerContext(
            model=known,
            conversation=prepared.conversation,
            generation=prepared.generation,
            request=request.message,
            answered_as=answered_as,
            signer=self._signer(request, known),
            thinking_open=prepared.prompt.thinking_open,
            context_full=prepared.context_full,
            claim=await local.prefixes.claim(cache_owner, prompt.token_ids, prepared.marked),
        )

    def _signer(self, request: InferenceRequest, model: Model) -> Signer:
        return Signer(self._secret(), model.name, request.caller.key_id)


def _timed_out() -> UpstreamTimedOut:
    return UpstreamTimedOut(
        "The local engine did not finish in time.", hint="engine.request_timeout_s sets how long it may take"
    )
