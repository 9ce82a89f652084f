"""Regular expressions and string formats as grammars of JSON strings.

Owns: the subset of patterns that can be held, and the forms of well-known formats.
Must never know: schemas, objects, models.
Invariants: what a grammar allows, the pattern matches; what a pattern says beyond the subset is refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from renga.models.engine.grammar.ebnf import GrammarRules, Range, invert_ranges, join_ranges, repeat, write_json_chars

code: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
"""The parser of Python's own regular expressions: what it cannot read, jsonschema could not check."""

_DIGIT: list[Range] = [(0x30, 0x39)]
_WORD: list[Range] = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: list[Range] = [(0x20, 0x20), (0x09, 0x0A), (0x0C, 0x0D)]
_CATEGORIES: dict[Any, list[Range]] = {
    code.CATEGORY_DIGIT: _DIGIT,
    code.CATEGORY_NOT_DIGIT: invert_ranges(_DIGIT),
    code.CATEGORY_WORD: _WORD,
    code.CATEGORY_NOT_WORD: invert_ranges(_WORD),
    code.CATEGORY_SPACE: _SPACE,
    code.CATEGORY_NOT_SPACE: invert_ranges(_SPACE),
}
"""ASCII, as ECMA 262 has it; the negations are subsets of Python's, which excludes more."""

FORMATS: dict[str, str] = {
    "date": r"^(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8])))$",
    "time": r"^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:0\d|1[0-4]):00)$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "email": r"^[a-z0-9_+-]{1,32}(?:\.[a-z0-9_+-]{1,32})?@[a-z0-9]{1,32}(?:\.[a-z0-9]{1,32})?\.[a-z]{2,8}$",
    "ipv4": r"^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$",
    "uri": r"^https?://[a-z0-9-]{1,32}(?:\.[a-z0-9-]{1,32}){1,4}(?:/[A-Za-z0-9_.~%-]{0,60}){0,6}$",
    "hostname": r"^[a-z0-9]{1,32}(?:\.[a-z0-9]{1,32}){0,4}$",
}
"""Narrower than the standards, so that whatever comes is right: leap days, for one, are left out.

Source: RFC 3339, RFC 9562, RFC 5321, RFC 3986; JSON Schema 2020-12 validation section 7.3.
"""
FORMATS["date-time"] = FORMATS["date"][:-1] + "T" + FORMATS["time"][1:]


class Unwritable(Exception):
    """A pattern says something that a grammar here cannot; the message says what."""


class RegexPattern(msgspec.Struct, frozen=True):
    """A regular expression, read so that it can be written as a grammar."""

    body: str
    """The inside of a JSON string, without its quotes."""
    least_chars: int
    most_chars: int | None


def write_pattern(rules: GrammarRules, pattern: str) -> RegexPattern:
    """Write what a pattern matches; where it has no anchors, any text may stand around it.

    Raises: Unwritable.
    """
    try:
        tree: Any = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unwritable(f"the pattern {pattern!r} is not a regular expression: {error}") from error
    items: list[Any] = list(tree)
    starts = bool(items) and items[0] in _STARTS
    ends = len(items) > starts and items[-1] in _ENDS
    inner = items[starts : len(items) - ends]
    anything = rules.add("char", write_json_chars(invert_ranges([]))) + "*"
    body = " ".join([*([] if starts else [anything]), *_write_items(rules, inner), *([] if ends else [anything])])
    least, most = tree.getwidth()
    unbounded = not starts or not ends or most >= parser.MAXREPEAT or most >= 1 << 31
    return RegexPattern(body or '""', least, None if unbounded else most)


_STARTS = [(code.AT, code.AT_BEGINNING), (code.AT, code.AT_BEGINNING_STRING)]
_ENDS = [(code.AT, code.AT_END), (code.AT, code.AT_END_STRING)]


def _write_items(rules: GrammarRules, items: list[Any]) -> list[str]:
    return [_write_item(rules, kind, argument) for kind, argument in items]


def _write_item(rules: GrammarRules, kind: Any, argument: Any) -> str:
    """Write one node of a parsed pattern."""
    write = _WRITERS.get(kind)
    if write is None:
        raise Unwritable(f"patterns with {str(kind).lower().replace('_', ' ')} cannot be held")
    return write(rules, argument)


def _write_chars(ranges: list[Range]) -> str:
    written = write_json_chars(ranges)
    if not written:
        raise Unwritable("a pattern's character cannot stand in a JSON string")
    return written


def _write_class(rules: GrammarRules, items: list[Any]) -> str:
    ranges: list[Range] = []
    for kind, argument in items:
        if kind is code.LITERAL:
            ranges.append((argument, argument))
        elif kind is code.RANGE:
            ranges.append(argument)
        elif kind is code.CATEGORY:
            ranges += _CATEGORIES[argument]
    return _write_chars(invert_ranges(ranges) if items[0][0] is code.NEGATE else join_ranges(ranges))


def _write_repeat(rules: GrammarRules, argument: Any) -> str:
    least, most, inner = argument
    item = rules.add("part", " ".join(_write_items(rules, list(inner))) or '""')
    return repeat(rules, item, least, None if most is parser.MAXREPEAT else most) or '""'


def _write_branch(rules: GrammarRules, argument: Any) -> str:
    return f"({' | '.join(' '.join(_write_items(rules, list(branch))) or chr(34) * 2 for branch in argument[1])})"


def _write_group(rules: GrammarRules, argument: Any) -> str:
    _, adds, removes, inner = argument
    if adds or removes:
        raise Unwritable("patterns with flags cannot be held")
    return f"({' '.join(_write_items(rules, list(inner))) or chr(34) * 2})"


_WRITERS: dict[Any, Callable[[GrammarRules, Any], str]] = {
    code.LITERAL: lambda _, point: _write_chars([(point, point)]),
    code.NOT_LITERAL: lambda _, point: _write_chars(invert_ranges([(point, point)])),
    code.ANY: lambda _, __: _write_chars(invert_ranges([(0x0A, 0x0A)])),
    code.IN: _write_class,
    code.MAX_REPEAT: _write_repeat,
    code.MIN_REPEAT: _write_repeat,
    code.BRANCH: _write_branch,
    code.SUBPATTERN: _write_group,
}
