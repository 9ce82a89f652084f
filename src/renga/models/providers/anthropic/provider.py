"""Targets that speak the Messages API: what the client sent goes on, what comes back is relayed.

Owns: headers, the models' abilities, and turning one HTTP exchange into batches.
Must never know: how a client is served, or what a request means beyond its model.
Invariants: of the client's body only `model` is changed, and breakpoints may be added where it has none; an event's
bytes are relayed as they came; the answer ends in exactly one terminal event, in an ErrorEvent if the upstream dies;
one read of the upstream is one batch.

Source: docs/reference/messages-api.md, "Transport", "Streaming events" and "Model ids and prices".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from renga.clock import Clock
from renga.config import ProviderSettings
from renga.errors import ApiError, RengaError
from renga.models.cache.automatic_breakpoints import AutomaticBreakpoints
from renga.models.providers.anthropic.model_lines import MODEL_LINES, OTHER_MODELS, find_line, line_capabilities
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
from renga.models.providers.transport.upstream_client import (
    WHOLE_ANSWER_TIMEOUT_S,
    Headers,
    UpstreamLost,
    UpstreamResponse,
)
from renga.models.providers.transport.upstream_errors import BY_TYPE, ErrorSource, clean_message, read_refusal
from renga.protocols.messages.blocks import OutputBlock
from renga.protocols.messages.edits.cache_control_insertion import mark_blocks
from renga.protocols.messages.edits.raw_model_edit import replace_model
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_order import TERMINAL_KINDS
from renga.protocols.messages.events.event_types import Batch, CompleteMessage, ErrorEvent, Event, Message, RawEvent
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.sse import FrameSplitter

FORWARDED_PREFIX = "anthropic-"
"""Client headers beyond version and betas that go on, when they begin so: user profile, workspace."""

KEY_HEADER_BY_VERSION = {"2023-06-01": ("x-api-key", ""), "2026-10-21": ("authorization", "Bearer ")}
"""How a key is sent, as the SDK of that version does."""

OAUTH_PREFIX = "sk-ant-oat"
"""Tokens that are only ever a Bearer."""

OWN_HEADERS = frozenset({"anthropic-version", "anthropic-beta"})

_decode_whole = msgspec.json.Decoder(Message).decode


class _ModelEntry(Struct):
    id: str


class _ModelList(Struct):
    data: tuple[_ModelEntry, ...]


class _Count(Struct):
    input_tokens: int


class _EventHead(Struct):
    type: str = ""


class _ErrorLoose(Struct):
    type: str = "api_error"
    message: str = ""


class _ErrorEventLoose(Struct):
    error: _ErrorLoose


class AnthropicProvider:
    """One upstream that speaks the Messages API."""

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        secret: str | None,
        clock: Clock,
        breakpoints: AutomaticBreakpoints | None = None,
    ) -> None:
        """`breakpoints` are set where a client sets none and they pay; None: never."""
        self._breakpoints = breakpoints
        self._settings = settings
        self._secret = secret
        self._policy = RetryPolicy(settings.max_retries, clock)
        self._capabilities = {line.prefix: line_capabilities(line, settings) for line in (*MODEL_LINES, OTHER_MODELS)}
        self._source = ErrorSource(name, secret, f"set {place_of_key(settings)} to a key that {name} accepts")
        self._upstream = Replicas(name, settings, clock)
        self._running = False

    async def start(self) -> None:
        self._upstream.open()
        self._running = True

    async def stop(self) -> None:
        self._running = False
        self._upstream.close()

    def health(self, model: str = "") -> ProviderHealth:
        if not self._running:
            return ProviderHealth(False, f"{self._source.name} was not started")
        if self._settings.api_key_env and not self._secret:
            return ProviderHealth(False, f"{self._source.name} has no key: {self._source.key_hint}")
        return ProviderHealth(True)

    def capabilities(self, model: str) -> Capabilities:
        return self._capabilities[find_line(model)]

    async def models(self) -> tuple[str, ...]:
        """Raises: RengaError when the upstream cannot be asked."""

        async def ask() -> bytes:
            headers = self._headers("2023-06-01", ())
            return await self._body(await self._upstream.get("/v1/models?limit=1000", headers))

        body = await with_retries(ask, self._policy)
        return tuple(entry.id for entry in self._decode(body, _ModelList).data)

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        """Ask the upstream to count a request's input tokens.

        Raises: RengaError when it cannot be asked.
        """
        body = replace_model(request.body, model)
        headers = self._request_headers(request)

        async def ask() -> bytes:
            return await self._body(await self._upstream.post("/v1/messages/count_tokens", headers, body))

        return self._decode(await with_retries(ask, self._policy), _Count).input_tokens

    async def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        """Relay one answer, in which the upstream says what it is answered as. See `Provider.send`."""
        body = replace_model(self._mark(request, model), model)
        headers = self._request_headers(request)
        timeout_s = None if request.message.stream else WHOLE_ANSWER_TIMEOUT_S
        fingerprint = self._upstream.fingerprint(request.message)
        visit = self._upstream.visit(fingerprint)
        tried = 0
        while True:
            try:
                response = await visit.upstream.post("/v1/messages", headers, body, first_event_timeout_s=timeout_s)
                visit.note_response(response)
                if response.status != 200:
                    raise await read_refusal(response, self._source, self._policy.clock.now())
                relay = Relay(response, self._source)
                await relay.open()
                break
            except RETRIED_FAILURES as error:
                if visit.move_on(error):
                    continue
                wait_s = plan_retry(error, tried, self._policy)
            except BaseException as error:
                visit.move_on(error)
                raise
            tried += 1
            await self._policy.clock.sleep(wait_s)
            visit = self._upstream.visit(fingerprint)
        try:
            yield relay.first
            while not relay.ended:
                batch = await relay.next_batch()
                if batch:
                    yield batch
        finally:
            relay.close()

    def _mark(self, request: InferenceRequest, model: str) -> bytes:
        """The client's body, with breakpoints where they pay."""
        body = request.body
        if self._breakpoints is None or self._breakpoints.is_short(len(body), model):
            return body
        chosen = self._breakpoints.choose(request.caller.cache_owner, request.message, model)
        return mark_blocks(body, chosen) if chosen else body

    async def _body(self, response: UpstreamResponse) -> bytes:
        if response.status != 200:
            raise await read_refusal(response, self._source, self._policy.clock.now())
        async with response:
            return await response.read()

    def _decode(self, body: bytes, shape: type[Any]) -> Any:
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            raise ApiError(f"{self._source.name} sent an answer that cannot be read.") from error

    def _headers(self, version: str, betas: tuple[str, ...]) -> Headers:
        headers = [("content-type", "application/json"), ("anthropic-version", version)]
        if betas:
            headers.append(("anthropic-beta", ",".join(betas)))
        if self._secret:
            name, prefix = KEY_HEADER_BY_VERSION[version]
            if self._secret.startswith(OAUTH_PREFIX):
                name, prefix = KEY_HEADER_BY_VERSION["2026-10-21"]
            headers.append((name, prefix + self._secret))
        return tuple(headers)

    def _request_headers(self, request: InferenceRequest) -> Headers:
        forwarded = tuple(
            (name, value)
            for name, value in request.forwarded_headers
            if name.startswith(FORWARDED_PREFIX) and name not in OWN_HEADERS
        )
        return (*self._headers(request.version, request.betas), *forwarded)


