"""Decoded text to what it means: text, thinking, tool calls.

Owns: reading an answer incrementally, stop sequences, and holding back what may yet become a tag.
Must never know: token ids, Anthropic's wire types, how the prompt was written.
Invariants: the pieces do not depend on how the text was cut into chunks; no part of a tag is ever emitted as text;
the arguments of a tool call concatenate to one JSON object, and what is not one stays text.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NoReturn, cast

import msgspec

from renga.models.engine.text.families import Family


class TextPiece(msgspec.Struct, frozen=True):
    """More of the text that the answer says."""

    text: str


class ThinkingPiece(msgspec.Struct, frozen=True):
    """More of what the model thought before it answers."""

    text: str


class ToolStart(msgspec.Struct, frozen=True):
    """A tool call begins; its arguments follow."""

    name: str


class ToolArguments(msgspec.Struct, frozen=True):
    """More of the call's arguments; all of them together are one JSON object."""

    json: str


class ToolEnd(msgspec.Struct, frozen=True):
    """The tool call that was begun is complete."""


Piece = TextPiece | ThinkingPiece | ToolStart | ToolArguments | ToolEnd


class AnswerShape(msgspec.Struct, frozen=True):
    """What the parser should expect of an answer."""

    family: Family
    stop_sequences: tuple[str, ...] = ()
    tool_names: frozenset[str] = frozenset()
    """Empty: no tools were offered, and tool tags are text."""
    thinking_open: bool = False
    """Whether the prompt already opened the thinking block."""


class ParsedCall(msgspec.Struct, frozen=True):
    """A tool call as found in an answer."""

    name: str
    arguments: dict[str, Any]


Mode = Literal["text", "thinking", "call"]


class AnswerParser:
    """Reads one answer as its text arrives, and tells its parts apart."""

    def __init__(self, shape: AnswerShape) -> None:
        self._shape = shape
        self._mode: Mode = "thinking" if shape.thinking_open else "text"
        self._marks = _list_marks(shape)
        self._begun = {mode: _begin_marks(marks) for mode, marks in self._marks.items()}
        self._held = ""
        """Text that has come and is not certain yet."""
        self._is_fresh = shape.thinking_open
        """Whether line breaks that come now stand between a tag and what follows it, and mean nothing."""
        self._begins = True
        """Whether nothing but space has come yet."""
        self.stopped_by: str | None = None
        """The stop sequence that ended the text; after it nothing more is emitted."""

    @property
    def is_thinking(self) -> bool:
        """Whether the text so far ends inside a thinking block."""
        return self._mode == "thinking"

    def push(self, text: str) -> list[Piece]:
        """Take more decoded text and give the pieces that are certain by now.

        Cost: 3 us for a short text without marks.
        """
        if self.stopped_by is not None:
            return []
        self._held += text
        self._notice_bare_call()
        pieces: list[Piece] = []
        while self.stopped_by is None and (found := self._find_mark()):
            start, mark = found
            before, self._held = self._held[:start], self._held[start + len(mark) :]
            pieces += self._cross(before, mark)
        if self.stopped_by is None and self._mode != "call" and not self._may_be_bare_call():
            pieces += self._release()
        return pieces

    def finish(self) -> list[Piece]:
        """The answer ended: give what was held back, and close what is open."""
        pieces: list[Piece] = []
        while self._mode == "call" and self.stopped_by is None:
            before, self._held = self._held, ""
            if not _parse_calls(before, self._shape.family):  # a string that never ended: the first tag was the end
                start, mark = _find_first(before, self._marks["call"]) or (len(before), "")
                before, self._held = before[:start], before[start + len(mark) :]
            pieces += self._leave_call(before) + self.push("")
        held, self._held = self._held, ""
        return pieces if self.stopped_by is not None else pieces + self._emit(held)

    def _find_mark(self) -> tuple[int, str] | None:
        """Find the next mark; one that stands in a string of a call's arguments is part of the string."""
        found = _find_first(self._held, self._marks[self._mode])
        while found and self._mode == "call" and _ends_in_string(self._held[: found[0]]):
            start = self._held.find(found[1], found[0] + 1)
            found = (start, found[1]) if start >= 0 else None
        return found

    def _may_be_bare_call(self) -> bool:
        """Whether the answer may yet turn out to begin with a tool call without a tag."""
        return self._begins and self._shape.family.bare_tool_calls and bool(self._shape.tool_names)

    def _notice_bare_call(self) -> None:
        """Switch to reading a call if the answer begins like one."""
        if self._may_be_bare_call() and (start := self._held.lstrip()):
            self._begins = False
            if start[0] in "{[":
                self._mode = "call"

    def _cross(self, before: str, mark: str) -> list[Piece]:
        """Pass a mark: emit what stood before it and change to the mode that it opens."""
        family = self._shape.family
        if self._mode == "call":
            return self._leave_call(before)
        if mark in self._shape.stop_sequences and self._mode == "text":
            self.stopped_by = mark
            return self._emit(before)
        pieces = self._emit(before.rstrip("\n") if family.loose_newlines else before)
        following: dict[str, Mode] = {family.think_open: "thinking", family.tool_open: "call"}
        self._mode = following.get(mark, "text")
        self._is_fresh = True
        return pieces

    def _release(self) -> list[Piece]:
        """Emit what can no longer be the beginning of a mark, or line breaks before one."""
        begun, longest = self._begun[self._mode]
        certain = len(self._held)
        for start in range(max(0, certain - longest), certain):
            if self._held[start:] in begun:
                certain = start
                break
        if self._shape.family.loose_newlines:
            certain = len(self._held[:certain].rstrip("\n"))
        text, self._held = self._held[:certain], self._held[certain:]
        return self._emit(text)

    def _emit(self, text: str) -> list[Piece]:
        if self._is_fresh and self._shape.family.loose_newlines:
            text = text.lstrip("\n")
        if not text:
            return []
        self._is_fresh = False
        return [ThinkingPiece(text) if self._mode == "thinking" else TextPiece(text)]

    def _leave_call(self, text: str) -> list[Piece]:
        """Emit the tool calls in a text, whole, and go back to reading text.

        What is not calls to tools that were offered is read again, as text. A call is emitted only when it is complete:
        half of one could not be taken back if the rest is malformed.
        """
        self._mode = "text"
        self._is_fresh = True
        calls = _parse_calls(text, self._shape.family)
        if not calls or any(call.name not in self._shape.tool_names for call in calls):
            self._held = text + self._held
            return []
        pieces: list[Piece] = []
        for call in calls:
            arguments = json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))
            pieces += [ToolStart(call.name), ToolArguments(arguments), ToolEnd()]
        return pieces


