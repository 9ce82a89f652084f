"""Where a request asks for its prefix to be cached.

Owns: the order of a prompt's blocks (tools, system, messages), which of them may carry a breakpoint, and the rules
between breakpoints.
Must never know: what is in any cache (`models/cache/prefix_cache.py`), tokens, targets.
Invariants: at most four breakpoints; those that live longer come first; the automatic one stands on the last block that
can carry one.

Source: docs/reference/messages-api.md, "Prompt caching"; public documentation "Prompt caching", sections "Automatic
caching", "What can be cached" and "Mixing different TTLs".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import (
    CacheControl,
    DocumentBlock,
    ImageBlock,
    InputBlock,
    SearchResultBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from renga.protocols.messages.request import Breakpoint, RequestFields, Tool

MAX_BREAKPOINTS = 4

Section: TypeAlias = Literal["tools", "system", "messages"]

_CACHEABLE = (Tool, TextBlock, ImageBlock, DocumentBlock, SearchResultBlock, ToolUseBlock, ToolResultBlock)
"""Thinking is cached as part of what follows it, and cannot carry a breakpoint."""


class PromptBlock(Struct, frozen=True):
    """One block of a prompt, and where it stands in the body."""

    section: Section
    outer: int
    """Index of the tool, the system block or the turn."""
    inner: int
    """Index of the block in its turn; 0 elsewhere."""
    role: str
    """Of its turn; "" elsewhere."""
    value: Tool | InputBlock
    """A text that stands for a list of one text block is that block."""
    is_short: bool = False
    """Whether it was written as a mere text, without a list around it."""

    @property
    def path(self) -> str:
        """Where it stands, as clients spell it."""
        if self.section != "messages":
            return self.section if self.is_short else f"{self.section}.{self.outer}"
        content = f"messages.{self.outer}.content"
        return content if self.is_short else f"{content}.{self.inner}"

    @property
    def can_be_marked(self) -> bool:
        """Whether a breakpoint may stand on it."""
        return isinstance(self.value, _CACHEABLE)


def walk_blocks(request: RequestFields) -> Iterator[PromptBlock]:
    """Every block of a prompt, in the order in which prefixes grow."""
    for index, tool in enumerate(request.tools):
        yield PromptBlock("tools", index, 0, "", tool)
    if isinstance(request.system, str):
        if request.system:
            yield PromptBlock("system", 0, 0, "", TextBlock(request.system), is_short=True)
    else:
        for index, block in enumerate(request.system or ()):
            yield PromptBlock("system", index, 0, "", block)
    for outer, turn in enumerate(request.messages):
        if isinstance(turn.content, str):
            if turn.content:
                yield PromptBlock("messages", outer, 0, turn.role, TextBlock(turn.content), is_short=True)
        else:
            for inner, block in enumerate(turn.content):
                yield PromptBlock("messages", outer, inner, turn.role, block)


def find_breakpoints(request: RequestFields) -> tuple[Breakpoint, ...]:
    """The breakpoints of a request, in order; the automatic one is where it comes to stand.

    Raises: InvalidRequest naming the breakpoint that is one too many or out of order.
    """
    found: list[Breakpoint] = []
    paths: list[str] = []
    last: Breakpoint | None = None
    for index, block in enumerate(walk_blocks(request)):
        for path, control in _controls(block):
            found.append(Breakpoint(index, block.section, block.outer, block.inner, control.ttl == "1h"))
            paths.append(path)
        if block.can_be_marked:
            last = Breakpoint(index, block.section, block.outer, block.inner)
    automatic = request.cache_control
    if automatic is not None and last is not None:
        _add_automatic(found, paths, Breakpoint(*_place(last), hour=automatic.ttl == "1h"))
    if len(found) > MAX_BREAKPOINTS:
        raise InvalidRequest(
            f"At most {MAX_BREAKPOINTS} blocks may have cache_control, not {len(found)}.", path=paths[MAX_BREAKPOINTS]
        )
    for before, here, path in zip(found, found[1:], paths[1:], strict=False):
        if here.hour and not before.hour:
            raise InvalidRequest(
                "A cache_control of 1h must not come after one of 5m; the order is tools, system, messages.",
                path=f"{path}.ttl",
            )
    return tuple(found)


def _place(breakpoint_: Breakpoint) -> tuple[int, Section, int, int]:
    return breakpoint_.index, breakpoint_.section, breakpoint_.outer, breakpoint_.inner


def _add_automatic(found: list[Breakpoint], paths: list[str], automatic: Breakpoint) -> None:
    """Put the automatic breakpoint in, unless its block carries the same one already.

    Raises: InvalidRequest if its block carries another one.
    """
    same = [mark for mark in found if mark.index == automatic.index]
    if not same or len(found) == MAX_BREAKPOINTS:  # with four of its own, a request has no place left
        found.append(automatic)
        paths.append("cache_control")
    elif all(mark.hour != automatic.hour for mark in same):
        raise InvalidRequest(
            "The last block has a cache_control with another ttl.", path="cache_control.ttl", hint="give both the same"
        )


def _controls(block: PromptBlock) -> Iterator[tuple[str, CacheControl]]:
    """The cache_control of a block and of the parts inside it, which count as the block's own."""
    value = block.value
    parts = value.content if isinstance(value, (ToolResultBlock, SearchResultBlock)) else None
    if isinstance(parts, tuple):
        for index, part in enumerate(parts):
            control = getattr(part, "cache_control", None)
            if isinstance(control, CacheControl):
                yield f"{block.path}.content.{index}.cache_control", control
    control = getattr(value, "cache_control", None)
    if isinstance(control, CacheControl):
        yield f"{block.path}.cache_control", control
