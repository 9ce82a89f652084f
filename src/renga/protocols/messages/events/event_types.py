"""The stream of a Messages answer: its events as values.

Owns: the event types, in the API's spelling.
Must never know: where events come from or where they go.
Invariant: a stream is `message_start, (block_start, block_delta*, block_stop)*, message_delta+, message_stop`, with
`ping` anywhere after its start and one `error` as the only other way to end. `ORDER` in
`protocols/messages/events/event_order.py` is that sentence as a table.

Events travel in batches (`Batch`): one batch is what one read of the upstream or one step of the engine brought, so
that it leaves in one write.

Source: docs/reference/messages-api.md, "Streaming events".
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.protocols.messages.blocks import OutputBlock

StopReason: TypeAlias = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]


class CacheCreation(Struct, frozen=True):
    """Tokens written to the prompt cache, by how long they stay."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class OutputTokensDetails(Struct, frozen=True):
    """How many of an answer's tokens were thinking."""

    thinking_tokens: int = 0


class ServerToolUsage(Struct, frozen=True):
    """How often the provider ran its own tools for an answer."""

    web_search_requests: int = 0
    web_fetch_requests: int = 0


class Usage(Struct, frozen=True, omit_defaults=False):
    """What a request used. The three input counts are disjoint: their sum is the prompt."""

    input_tokens: int
    cache_creation_input_tokens: int | None = 0
    cache_read_input_tokens: int | None = 0
    cache_creation: CacheCreation | UnsetType | None = UNSET
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails | UnsetType | None = UNSET
    server_tool_use: ServerToolUsage | UnsetType | None = UNSET
    service_tier: str | UnsetType | None = UNSET
    inference_geo: str | UnsetType | None = UNSET


class DeltaUsage(Struct, frozen=True):
    """The usage of a `message_delta`: cumulative, and the input counts are optional."""

    output_tokens: int
    input_tokens: int | UnsetType | None = UNSET
    cache_creation_input_tokens: int | UnsetType | None = UNSET
    cache_read_input_tokens: int | UnsetType | None = UNSET
    output_tokens_details: OutputTokensDetails | UnsetType | None = UNSET
    server_tool_use: ServerToolUsage | UnsetType | None = UNSET


class Message(Struct, frozen=True):
    """A whole answer. `stop_reason` and `stop_sequence` are sent as null, never left out (SDKs index them)."""

    model: str
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    content: tuple[OutputBlock, ...] = ()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw | UnsetType = UNSET
    usage: Usage = Usage(input_tokens=0)


class TextDelta(Struct, frozen=True, tag_field="type", tag="text_delta"):
    """More of the text of a block that is open."""

    text: str


class InputJsonDelta(Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    """More of the JSON that a tool is called with."""

    partial_json: str


class ThinkingDelta(Struct, frozen=True, tag_field="type", tag="thinking_delta"):
    """More of what the model is thinking in the open block."""

    thinking: str


class SignatureDelta(Struct, frozen=True, tag_field="type", tag="signature_delta"):
    """The signature of the thinking block that is about to end."""

    signature: str
    """Replaces what came before, so it is sent once and whole."""


class CitationsDelta(Struct, frozen=True, tag_field="type", tag="citations_delta"):
    """One more citation for the text of the open block."""

    citation: msgspec.Raw


Delta: TypeAlias = TextDelta | InputJsonDelta | ThinkingDelta | SignatureDelta | CitationsDelta


class MessageStart(Struct, frozen=True, tag_field="type", tag="message_start"):
    """The first event: a message that has no content yet."""

    message: Message


class ContentBlockStart(Struct, frozen=True, tag_field="type", tag="content_block_start"):
    """A new block of the answer begins, with nothing in it yet."""

    index: int
    content_block: OutputBlock


class ContentBlockDelta(Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    """Something is added to the block that is open."""

    index: int
    delta: Delta


class ContentBlockStop(Struct, frozen=True, tag_field="type", tag="content_block_stop"):
    """The open block of the answer is complete."""

    index: int


class MessageDeltaBody(Struct, frozen=True):
    """Why the answer ended, as its last delta says it."""

    stop_reason: str | None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw | UnsetType = UNSET


class MessageDelta(Struct, frozen=True, tag_field="type", tag="message_delta"):
    """How the answer ended, and what it has used."""

    delta: MessageDeltaBody
    usage: DeltaUsage


class MessageStop(Struct, frozen=True, tag_field="type", tag="message_stop"):
    """The last event of an answer that came whole."""


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """Keeps a connection open and says nothing of the answer."""


class ErrorDetails(Struct, frozen=True, omit_defaults=True):
    """A code by which SDKs tell errors of one type apart."""

    error_code: str


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """What went wrong, as the body of an error says it."""

    type: str
    message: str
    details: ErrorDetails | None = None


class ErrorEvent(Struct, frozen=True, tag_field="type", tag="error"):
    """The event that ends a stream in place of the message's own end."""

    error: ErrorBody
    request_id: str | None = None


class RawEvent(Struct, frozen=True):
    """An upstream's own event, kept as the bytes it sent so that unknown fields survive. `data` is one JSON object."""

    kind: str
    """The event's name, as `content_block_delta`."""
    data: bytes


class CompleteMessage(Struct, frozen=True):
    """A complete answer in one event, from a target that did not stream. Nothing but Evidence may stand beside it."""

    data: bytes
    """The Message as JSON, exactly as the target sent it."""
    message: Message


class Evidence(Struct, frozen=True):
    """What the router may learn from an answer; never written to the client's stream. Last event of its stream."""

    mean_logprob: float
    """Natural logarithm, mean over the emitted tokens."""
    min_logprob: float
    token_count: int


WireEvent: TypeAlias = (
    MessageStart
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | ErrorEvent
)
"""Events as they stand on the wire; decodes with `msgspec.json.decode(data, type=WireEvent)`."""

Event: TypeAlias = WireEvent | RawEvent | CompleteMessage | Evidence
Batch: TypeAlias = list[Event]

KIND_BY_TYPE: dict[type[Event], str] = {
    event_type: str(event_type.__struct_config__.tag) for event_type in get_args(WireEvent)
}
"""The name on the wire of each type of event that has one; a `RawEvent` bears its own."""


def kind_of(event: WireEvent) -> str:
    """The event's name on the wire."""
    return KIND_BY_TYPE[type(event)]
