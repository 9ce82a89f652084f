"""The pieces that every grammar is written with, in xgrammar's EBNF.

Owns: quoting, character sets, counted repetition, text up to a tag, and the rules of a grammar under way.
Must never know: JSON schemas, tools, models.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_REPEAT_DIRECT = 64
"""Up to this many repetitions are written as `{m,n}`.

Measured a token (openvino-genai 2026.4.1, vocabulary 8 k): `{0,128}` 6 ms, `{0,256}` 130 ms, `{0,4000}` 700 ms; nested
blocks of 32 cost 3.5 ms at any length.
"""
_BLOCK = 32

Range = tuple[int, int]
"""Code points, both ends included."""

_SURROGATES = (0xD800, 0xDFFF)
_ESCAPED = {0x22: '\\"', 0x5C: "\\\\", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


class GrammarRules:
    """The rules of one grammar, named as they come."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def reserve(self, stem: str) -> str:
        """Give a name whose rule is written later; so rules may refer to themselves."""
        name = f"{stem}{len(self._bodies)}"
        self._bodies[name] = '""'
        return name

    def define(self, name: str, body: str) -> str:
        """Write the rule of a reserved name."""
        self._bodies[name] = body
        return name

    def add(self, stem: str, body: str) -> str:
        """Write a rule, or give the name of one with the same body."""
        if body not in self._names:
            self._names[body] = self.define(self.reserve(stem), body)
        return self._names[body]

    def body(self, name: str) -> str:
        """What a rule says, by the name of the rule."""
        return self._bodies[name]

    def text(self, root: str) -> str:
        """The whole grammar as the engine reads it."""
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())]
        return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Write a text as a literal of the grammar."""
    escaped = "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() and char.isascii() else _code(ord(char))
        for char in text
    )
    return f'"{escaped}"'


def _code(point: int) -> str:
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def write_set(ranges: Iterable[Range]) -> str:
    """Write a character set as a class.

    Every range is cut so that its UTF-8 forms differ only within each byte: xgrammar accepts malformed and overlong
    bytes for a range that is not so, negated classes included, and then loses count (measured).
    """
    cut = [piece for low, high in ranges for piece in _cut_by_bytes(low, high)]
    return "[" + "".join(_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in cut) + "]"


_LAST_OF_LENGTH = (0x7F, 0x7FF, 0xFFFF)
"""The last code point that UTF-8 writes in one, two and three bytes. Source: RFC 3629 section 3."""


def _cut_by_bytes(low: int, high: int) -> list[Range]:
    """Cut a range into those whose UTF-8 forms are one range in each byte.

    Source: Russ Cox, "Regular Expression Matching in the Wild", 2010: how RE2 compiles UTF-8 ranges.
    """
    for last in _LAST_OF_LENGTH:
        if low <= last < high:
            return _cut_by_bytes(low, last) + _cut_by_bytes(last + 1, high)
    if high > _LAST_OF_LENGTH[0]:
        for bits in (6, 12, 18):  # what the last one, two and three bytes hold
            free = (1 << bits) - 1
            if low >> bits != high >> bits:
                if low & free:
                    return _cut_by_bytes(low, low | free) + _cut_by_bytes((low | free) + 1, high)
                if high & free != free:
                    return _cut_by_bytes(low, (high & ~free) - 1) + _cut_by_bytes(high & ~free, high)
    return [(low, high)]


def join_ranges(ranges: Iterable[Range]) -> list[Range]:
    """Sort ranges and join those that touch."""
    joined: list[Range] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def invert_ranges(ranges: Iterable[Range]) -> list[Range]:
    """List every character that is in none of the ranges; surrogates are no characters."""
    inverted: list[Range] = []
    start = 0
    for low, high in join_ranges([*ranges, _SURROGATES]):
        if start < low:
            inverted.append((start, low - 1))
        start = high + 1
    return [*inverted, (start, 0x10FFFF)] if start <= 0x10FFFF else inverted


def write_json_chars(ranges: Iterable[Range]) -> str:
    """Write one character of a JSON string out of a set: bare where JSON allows it, else escaped the short way.

    Control characters without a short escape are left out: a grammar may say less than it could.
    """
    points = join_ranges(ranges)
    bare = invert_ranges([*invert_ranges(points), (0, 0x1F), (0x22, 0x22), (0x5C, 0x5C)])
    escapes = [quote(text) for point, text in _ESCAPED.items() if any(low <= point <= high for low, high in points)]
    choices = ([write_set(bare)] if bare else []) + escapes
    return choices[0] if len(choices) == 1 else f"({' | '.join(choices)})" if choices else ""


def repeat(rules: GrammarRules, item: str, least: int, most: int | None) -> str:
    """Write from `least` to `most` repetitions so that the count costs little; `item` must be one symbol."""
    if most is None:
        return f"{exactly(rules, item, least)} {item}*" if least else f"{item}*"
    if most <= _REPEAT_DIRECT:
        return f"{item}{{{least},{most}}}"
    return f"{exactly(rules, item, least)} {_up_to(rules, item, most - least)}".strip()


def exactly(rules: GrammarRules, item: str, count: int) -> str:
    """Write a fixed number of repetitions."""
    if count <= _REPEAT_DIRECT:
        return f"{item}{{{count}}}" if count else ""
    blocks, rest = divmod(count, _BLOCK)
    return f"{exactly(rules, _block(rules, item), blocks)} {exactly(rules, item, rest)}".strip()


def _up_to(rules: GrammarRules, item: str, most: int) -> str:
    """Write 0 to `most` repetitions: whole blocks first, then the rest of one."""
    if most <= _REPEAT_DIRECT:
        return f"{item}{{0,{most}}}" if most else ""
    block = _block(rules, item)
    blocks, rest = divmod(most, _BLOCK)
    if rest == _BLOCK - 1:
        return f"{_up_to(rules, block, blocks)} {item}{{0,{rest}}}"
    fewer = f"{_up_to(rules, block, blocks - 1)} {item}{{0,{_BLOCK - 1}}}"
    return f"({fewer} | {exactly(rules, block, blocks)} {item}{{0,{rest}}})"


def _block(rules: GrammarRules, item: str) -> str:
    return rules.add("block", f"{item}{{{_BLOCK}}}")


class TaggedRule(msgspec.Struct, frozen=True):
    """Text in which a tag means something."""

    tag: str
    after: str
    """What follows the tag."""
    may_end: bool
    """Whether the text may end without the tag."""


def write_text_until(rules: GrammarRules, tagged: TaggedRule) -> str:
    """Write any text in which the first occurrence of a tag is followed by `after`; give the rule's name.

    One rule for each length of the tag that has been read so far.
    Source: Knuth, Morris, Pratt 1977, as an automaton.
    """
    tag = tagged.tag
    names = [rules.reserve("text") for _ in tag]
    for read, name in enumerate(names):
        steps = {char: _advance(tag, read, char) for char in sorted(set(tag))}
        onward = {char: reached for char, reached in steps.items() if reached}
        others = write_set(invert_ranges([(ord(char), ord(char)) for char in onward]))
        choices = [f"{others} {names[0]}"]
        for char, reached in onward.items():
            choices.append(f"{quote(char)} {tagged.after if reached == len(tag) else names[reached]}")
        if tagged.may_end:
            choices.append('""')
        rules.define(name, " | ".join(choices))
    return names[0]


def _advance(tag: str, read: int, char: str) -> int:
    """How much of the tag the text ends with, once `char` follows `read` characters of it."""
    text = tag[:read] + char
    return max(length for length in range(len(text) + 1) if tag.startswith(text[len(text) - length :]))
