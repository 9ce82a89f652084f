"""A message is a fold over its stream: fold, split, and a tally that reads a stream in passing.

Owns: how events add up. Must never know: where events come from.
Invariants: `fold(split(message)) == message`; a stream that has no message_stop is never taken for a message.

Source: messages-api notes, sections 1.8, 1.9 and 2.2.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from renga.errors import ApiError, RengaError
from renga.protocols.messages.blocks import OutputBlock, ServerToolUseBlock, TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.errors import error_from_event
from renga.protocols.messages.events.event_order import KINDS, Phase, advance
from renga.protocols.messages.events.event_types import (
    Batch,
    CitationsDelta,
    CompleteMessage,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    DeltaUsage,
    ErrorEvent,
    Event,
    Evidence,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessageDeltaBody,
    MessageStart,
    MessageStop,
    Ping,
    RawEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    Usage,
    WireEvent,
)

_decode_event = msgspec.json.Decoder(WireEvent).decode
_decode_raws = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_EMPTY_INPUT = msgspec.Raw(b"{}")
_Count = TypeVar("_Count", int, int | None)


def decode_event(relayed: RawEvent) -> WireEvent | None:
    """Read an upstream's own event; None for a kind that the stream's order does not know.

    Raises: ApiError when it is not what its kind says.
    """
    if relayed.kind not in KINDS:
        return None
    try:
        return _decode_event(relayed.data)
    except msgspec.MsgspecError as error:
        raise ApiError(f"The upstream sent a {relayed.kind} event that cannot be read: {error}") from error


class MessageAccumulator:
    """Adds events up to a message, one at a time."""

    def __init__(self) -> None:
        self.evidence: Evidence | None = None
        self._phase = Phase.START
        self._whole: CompleteMessage | None = None
        self._start: Message | None = None
        self._blocks: list[OutputBlock] = []
        self._open: OutputBlock | None = None
        self._deltas: list[Delta] = []
        self._end: MessageDeltaBody | None = None
        self._usage: Usage = Usage(input_tokens=0)

    def push(self, event: Event) -> None:
        """Take the next event.

        Raises: the RengaError that an error event stands for; ApiError when the stream is not in order.
        """
        if isinstance(event, Evidence):
            self.evidence = event
            return
        if isinstance(event, CompleteMessage):
            self._whole = event
            self._phase = Phase.DONE
            return
        if isinstance(event, RawEvent):
            decoded = decode_event(event)
            if decoded is None:
                return
            event = decoded
        self._phase = advance(self._phase, kind_of(event))
        self._add(event)

    def message(self) -> Message:
        """The whole message.

        Raises: ApiError while the stream has not ended in message_stop.
        """
        if self._whole is not None:
            return self._whole.message
        if self._phase is not Phase.DONE or self._start is None or self._end is None:
            raise ApiError("The answer broke off before its end.", hint="send the request again")
        return replace(
            self._start,
            content=tuple(self._blocks),
            stop_reason=self._end.stop_reason,
            stop_sequence=self._end.stop_sequence,
            stop_details=self._end.stop_details,
            usage=self._usage,
        )

    def body(self) -> bytes:
        """The whole message as JSON; as the target wrote it where the target sent it whole.

        Raises: as `message`.
        """
        return self._whole.data if self._whole is not None else msgspec.json.encode(self.message())

    def _add(self, event: WireEvent) -> None:
        if isinstance(event, ContentBlockDelta):
            self._deltas.append(event.delta)
        elif isinstance(event, ContentBlockStart):
            self._open = event.content_block
        elif isinstance(event, ContentBlockStop):
            assert self._open is not None  # the order says so
            self._blocks.append(_close_block(self._open, self._deltas))
            self._deltas = []
        elif isinstance(event, MessageStart):
            self._start = event.message
            self._usage = event.message.usage
        elif isinstance(event, MessageDelta):
            self._end = event.delta
            self._usage = merge_usage(self._usage, event.usage)
        elif isinstance(event, ErrorEvent):
            raise error_from_event(event)


async def fold(batches: AsyncIterable[Batch]) -> Message:
    """Add a stream up to its message.

    Raises: the RengaError that an error event stands for; ApiError when the stream breaks off or is not in order.
    """
    folder = MessageAccumulator()
    async for batch in batches:
        for event in batch:
            folder.push(event)
    return folder.message()


def kind_of(event: WireEvent) -> str:
    """The event's name on the wire."""
    return str(event.__struct_config__.tag)


