"""Targets that speak chat.completions: vLLM, llama.cpp, Ollama, OpenAI and their kin.

Owns: which server it is (its `Dialect`), and turning one HTTP exchange into batches.
Must never know: how a client is served; how requests and chunks are translated (`wire/openai_*.py`).
Invariants: the upstream is always asked to stream; the answer ends in exactly one terminal event, in an ErrorEvent if
the upstream dies; one read of the upstream is one batch.

These servers tell usage at the end only, and `message_start` needs the prompt's tokens at the start. Where a server can
count (vLLM, llama.cpp) it is asked beside the request, at no delay, and the count is exact. Elsewhere `message_start`
carries an estimate of a token every four bytes; `message_delta` corrects it, and that is what is billed. Given up:
holding the answer back until its end is known, which would cost every stream its first seconds; and 0, which clients
show. `count_tokens` asks for one token and reads the usage where no route counts, which warms the prefix cache on the
way; for OpenAI, where that would be billed, it answers with the estimate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import msgspec

from renga.clock import Clock
from renga.config import ProviderSettings
from renga.errors import ApiError, RengaError
from renga.models.providers.openai.token_counting import TokenCounter, estimate_tokens
from renga.models.providers.provider_seam import Capabilities, ProviderHealth
from renga.models.providers.transport.credentials import place_of_key
from renga.models.providers.transport.replicas import Replicas
from renga.models.providers.transport.retry import (
    RETRIED_FAILURES,
    RetryPolicy,
    UpstreamRefusal,
    plan_retry,
    with_retries,
)
from renga.models.providers.transport.upstream_client import Headers, UpstreamLost, UpstreamResponse
from renga.models.providers.transport.upstream_errors import ErrorSource, read_refusal, render_refusal
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.signature import Signer
from renga.protocols.messages.sse import FrameSplitter
from renga.protocols.openai.chat_request import Rendering, render_chat, wants_thinking
from renga.protocols.openai.chat_stream import ChatReader, StreamState
from renga.protocols.openai.chat_types import ChatModelList, Chunk, decode_chunk, encode_chat
from renga.protocols.openai.dialects import GENERIC, Dialect, detect_dialect

PROBE_TIMEOUT_S = 2.0
"""How long a first request waits to learn which server it speaks to."""

_DONE = b"[DONE]"


class OpenAICompatibleProvider:
    """One upstream that speaks the chat.completions API."""

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        secret: str | None,
        clock: Clock,
        signature_secret: Callable[[], bytes],
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._signature_secret = signature_secret
        self._policy = RetryPolicy(settings.max_retries, clock)
        self._source = ErrorSource(name, secret, f"set {place_of_key(settings)} to a key that {name} accepts")
        self._upstream = Replicas(name, settings, clock)
        content = ("content-type", "application/json")
        self._headers: Headers = (content, ("authorization", f"Bearer {secret}")) if secret else (content,)
        self._counter = TokenCounter(self._post)
        self._host = urlsplit(settings.base_url).hostname or ""
        self._dialect: Dialect | None = None
        self._listed = ChatModelList()
        self._probing: asyncio.Task[None] | None = None
        self._running = False

    async def start(self) -> None:
        self._upstream.open()
        self._running = True
        known = detect_dialect(self._host, None)
        if known is not GENERIC:
            self._dialect = known
        self._probing = asyncio.create_task(self._probe())

    async def stop(self) -> None:
        self._running = False
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        self._upstream.close()

    def health(self, model: str = "") -> ProviderHealth:
        if not self._running:
            return ProviderHealth(False, f"{self._source.name} was not started")
        if self._settings.api_key_env and not self._secret:
            return ProviderHealth(False, f"{self._source.name} has no key: {self._source.key_hint}")
        return ProviderHealth(True)

    def capabilities(self, model: str) -> Capabilities:
        dialect = self._dialect or GENERIC
        input_tokens = min(
            self._context_tokens(model) or self._settings.max_input_tokens, self._settings.max_input_tokens
        )
        return Capabilities(
            max_input_tokens=input_tokens,
            max_output_tokens=min(self._settings.max_output_tokens, input_tokens),
            tools=True,
            structured_outputs=True,
            thinking=dialect.reasoning_key is not None,
            images=True,
            prefill=dialect.prefill != "none",
            effort=bool(dialect.efforts),
        )

    def _context_tokens(self, model: str) -> int | None:
        """The context of a model, where its server lists it."""
        return next((entry.max_model_len for entry in self._listed.data if entry.id == model), None)

    async def models(self) -> tuple[str, ...]:
        """Raises: RengaError when the upstream cannot be asked."""
        await self._list_models()
        return tuple(entry.id for entry in self._listed.data)

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        """Count a request's input tokens by whatever means the upstream has.

        Raises: RengaError when it cannot be asked.
        """
        dialect = await self._learn_dialect()
        chat = render_chat(request.message, Rendering(dialect, model, self._signer(request, model)))
        return await with_retries(lambda: self._counter.count(chat, dialect), self._policy)

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        """Translate one answer of the upstream. See `Provider.send`."""
        dialect = await self._learn_dialect()
        signer = self._signer(request, model)
        chat = render_chat(request.message, Rendering(dialect, model, signer))
        fitted = await self._counter.fit(chat, dialect, self._context_tokens(model))
        body = encode_chat(fitted.chat)
        fingerprint = self._upstream.fingerprint(request.message)
        counting = None if fitted.input_tokens is not None else self._counter.start(chat, dialect)
        stream: ChatStream | None = None
        tried = 0
        try:
            visit = self._upstream.visit(fingerprint)
            while stream is None:
                try:
                    response = await visit.upstream.post("/v1/chat/completions", self._headers, body)
                    visit.note_response(response)
                    if response.status != 200:
                        raise await read_refusal(response, self._source, self._policy.clock.now())
                    opening = ChatStream(response, self._source)
                    await opening.open()
                    stream = opening
                except RETRIED_FAILURES as error:
                    if visit.move_on(error):
                        continue
                    wait_s = plan_retry(error, tried, self._policy)
                    tried += 1
                    await self._policy.clock.sleep(wait_s)
                    visit = self._upstream.visit(fingerprint)
                except BaseException as error:
                    visit.move_on(error)
                    raise
            counted = fitted.input_tokens or await self._counter.result(counting)
            state = _begin_state(request.message, signer, answered_as, counted or estimate_tokens(chat))
            reader = ChatReader(state)
            while not stream.ended:
                batch = await stream.next_batch(reader)
                if batch:
                    yield batch
        finally:
            if counting is not None:
                counting.cancel()
            if stream is not None:
                stream.close()

    def _signer(self, request: InferenceRequest, model: str) -> Signer:
        return Signer(self._signature_secret(), model, request.caller.key_id)

    # Which server it is

    async def _learn_dialect(self) -> Dialect:
        """The server's row. Asked once; while it cannot be, the generic row serves and the next call asks again."""
        if self._dialect is not None:
            return self._dialect
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        await asyncio.wait({self._probing}, timeout=PROBE_TIMEOUT_S)
        return self._dialect or GENERIC

    async def _probe(self) -> None:
        try:
            await self._list_models()
        except RengaError as error:
            if not error.retryable:
                # It has no list of models, and will have none the next time.
                self._dialect = self._dialect or GENERIC

    async def _list_models(self) -> None:
        response = await self._upstream.get("/v1/models", self._headers)
        if response.status != 200:
            raise (await read_refusal(response, self._source, self._policy.clock.now())).error
        async with response:
            body = await response.read()
        try:
            listed = msgspec.json.decode(body, type=ChatModelList)
        except msgspec.MsgspecError as error:
            raise ApiError(f"{self._source.name} sent a list of models that cannot be read.") from error
        self._listed = listed
        owners = [entry.owned_by for entry in listed.data]
        self._dialect = detect_dialect(self._host, owners[0] if owners else None)

    # HTTP

    async def _post(self, path: str, body: bytes) -> UpstreamResponse:
        """Raises: UpstreamRefusal for an answer that is an error; RengaError."""
        response = await self._upstream.post(path, self._headers, body)
        if response.status != 200:
            raise await read_refusal(response, self._source, self._policy.clock.now())
        return response


