"""Pieces of a local answer as the events of a stream.

Owns: block boundaries and indexes, tool ids, thinking signatures, and counting.
Must never know: token ids' meaning, prompts, the engine process.
Invariants: blocks never overlap and their indexes are dense; no empty text block is opened; a thinking block's
signature is one delta, just before its stop.

Source: docs/reference/messages-api.md, "Streaming events".
"""

from __future__ import annotations

from typing import Literal

import msgspec

from renga import ids
from renga.models.engine.text.answer_parser import Piece, TextPiece, ThinkingPiece, ToolArguments, ToolEnd, ToolStart
from renga.protocols.messages import blocks
from renga.protocols.messages.events import event_types
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.signature import Signer

_EMPTY_OBJECT = msgspec.Raw(b"{}")
_DIRECT = blocks.DirectCaller()

OpenBlock = Literal["text", "thinking", "tool_use"]


class EventWriter:
    """Writes the blocks of one answer, one after the other."""

    def __init__(self, signer: Signer, *, show_thinking: bool, keep_leading_space: bool) -> None:
        self._signer = signer
        self._show_thinking = show_thinking
        self._keep_space = keep_leading_space
        self._index = 0
        self._open: OpenBlock | None = None
        self._thought: list[str] = []
        self.called_tools = False
        """Whether the answer holds a tool call, which decides its stop reason."""

    def write_pieces(self, pieces: list[Piece]) -> Batch:
        """The events that say these pieces."""
        events: Batch = []
        for piece in pieces:
            match piece:
                case TextPiece(text=text):
                    self._write_text(text, events)
                case ThinkingPiece(text=text):
                    self._write_thinking(text, events)
                case ToolStart(name=name):
                    self._start_tool(name, events)
                case ToolArguments(json=part):
                    events.append(event_types.ContentBlockDelta(self._index, event_types.InputJsonDelta(part)))
                case ToolEnd():
                    self.close(events)
        return events

    def close(self, events: Batch) -> None:
        """Stop the block that is open, if one is."""
        if self._open is None:
            return
        if self._open == "thinking":
            thought = "".join(self._thought) if self._show_thinking else ""
            signature = self._signer.sign(thought)
            events.append(event_types.ContentBlockDelta(self._index, event_types.SignatureDelta(signature)))
            self._thought.clear()
        events.append(event_types.ContentBlockStop(self._index))
        self._index += 1
        self._open = None
        self._keep_space = False

    def _write_text(self, text: str, events: Batch) -> None:
        if self._open != "text":
            text = text if self._keep_space else text.lstrip()
            if not text:
                return
            self._begin("text", blocks.TextBlock(""), events)
        events.append(event_types.ContentBlockDelta(self._index, event_types.TextDelta(text)))

    def _write_thinking(self, text: str, events: Batch) -> None:
        if self._open != "thinking":
            self._begin("thinking", blocks.ThinkingBlock("", ""), events)
        self._thought.append(text)
        if self._show_thinking:
            events.append(event_types.ContentBlockDelta(self._index, event_types.ThinkingDelta(text)))

    def _start_tool(self, name: str, events: Batch) -> None:
        self.called_tools = True
        self._begin("tool_use", blocks.ToolUseBlock(ids.tool_use_id(), name, _EMPTY_OBJECT, caller=_DIRECT), events)
        events.append(event_types.ContentBlockDelta(self._index, event_types.InputJsonDelta("")))

    def _begin(self, kind: OpenBlock, block: blocks.OutputBlock, events: Batch) -> None:
        self.close(events)
        events.append(event_types.ContentBlockStart(self._index, block))
        self._open = kind