def merge_usage(usage: Usage, delta: DeltaUsage) -> Usage:
    """What is known of a request's use after a message_delta: its counts are cumulative, so they replace."""
    return Usage(
        input_tokens=_known(delta.input_tokens, usage.input_tokens),
        cache_creation_input_tokens=_known(delta.cache_creation_input_tokens, usage.cache_creation_input_tokens),
        cache_read_input_tokens=_known(delta.cache_read_input_tokens, usage.cache_read_input_tokens),
        cache_creation=usage.cache_creation,
        output_tokens=delta.output_tokens,
        output_tokens_details=delta.output_tokens_details or usage.output_tokens_details,
        server_tool_use=delta.server_tool_use or usage.server_tool_use,
        service_tier=usage.service_tier,
        inference_geo=usage.inference_geo,
    )


def _known(new: int | UnsetType | None, old: _Count) -> int | _Count:
    return new if isinstance(new, int) else old


def _close_block(block: OutputBlock, deltas: list[Delta]) -> OutputBlock:
    """A block's start and its deltas as one block."""
    if not deltas:
        return block
    if isinstance(block, TextBlock):
        text = block.text + "".join([delta.text for delta in deltas if isinstance(delta, TextDelta)])
        citations = [bytes(delta.citation) for delta in deltas if isinstance(delta, CitationsDelta)]
        if not citations:
            return replace(block, text=text)
        return replace(block, text=text, citations=msgspec.Raw(b"[" + b",".join(citations) + b"]"))
    if isinstance(block, ThinkingBlock):
        thinking = block.thinking + "".join([delta.thinking for delta in deltas if isinstance(delta, ThinkingDelta)])
        signatures = [delta.signature for delta in deltas if isinstance(delta, SignatureDelta)]
        return replace(block, thinking=thinking, signature=signatures[-1] if signatures else block.signature)
    if isinstance(block, (ToolUseBlock, ServerToolUseBlock)):
        text = "".join([delta.partial_json for delta in deltas if isinstance(delta, InputJsonDelta)])
        return replace(block, input=msgspec.Raw(text.encode())) if text else block
    return block


def split(message: Message) -> list[Event]:
    """The stream that a message is the fold of: one delta of each kind a block."""
    usage = message.usage
    start_usage = replace(
        usage, output_tokens=min(1, usage.output_tokens), output_tokens_details=UNSET, server_tool_use=UNSET
    )
    start = replace(message, content=(), stop_reason=None, stop_sequence=None, stop_details=UNSET, usage=start_usage)
    events: list[Event] = [MessageStart(start)]
    for index, block in enumerate(message.content):
        empty, deltas = _open_block(block)
        events.append(ContentBlockStart(index, empty))
        if index == 0:
            events.append(Ping())
        events.extend(ContentBlockDelta(index, delta) for delta in deltas)
        events.append(ContentBlockStop(index))
    end = MessageDeltaBody(message.stop_reason, message.stop_sequence, message.stop_details)
    events.append(
        MessageDelta(
            end,
            DeltaUsage(
                output_tokens=usage.output_tokens,
                input_tokens=usage.input_tokens,
                cache_creation_input_tokens=usage.cache_creation_input_tokens,
                cache_read_input_tokens=usage.cache_read_input_tokens,
                output_tokens_details=usage.output_tokens_details,
                server_tool_use=usage.server_tool_use,
            ),
        )
    )
    events.append(MessageStop())
    return events


