"""A message is a fold over its stream: events added up to the message that they are.

Owns: how events add up, for whoever wants a whole message of a stream. Must never know: where events come from.
Invariants: `fold_batches([split(message)]).message() == message`; a stream that has no message_stop is never taken
for a message.

Source: docs/reference/messages-api.md, "The message and its usage", "Streaming events" and "How SDKs read a stream".
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TypeVar

import msgspec
from msgspec import UnsetType
from msgspec.structs import replace

from renga.errors import ApiError
from renga.protocols.messages.blocks import OutputBlock, ServerToolUseBlock, TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events.error_events import error_from_event
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
    RawEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    Usage,
    WireEvent,
    kind_of,
)

_decode_event = msgspec.json.Decoder(WireEvent).decode
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
        """What its target knew of the answer, where it said so."""
        self._phase = Phase.START
        self._message: Message | None = None
        """The whole, once it is known."""
        self._data: bytes | None = None
        """The whole as its target wrote it, where the target sent it in one piece."""
        self._start: Message | None = None
        self._blocks: list[OutputBlock] = []
        self._open: OutputBlock | None = None
        self._deltas: list[Delta] = []
        self._end: MessageDeltaBody | None = None
        self._usage: Usage = Usage(input_tokens=0)

    def add_batch(self, batch: Batch) -> None:
        """Take the events that travelled together, in their order.

        Raises: as `add_event`.
        """
        for event in batch:
            self.add_event(event)

    def add_event(self, event: Event) -> None:
        """Take the next event.

        Raises: the RengaError that an error event stands for; ApiError when the stream is not in order.
        """
        if isinstance(event, Evidence):
            self.evidence = event
            return
        if isinstance(event, CompleteMessage):
            self._message, self._data = event.message, event.data
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
        if self._message is None:
            if self._phase is not Phase.DONE or self._start is None or self._end is None:
                raise ApiError("The answer broke off before its end.", hint="send the request again")
            self._message = replace(
                self._start,
                content=tuple(self._blocks),
                stop_reason=self._end.stop_reason,
                stop_sequence=self._end.stop_sequence,
                stop_details=self._end.stop_details,
                usage=self._usage,
            )
        return self._message

    def body(self) -> bytes:
        """The whole message as JSON; as the target wrote it where the target sent it whole.

        Raises: as `message`.
        """
        return msgspec.json.encode(self.message()) if self._data is None else self._data

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


async def fold(batches: AsyncIterable[Batch]) -> MessageAccumulator:
    """Read a stream to its end and add it up; what is returned holds a whole message.

    Raises: the RengaError that an error event stands for; ApiError when the stream breaks off or is not in order.
    """
    accumulator = MessageAccumulator()
    async for batch in batches:
        accumulator.add_batch(batch)
    accumulator.message()
    return accumulator


def fold_batches(batches: Iterable[Batch]) -> MessageAccumulator:
    """Add up a stream that has been read already.

    Raises: as `fold`.
    """
    accumulator = MessageAccumulator()
    for batch in batches:
        accumulator.add_batch(batch)
    accumulator.message()
    return accumulator


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
