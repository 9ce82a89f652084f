"""A whole message as the stream of events that it could have come as.

Owns: how a message is taken apart. Must never know: who asked for a stream.
Invariant: `fold_batches([split(message)]).message() == message`.

Source: docs/reference/messages-api.md, "The message and its usage" and "Streaming events".
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from renga.protocols.messages.blocks import OutputBlock, ServerToolUseBlock, TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events.event_types import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    DeltaUsage,
    Event,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessageDeltaBody,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)

_decode_raws = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_EMPTY_INPUT = msgspec.Raw(b"{}")


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