def _list_marks(shape: AnswerShape) -> dict[Mode, tuple[str, ...]]:
    """List what is looked for in each mode."""
    family = shape.family
    tags = (family.think_open, family.tool_open if shape.tool_names else "")
    return {
        "text": tuple(mark for mark in (*tags, *shape.stop_sequences) if mark),
        "thinking": (family.think_close,) if family.think_close else (),
        "call": (family.tool_close,) if family.tool_close else (),
    }


def _find_first(text: str, marks: tuple[str, ...]) -> tuple[int, str] | None:
    """Find the mark that is complete first; of two that end together, the longer. So chunks make no difference."""
    found = [(start + len(mark), start, mark) for mark in marks if (start := text.find(mark)) >= 0]
    if not found:
        return None
    _, start, mark = min(found)
    return start, mark


def _ends_in_string(text: str) -> bool:
    """Whether JSON that is cut off here is cut inside a string."""
    return text.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1


def _begin_marks(marks: tuple[str, ...]) -> tuple[frozenset[str], int]:
    """Every text that begins one of the marks without being whole, and the length of the longest."""
    begun = frozenset(mark[:length] for mark in marks for length in range(1, len(mark)))
    return begun, max(map(len, begun), default=0)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _parse_calls(text: str, family: Family) -> list[ParsedCall]:
    """Read one call, a list of them, or several one after another; empty if anything else is in the text."""
    calls: list[ParsedCall] = []
    rest = text.strip().removeprefix(family.tool_open).strip()
    try:
        while rest:
            value, end = _DECODER.raw_decode(rest)
            items = cast("list[Any]", value) if isinstance(value, list) else [value]
            calls += [_read_call(item, family) for item in items]
            rest = rest[end:].lstrip(" \n\t;,")
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return calls


def _read_call(value: Any, family: Family) -> ParsedCall:
    """Read one call.

    Raises: ValueError, TypeError or KeyError if it is not one.
    """
    name = value["name"]
    given: list[Any] = [value[key] for key in family.arguments_keys if key in value]
    arguments: Any = given[0] if given else {}
    if isinstance(arguments, str):  # some models write the arguments as JSON in a string
        arguments = _DECODER.decode(arguments)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError("not a tool call")
    return ParsedCall(name, cast("dict[str, Any]", arguments))
