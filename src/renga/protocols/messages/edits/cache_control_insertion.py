"""Writing breakpoints into a request without touching another byte of it.

Owns: finding tools, system blocks and turns in a body's bytes. Must never know: why a block is marked.
Invariants: everything but what is inserted stays byte for byte, unknown fields and white space included; a body in
which the place cannot be told (a name given twice) stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from renga.protocols.messages.rules.cache_breakpoints import PromptBlock

_CONTROL = b'"cache_control":{"type":"ephemeral"}'
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_SCALAR = re.compile(rb"[^,}\]\s]+")


class _Span(Struct, frozen=True):
    """Where a JSON value begins and ends in the raw body."""

    start: int
    end: int


_Members: TypeAlias = Iterable[tuple[str, _Span]]


class _Unclear(Exception):
    """Raised when the place of a block cannot be found in the raw body."""


def mark_blocks(raw: bytes, marked: Sequence[PromptBlock]) -> bytes:
    """The same JSON object with a five-minute breakpoint on each of these blocks.

    Units:  raw is a request that has been decoded before; the blocks are of that request and carry no breakpoint.
    Cost:   0.3 us a string or bracket of the body, twice.
    """
    try:
        top = list(_members(raw, _after_space(raw, 0)))
        insertions = [insertion for block in marked for insertion in _mark(raw, top, block)]
    except _Unclear:
        return raw
    parts: list[bytes] = []
    copied = 0
    for at, data in sorted(insertions):
        parts += (raw[copied:at], data)
        copied = at
    parts.append(raw[copied:])
    return b"".join(parts)


def _mark(raw: bytes, top: _Members, block: PromptBlock) -> list[tuple[int, bytes]]:
    """What is to be inserted where."""
    span = _find(top, block.section)
    if block.section == "messages":
        turn = _element(raw, span, block.outer)
        span = _find(_members(raw, turn.start), "content")
        if not block.is_short:
            span = _element(raw, span, block.inner)
    elif not block.is_short:
        span = _element(raw, span, block.outer)
    if raw[span.start : span.start + 1] == b'"':
        return [(span.start, b'[{"type":"text","text":'), (span.end, b"," + _CONTROL + b"}]")]
    if raw[span.start : span.start + 1] != b"{":
        raise _Unclear
    return [(span.end - 1, b"," + _CONTROL)]


def _find(members: _Members, name: str) -> _Span:
    """The value of an object's member."""
    found = [span for key, span in members if key == name]
    if len(found) != 1:
        raise _Unclear
    return found[0]


def _element(raw: bytes, holder: _Span, index: int) -> _Span:
    for position, span in enumerate(_elements(raw, holder.start)):
        if position == index:
            return span
    raise _Unclear


def _members(raw: bytes, at: int) -> Iterator[tuple[str, _Span]]:
    """The members of the object that begins here."""
    if raw[at : at + 1] != b"{":
        raise _Unclear
    at = _after_space(raw, at + 1)
    while raw[at : at + 1] != b"}":
        key = _STRING.match(raw, at)
        if key is None:
            raise _Unclear
        start = _after_space(raw, _after_space(raw, key.end()) + 1)
        end = _end_of_value(raw, start)
        yield msgspec.json.decode(key.group()), _Span(start, end)
        at = _after_comma(raw, end)


def _elements(raw: bytes, at: int) -> Iterator[_Span]:
    """The elements of the array that begins here."""
    if raw[at : at + 1] != b"[":
        raise _Unclear
    at = _after_space(raw, at + 1)
    while raw[at : at + 1] != b"]":
        end = _end_of_value(raw, at)
        yield _Span(at, end)
        at = _after_comma(raw, end)


def _after_space(raw: bytes, at: int) -> int:
    found = _SPACE.match(raw, at)
    return found.end() if found is not None else at


def _after_comma(raw: bytes, at: int) -> int:
    at = _after_space(raw, at)
    return _after_space(raw, at + 1) if raw[at : at + 1] == b"," else at


def _end_of_value(raw: bytes, at: int) -> int:
    if raw[at : at + 1] not in (b"{", b"["):
        found = _STRING.match(raw, at) or _SCALAR.match(raw, at)
        if found is None:
            raise _Unclear
        return found.end()
    depth = 0
    for token in _TOKEN.finditer(raw, at):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    raise _Unclear
