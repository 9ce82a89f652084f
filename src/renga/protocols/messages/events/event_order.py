"""The order of a stream's events, as a table.

Owns: which event may follow which, and so which events end a stream: whoever must know asks here.
Must never know: what the events carry.
Invariant: a stream ends in DONE or FAILED, once, and nothing follows.

Source: docs/reference/messages-api.md, "Streaming events"; the shape is h11's `_state.py`.
"""

from __future__ import annotations

from enum import Enum

from renga.errors import ApiError
from renga.protocols.messages.events.event_types import KIND_BY_TYPE, CompleteMessage, Event, RawEvent


class Phase(Enum):
    """Where a stream of events stands between its first and its last."""

    START = "before message_start"
    BETWEEN = "between blocks"
    INSIDE = "inside a block"
    CLOSING = "after message_delta"
    DONE = "after message_stop"
    FAILED = "after error"


ORDER: dict[Phase, dict[str, Phase]] = {
    Phase.START: {
        "message_start": Phase.BETWEEN,
        "error": Phase.FAILED,
    },
    Phase.BETWEEN: {
        "content_block_start": Phase.INSIDE,
        "message_delta": Phase.CLOSING,
        "ping": Phase.BETWEEN,
        "error": Phase.FAILED,
    },
    Phase.INSIDE: {
        "content_block_delta": Phase.INSIDE,
        "content_block_stop": Phase.BETWEEN,
        "ping": Phase.INSIDE,
        "error": Phase.FAILED,
    },
    Phase.CLOSING: {
        "message_delta": Phase.CLOSING,
        "message_stop": Phase.DONE,
        "ping": Phase.CLOSING,
        "error": Phase.FAILED,
    },
    Phase.DONE: {},
    Phase.FAILED: {},
}

KINDS = frozenset(kind for row in ORDER.values() for kind in row)
"""The events that the table knows. Others are passed over, as clients pass over them."""

DELTAS: dict[str, frozenset[str]] = {
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "tool_use": frozenset({"input_json_delta"}),
    "server_tool_use": frozenset({"input_json_delta"}),
    "mcp_tool_use": frozenset({"input_json_delta"}),
    "compaction": frozenset({"compaction_delta"}),
}
"""The deltas that fit a block, by the block's type. A type that is not here takes none."""

TERMINAL = frozenset(phase for phase, row in ORDER.items() if not row)
"""The phases that nothing follows."""

TERMINAL_KINDS = frozenset(kind for row in ORDER.values() for kind, following in row.items() if following in TERMINAL)
"""The events that end a stream, by their names on the wire."""

_TERMINAL_TYPES = frozenset(
    {CompleteMessage, *(event_type for event_type, kind in KIND_BY_TYPE.items() if kind in TERMINAL_KINDS)}
)


def ends_stream(event: Event) -> bool:
    """Whether an event ends its stream; a complete message does, for it stands for a whole stream."""
    return event.kind in TERMINAL_KINDS if isinstance(event, RawEvent) else type(event) in _TERMINAL_TYPES


def advance(phase: Phase, kind: str) -> Phase:
    """The phase after an event.

    Raises: ApiError when the table has no such step.
    """
    following = ORDER[phase].get(kind)
    if following is not None:
        return following
    if kind in KINDS or phase in TERMINAL:
        raise ApiError(f"The stream is out of order: {kind} {phase.value}.")
    return phase
