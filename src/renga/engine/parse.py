"""Decoded text to what it means: text, thinking, tool calls.

Owns: reading an answer incrementally, stop sequences, and holding back what may yet become a tag.
Must never know: token ids, Anthropic's wire types, how the prompt was written.
Invariants: the pieces do not depend on how the text was cut into chunks; no part of a tag is ever emitted as text;
the arguments of a tool call concatenate to one JSON object, and what is not one stays text.
"""

from __future__ import annotations

import msgspec

from renga.engine.families import Family


class Text(msgspec.Struct, frozen=True):
    """More of the answer."""

    text: str


class Thinking(msgspec.Struct, frozen=True):
    """More of the thinking."""

    text: str


class ToolStart(msgspec.Struct, frozen=True):
    """A tool call begins."""

    name: str


class ToolArguments(msgspec.Struct, frozen=True):
    """More of the call's arguments; all of them together are one JSON object."""

    json: str


class ToolEnd(msgspec.Struct, frozen=True):
    """The tool call is complete."""


Piece = Text | Thinking | ToolStart | ToolArguments | ToolEnd


class AnswerShape(msgspec.Struct, frozen=True):
    """What the parser should expect of an answer."""

    family: Family
    stop_sequences: tuple[str, ...] = ()
    tool_names: frozenset[str] = frozenset()
    """Empty: no tools were offered, and tool tags are text."""
    thinking_open: bool = False
    """Whether the prompt already opened the thinking block."""


class Parser:
    """Reads one answer."""

    def __init__(self, shape: AnswerShape) -> None: ...

    @property
    def stopped_by(self) -> str | None:
        """The stop sequence that ended the text; after it nothing more is emitted."""
        raise NotImplementedError

    @property
    def is_thinking(self) -> bool:
        """Whether the text so far ends inside a thinking block."""
        raise NotImplementedError

    def push(self, text: str) -> list[Piece]:
        """Take more decoded text and give the pieces that are certain by now."""
        raise NotImplementedError

    def finish(self) -> list[Piece]:
        """The answer ended: give what was held back, and close what is open."""
        raise NotImplementedError