def _open_block(block: OutputBlock) -> tuple[OutputBlock, list[Delta]]:
    """A block as its start and the deltas that fill it."""
    deltas: list[Delta] = []
    if isinstance(block, TextBlock):
        if block.text:
            deltas.append(TextDelta(block.text))
        if not isinstance(block.citations, msgspec.Raw) or bytes(block.citations) == b"null":
            # Some clients refuse null here, and the API itself leaves the field out.
            return replace(block, text="", citations=UNSET), deltas
        deltas.extend(CitationsDelta(citation) for citation in _decode_raws(block.citations))
        return replace(block, text="", citations=msgspec.Raw(b"[]")), deltas
    if isinstance(block, ThinkingBlock):
        if block.thinking:
            deltas.append(ThinkingDelta(block.thinking))
        if block.signature:
            deltas.append(SignatureDelta(block.signature))
        return replace(block, thinking="", signature=""), deltas
    if isinstance(block, (ToolUseBlock, ServerToolUseBlock)):
        # The first piece is empty, as in recorded traffic; a call without arguments still adds up to `{}`.
        deltas.append(InputJsonDelta(""))
        deltas.append(InputJsonDelta(bytes(block.input).decode()))
        return replace(block, input=_EMPTY_INPUT), deltas
    return block, deltas


class _TrackedStart(Struct, frozen=True):
    """What a tally reads of a relayed message_start: nothing that a new model family could change."""

    usage: Usage
    id: str = ""


class _TrackedStartEvent(Struct, frozen=True):
    message: _TrackedStart


_decode_tally_start = msgspec.json.Decoder(_TrackedStartEvent).decode
_decode_delta = msgspec.json.Decoder(MessageDelta | Ping).decode
_decode_error = msgspec.json.Decoder(ErrorEvent | Ping).decode


class UsageTracker:
    """Watches a stream pass by: usage, stop reason, and how it ended. Relayed block deltas are counted, not read.

    Cost: about 0.1 us an event.
    """

    def __init__(self) -> None:
        self.message_id: str | None = None
        self.stop_reason: str | None = None
        self.error: RengaError | None = None
        self.evidence: Evidence | None = None
        self.ended = False
        """Whether the terminal event passed."""
        self.delta_count = 0
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What was used so far; None when the stream has not said. A broken stream's output is at least its deltas."""
        usage = self._usage
        if usage is None or (self.ended and self.error is None) or self.delta_count <= usage.output_tokens:
            return usage
        return replace(usage, output_tokens=self.delta_count)

    def watch(self, batch: Iterable[Event]) -> None:
        """Take note of a batch. Never raises: what cannot be read is not counted, and the client still gets it."""
        for event in batch:
            if isinstance(event, RawEvent):
                if event.kind == "content_block_delta":
                    self.delta_count += 1
                elif event.kind in _TALLIED:
                    self._note_relayed(event)
            elif isinstance(event, ContentBlockDelta):
                self.delta_count += 1
            elif isinstance(event, CompleteMessage):
                message = event.message
                self.message_id, self._usage = message.id, message.usage
                self.stop_reason, self.ended = message.stop_reason, True
            else:
                self._note(event)

    def _note_relayed(self, event: RawEvent) -> None:
        try:
            if event.kind == "message_start":
                start = _decode_tally_start(event.data).message
                self.message_id, self._usage = start.id, start.usage
            elif event.kind == "message_stop":
                self.ended = True
            else:
                self._note(_decode_delta(event.data) if event.kind == "message_delta" else _decode_error(event.data))
        except msgspec.MsgspecError:
            if event.kind == "error":
                self.ended, self.error = True, ApiError("The upstream ended with an error that cannot be read.")

    def _note(self, event: Event) -> None:
        if isinstance(event, MessageStart):
            self.message_id, self._usage = event.message.id, event.message.usage
        elif isinstance(event, MessageDelta):
            self.stop_reason = event.delta.stop_reason
            self._usage = merge_usage(self._usage or Usage(input_tokens=0), event.usage)
        elif isinstance(event, MessageStop):
            self.ended = True
        elif isinstance(event, ErrorEvent):
            self.ended, self.error = True, error_from_event(event)
        elif isinstance(event, Evidence):
            self.evidence = event


_TALLIED = frozenset({"message_start", "message_delta", "message_stop", "error"})
