"""An answer's events as the stream of server-sent events that a Messages client reads.

Owns: which of the events are for the client, what is added to them, and that nothing follows the end.
Must never know: sockets, or where events come from. The framing is `protocols/messages/sse.py`.

Source: docs/reference/messages-api.md, "Streaming events", "Mistakes of other servers" (10) and
"What this server does".
"""

from __future__ import annotations

from msgspec.structs import replace

from renga.errors import RengaError
from renga.protocols.messages.events.error_events import error_event
from renga.protocols.messages.events.event_order import TERMINAL_KINDS, ends_stream
from renga.protocols.messages.events.event_types import (
    Batch,
    ContentBlockDelta,
    ContentBlockStart,
    ErrorEvent,
    Event,
    Ping,
    RawEvent,
)
from renga.protocols.messages.sse import PING, encode_batch


class MessageStreamEncoder:
    """Writes the events of one answer, in batches, until its terminal event."""

    def __init__(self, request_id: str) -> None:
        self.has_ended = False
        """Whether the terminal event is among what was encoded."""
        self._request_id = request_id
        self._wants_ping = True

    def encode_batch(self, batch: Batch) -> bytes:
        """The bytes for the next events, up to the terminal one; empty where none is for the client."""
        return encode_batch(self._arrange(batch))

    def encode_failure(self, error: RengaError) -> bytes:
        """An error as the last event of the stream."""
        self.has_ended = True
        return encode_batch([error_event(error, self._request_id)])

    def keep_alive(self) -> bytes:
        """A ping, which may stand anywhere in a stream."""
        return PING

    def _arrange(self, batch: Batch) -> Batch:
        """The batch up to its terminal event; the first block of a stream of our own is followed by a ping."""
        for index, event in enumerate(batch):
            if isinstance(event, RawEvent):
                # An upstream that is relayed sends pings of its own.
                self._wants_ping = False
                if event.kind in TERMINAL_KINDS:
                    return self._end(batch[: index + 1])
            elif isinstance(event, ContentBlockDelta):
                continue
            elif ends_stream(event):
                return self._end(batch[: index + 1])
            elif self._wants_ping and isinstance(event, (ContentBlockStart, Ping)):
                self._wants_ping = False
                if isinstance(event, ContentBlockStart) and not _is_ping(batch[index + 1 : index + 2]):
                    return [*batch[: index + 1], Ping(), *self._arrange(batch[index + 1 :])]
        return batch

    def _end(self, batch: Batch) -> Batch:
        """The stream's last batch; an error in it names the request."""
        self.has_ended = True
        last = batch[-1]
        if isinstance(last, ErrorEvent) and not last.request_id:
            return [*batch[:-1], replace(last, request_id=self._request_id)]
        return batch


def _is_ping(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[0], Ping)
