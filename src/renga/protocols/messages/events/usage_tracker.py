"""What a stream used and how it ended, read as it passes by.

Owns: the usage, stop reason, error and evidence of a stream that somebody else reads. Must never know: contents.
Invariant: it never raises; what cannot be read is not counted, and the client still gets it.
Cost: about 0.1 us an event; relayed block deltas are counted, not read.

Source: docs/reference/messages-api.md, "The message and its usage", "Streaming events" and "How SDKs read a stream".
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from renga.errors import ApiError, RengaError
from renga.protocols.messages.events.accumulator import merge_usage
from renga.protocols.messages.events.error_events import error_from_event
from renga.protocols.messages.events.event_order import TERMINAL_KINDS, ends_stream
from renga.protocols.messages.events.event_types import (
    CompleteMessage,
    ContentBlockDelta,
    ErrorEvent,
    Event,
    Evidence,
    MessageDelta,
    MessageStart,
    Ping,
    RawEvent,
    Usage,
)


class _TrackedStart(Struct, frozen=True):
    """What is read of a relayed message_start: nothing that a new model family could change."""

    usage: Usage
    id: str = ""


class _TrackedStartEvent(Struct, frozen=True):
    message: _TrackedStart


_decode_start = msgspec.json.Decoder(_TrackedStartEvent).decode
_decode_delta = msgspec.json.Decoder(MessageDelta | Ping).decode
_decode_error = msgspec.json.Decoder(ErrorEvent | Ping).decode

_TRACKED_KINDS = TERMINAL_KINDS | {"message_start", "message_delta"}
"""The relayed events that are looked into; of the others only block deltas are counted."""


class UsageTracker:
    """Watches a stream pass by and keeps its usage, its stop reason, and how it ended."""

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
                elif event.kind in _TRACKED_KINDS:
                    self._note_relayed(event)
            elif isinstance(event, ContentBlockDelta):
                self.delta_count += 1
            else:
                self._note(event)

    def _note_relayed(self, event: RawEvent) -> None:
        """Read what an upstream's own event says of usage and end, as far as it can be read."""
        self.ended = self.ended or ends_stream(event)
        try:
            if event.kind == "message_start":
                start = _decode_start(event.data).message
                self.message_id, self._usage = start.id, start.usage
            elif event.kind == "message_delta":
                self._note(_decode_delta(event.data))
            elif event.kind == "error":
                self._note(_decode_error(event.data))
        except msgspec.MsgspecError:
            pass
        if event.kind == "error" and self.error is None:
            self.error = ApiError("The upstream ended with an error that cannot be read.")

    def _note(self, event: Event) -> None:
        self.ended = self.ended or ends_stream(event)
        if isinstance(event, MessageStart):
            self.message_id, self._usage = event.message.id, event.message.usage
        elif isinstance(event, MessageDelta):
            self.stop_reason = event.delta.stop_reason
            self._usage = merge_usage(self._usage or Usage(input_tokens=0), event.usage)
        elif isinstance(event, CompleteMessage):
            message = event.message
            self.message_id, self.stop_reason, self._usage = message.id, message.stop_reason, message.usage
        elif isinstance(event, ErrorEvent):
            self.error = error_from_event(event)
        elif isinstance(event, Evidence):
            self.evidence = event