class ChatStream:
    """One response of the upstream, read as chunks."""

    def __init__(self, response: UpstreamResponse, source: ErrorSource) -> None:
        self.ended = False
        """Whether `next_batch` has returned the terminal event."""
        self._response = response
        self._source = source
        self._splitter = FrameSplitter()
        self._chunks: list[Chunk] = []
        self._exhausted = False

    async def open(self) -> None:
        """Read until there is a first chunk.

        Raises: Refusal when the answer begins with an error; RengaError when there is none that can be read.
        """
        try:
            if self._response.headers.get("content-type", "").lower().startswith("application/json"):
                self._chunks = [self._decode(await self._response.read())]
                self._exhausted = True
            while not self._chunks:
                self._chunks = await self._read()
                if self._exhausted and not self._chunks:
                    raise UpstreamLost(f"{self._source.name} ended its answer before it began.")
            error = self._chunks[0].error
            if error is not None:
                failure = self._failure(error)
                raise UpstreamRefusal(failure, failure.status, self._response.headers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go: back to the pool when the answer was read to its end, else closed."""
        self._response.close()

    async def next_batch(self, reader: ChatReader) -> Batch:
        """The events of the next read. An upstream that died is an ErrorEvent; never raises a RengaError."""
        batch: Batch = []
        try:
            chunks, self._chunks = self._chunks or await self._read(), []
            for chunk in chunks:
                if chunk.error is not None:
                    raise self._failure(chunk.error)
                batch += reader.push(chunk)
            if self._exhausted:
                batch += reader.finish()
                self.ended = True
        except RengaError as error:
            batch.append(error_event(error))
            self.ended = True
        return batch

    async def _read(self) -> list[Chunk]:
        data = await self._response.read_some()
        frames = self._splitter.push(data) if data else self._splitter.finish()
        chunks: list[Chunk] = []
        for _, payload in frames:
            if payload == _DONE:
                self._exhausted = True
                self._response.finish()
                break
            chunks.append(self._decode(payload))
        # Some servers end without [DONE]; the reader knows whether the answer was whole.
        self._exhausted = self._exhausted or not data
        return chunks

    def _decode(self, payload: bytes) -> Chunk:
        """A chunk; one that cannot be read is an error in its place, so that what came before it still goes out."""
        try:
            return decode_chunk(payload)
        except msgspec.MsgspecError:
            return Chunk(error=f"{self._source.name} sent a chunk that cannot be read.")

    def _failure(self, error: object) -> RengaError:
        """The error that stands inside a stream, whose status, if it says one, is its `code`."""
        code: object = error.get("code") if isinstance(error, dict) else None  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return render_refusal(status, msgspec.json.encode({"error": error}), self._source)


def _begin_state(request: MessageRequest, signer: Signer, answered_as: str, input_tokens: int) -> StreamState:
    """What the translation of an answer starts from."""
    return StreamState(
        answered_as=answered_as,
        signer=signer,
        input_tokens=input_tokens,
        max_tokens=request.max_tokens,
        stop_sequences=request.stop_sequences,
        shows_thinking=wants_thinking(request),
        omits_thinking=_omits_thinking(request),
        is_serial=getattr(request.tool_choice, "disable_parallel_tool_use", False),
    )


def _omits_thinking(request: MessageRequest) -> bool:
    return getattr(request.thinking, "display", None) == "omitted"