class Relay:
    """One response of the upstream, read as batches."""

    def __init__(self, response: UpstreamResponse, source: ErrorSource) -> None:
        self.first: Batch = []
        self.ended = False
        self._response = response
        self._source = source
        self._splitter: FrameSplitter | None = None
        """Of a stream's bytes."""
        self._began = False

    async def open(self) -> None:
        """Read until there is a first batch.

        Raises: Refusal when the answer begins with an error; RengaError when there is none that can be read.
        """
        try:
            if self._response.headers.get("content-type", "").lower().startswith("text/event-stream"):
                self._splitter = FrameSplitter()
                while not self.first:
                    self.first = await self._read(self._splitter)
            else:
                self.first = [read_whole(await self._response.read(), self._source)]
                self.ended = True
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go: back to the pool when the answer was read to its end, else closed."""
        self._response.close()

    async def next_batch(self) -> Batch:
        """The next events; after the terminal one `ended` is true. An upstream that died is an ErrorEvent."""
        try:
            assert self._splitter is not None  # what is not a stream has no next batch
            return await self._read(self._splitter)
        except RengaError as error:
            self.ended = True
            return [error_event(error)]

    async def _read(self, splitter: FrameSplitter) -> Batch:
        data = await self._response.read_some()
        frames = splitter.push(data) if data else splitter.finish()
        batch: Batch = [RawEvent(kind, payload) for kind, payload in frames]
        # Only the last event can be terminal in a stream that is in order; an error ends it wherever it stands.
        for index, (kind, payload) in enumerate(frames):
            if kind == _NAMELESS or kind in TERMINAL_KINDS:
                event = self._note(kind, payload, batch[:index])
                if event is not None:
                    batch[index] = event
                if self.ended:
                    del batch[index + 1 :]
                    self._response.finish()
                    break
        self._began = self._began or bool(batch)
        if not data and not self.ended:
            raise UpstreamLost(f"{self._source.name} ended its answer in the middle.")
        return batch

    def _note(self, kind: str, payload: bytes, before: list[Event]) -> Event | None:
        """Take notice of an event that is terminal or nameless; the event that replaces it, if one does.

        Raises: Refusal for an error with which the answer begins.
        """
        if kind == _NAMELESS:
            kind = _read_kind(payload)
        if kind != "error":
            self.ended = kind in TERMINAL_KINDS
            return RawEvent(kind, payload)
        event = read_error_event(payload, self._source)
        if not self._began and not before:
            error_class = BY_TYPE.get(event.error.type, ApiError)
            raise UpstreamRefusal(error_class(event.error.message), error_class.status, self._response.headers)
        self.ended = True
        return event


_NAMELESS = "message"
"""The kind of an event that came without a name."""


def _read_kind(payload: bytes) -> str:
    try:
        return msgspec.json.decode(payload, type=_EventHead).type or "message"
    except msgspec.MsgspecError:
        return "message"


def read_error_event(payload: bytes, source: ErrorSource) -> ErrorEvent:
    """An upstream's error event, with our key taken out."""
    try:
        event = msgspec.json.decode(payload, type=ErrorEvent)
    except msgspec.MsgspecError:
        try:
            loose = msgspec.json.decode(payload, type=_ErrorEventLoose).error
        except msgspec.MsgspecError:
            loose = _ErrorLoose(message=f"{source.name} ended with an error that cannot be read.")
        event = error_event(BY_TYPE.get(loose.type, ApiError)(loose.message))
    if source.secret and source.secret in event.error.message:
        body = msgspec.structs.replace(event.error, message=clean_message(event.error.message, source.secret))
        return msgspec.structs.replace(event, error=body)
    return event


def read_whole(body: bytes, source: ErrorSource) -> CompleteMessage:
    """A whole answer. Blocks that Renga does not know stay in its bytes, and are left out of its typed value.

    Raises: ApiError when it is no message at all.
    """
    try:
        return CompleteMessage(body, _decode_whole(body))
    except msgspec.MsgspecError:
        pass
    try:
        fields: dict[str, Any] = msgspec.json.decode(body)
        fields["content"] = [block for block in fields["content"] if _is_known(block)]
        return CompleteMessage(body, msgspec.convert(fields, Message))
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ApiError(f"{source.name} sent an answer that is not a message.") from error


def _is_known(block: object) -> bool:
    try:
        msgspec.convert(block, OutputBlock)
    except msgspec.MsgspecError:
        return False
    return True
