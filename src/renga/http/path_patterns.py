"""Patterns of paths with named parameters.

Owns: what a pattern matches, which of two patterns says more, and whether a path could be both's.
Must never know: methods, handlers.

A pattern is a path in which `{name}` stands for one segment or a part of one, as in `/models/{model}:rawPredict`, and
`{name*}` for whatever stands there, slashes included, as in `/model/{model*}/invoke`; a pattern has at most one of the
latter, and it fills its segments alone. A parameter is never empty.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct

_PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)(\*?)\}")


class PathSegment(Struct, frozen=True):
    """One segment of a pattern: a text, or a parameter between two texts."""

    head: str
    name: str = ""
    """The parameter's; "" where the whole segment is the text `head`."""
    tail: str = ""

    @property
    def literal_length(self) -> int:
        """How many characters the segment prescribes."""
        return len(self.head) + len(self.tail)

    def matches(self, text: str) -> bool:
        """Whether a path's segment is one of this kind."""
        if not self.name:
            return text == self.head
        return len(text) > self.literal_length and text.startswith(self.head) and text.endswith(self.tail)

    def covers(self, other: PathSegment) -> bool:
        """Whether everything that the other matches is matched by this one."""
        if not other.name:
            return self.matches(other.head)
        return bool(self.name) and other.head.startswith(self.head) and other.tail.endswith(self.tail)

    def overlaps(self, other: PathSegment) -> bool:
        """Whether some text is matched by both."""
        if not self.name or not other.name:
            return self.covers(other) or other.covers(self)
        heads = self.head.startswith(other.head) or other.head.startswith(self.head)
        return heads and (self.tail.endswith(other.tail) or other.tail.endswith(self.tail))


Segments: TypeAlias = tuple[PathSegment, ...]


class PathPattern(Struct, frozen=True):
    """A path with parameters, taken apart at its slashes."""

    path: str
    """As it was written."""
    before: Segments
    """All segments; those before the parameter that may have slashes, where there is one."""
    rest: str
    """The name of the parameter that may have slashes; "" where there is none."""
    after: Segments
    """The segments behind that parameter."""

    @property
    def prefix(self) -> str:
        """The part of the path before the first segment with a parameter, with its last slash."""
        texts: list[str] = []
        for segment in self.before:
            if segment.name:
                break
            texts.append(segment.head)
        return "/".join((*texts, ""))

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Sorts patterns such that one that another covers stands before it."""
        segments = (*self.before, *self.after)
        return bool(self.rest), -len(segments), -sum(segment.literal_length for segment in segments)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in their order."""
        named = [segment.name for segment in self.before], [segment.name for segment in self.after]
        return tuple(name for name in (*named[0], self.rest, *named[1]) if name)

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path; None where it is not of this pattern."""
        texts = path.split("/")
        before, after = self.before, self.after
        if self.rest:
            if len(texts) <= len(before) + len(after):
                return None
        elif len(texts) != len(before):
            return None
        end = len(texts) - len(after)
        found: dict[str, str] = {}
        if not _read_segments(before, texts[: len(before)], found):
            return None
        if self.rest:
            found[self.rest] = "/".join(texts[len(before) : end])
            if not found[self.rest]:
                return None
        return found if _read_segments(after, texts[end:], found) else None

    def covers(self, other: PathPattern) -> bool:
        """Whether every path of the other pattern is one of this. Never says so of one that is not."""
        if self.rest:
            before, after = other.before, other.after
            if not other.rest:
                spare = len(before) - len(self.before) - len(self.after)
                if spare < 1:
                    return False
                before, after = before[: len(self.before)], before[len(self.before) + spare :]
            fits = len(before) >= len(self.before) and len(after) >= len(self.after)
            pairs = (*zip(self.before, before, strict=False), *zip(self.after[::-1], after[::-1], strict=False))
        else:
            fits = not other.rest and len(self.before) == len(other.before)
            pairs = tuple(zip(self.before, other.before, strict=False))
        return fits and all(mine.covers(theirs) for mine, theirs in pairs)

    def overlaps(self, other: PathPattern) -> bool:
        """Whether some path is of both patterns."""
        if not self.rest and not other.rest:
            same = len(self.before) == len(other.before)
            return same and all(map(PathSegment.overlaps, self.before, other.before))
        if not self.rest:
            return other.overlaps(self)
        before, after = other.before, other.after
        if not other.rest:
            spare = len(before) - len(self.before) - len(self.after)
            if spare < 1:
                return False
            before, after = before[: len(self.before)], before[len(self.before) + spare :]
        pairs = (*zip(self.before, before, strict=False), *zip(self.after[::-1], after[::-1], strict=False))
        return all(mine.overlaps(theirs) for mine, theirs in pairs)


def _read_segments(segments: Segments, texts: list[str], found: dict[str, str]) -> bool:
    """Whether texts are of these segments, one of each; notes the parameters in them."""
    for segment, text in zip(segments, texts, strict=True):
        if not segment.matches(text):
            return False
        if segment.name:
            found[segment.name] = text[len(segment.head) : len(text) - len(segment.tail)]
    return True


def has_parameters(path: str) -> bool:
    """Whether a route's path is a pattern."""
    return "{" in path or "}" in path


def parse_pattern(path: str) -> PathPattern:
    """Read a route's path.

    Raises: ValueError where it is no pattern, with the reason.
    """
    before: list[PathSegment] = []
    after: list[PathSegment] = []
    rest = ""
    for text in path.split("/"):
        found = _PARAMETER.fullmatch(text)
        if found is not None and found[2]:
            if rest:
                raise ValueError(f"{path}: only one parameter may have slashes")
            rest = found[1]
        else:
            (after if rest else before).append(_parse_segment(path, text))
    pattern = PathPattern(path, tuple(before), rest, tuple(after))
    if "" in path.split("/")[1:] or not path.startswith("/"):
        raise ValueError(f"{path}: a pattern begins with a slash, and has no empty segments")
    if len(set(pattern.names)) < len(pattern.names):
        raise ValueError(f"{path}: each parameter has a name of its own")
    return pattern


def _parse_segment(path: str, text: str) -> PathSegment:
    pieces = _PARAMETER.split(text)
    if len(pieces) == 1 and not has_parameters(text):
        return PathSegment(text)
    if len(pieces) != 4 or pieces[2] or has_parameters(pieces[0] + pieces[3]):
        raise ValueError(f"{path}: `{text}` is not a segment with one {{name}}, nor {{name*}} alone")
    return PathSegment(pieces[0], pieces[1], pieces[3])
