"""Where what an answer writes stands in the prompt: what attention is told to look at while it learns.

Owns:   finding it. An answer's label is an entry of a list and a call's name a tool's; a key in an object is one of the
        fields in the prompt; a value in an object, or a short answer, is copied from the message. The loss of
        training/train.py asks the second stream to look at the entry, from the answer and from the words of the message
        that speak of it, and heads of the last attention block at the beginning of the field or entry that is written,
        at the word of the message whose turn it is (at the document's first token, where none is left) and at the
        token that is copied. Heads of the block before prepare that: one sees an entry's first token from its others,
        three see the fields before a field in the list, one of them also in the answer, so that what follows there,
        near or far, can follow here. At inference nothing of this is left.
Why:    the choice is a word or two of a long document, and through the words alone the network had not found out where
        to look after twenty million tokens (training/log.md).
Source: Mi et al. 2016, "Supervised Attentions for Neural Machine Translation"; Liu et al. 2016 (COLING).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy
from tokenizers import Tokenizer

from training.data.compact_encoding import render_json
from training.data.tokenizer import piece_groups

ENTRY, TAG, COPY, REST, NEXT, FIELD, BEFORE, SECOND, THIRD, FIRST = range(10)
"""Kinds of what attention is told to look at. The second stream: an entry of a list, from the answer; the entry that a
word of the message speaks of, from that word. The last attention block: a value to copy, the beginning of the field or
entry that is written, the rest of a name that is begun, and the word of the message that comes next. The block before
it: the field before, the second and the third before, and the beginning of an entry."""
FIELDS_BEFORE = (BEFORE, SECOND, THIRD)
LISTED = frozenset({"classify", "keywords", "keyword_passages", "topic", "mention"})
"""Families whose answers are entries."""
ANSWERED = frozenset({"facts", "recall", "desk_passage", "prose_passage"})
"""Families whose answers, where they stand in the prompt word for word, are copied from there."""
JUDGED = frozenset({"moderate", "toxicity"})
"""Families whose labels are not in the words of the message."""
SPOKEN = frozenset({"mention", "slots", "records", "invented", "from_slots"})
"""Families of which it is known that the other words of a message speak of no entry."""
UNTOLD_STEP = 3
"""One in so many of those is told so."""
SHORT_TOKENS = 5
OPENS = '":{"'
"""What stands between a member's name and what it holds in a JSON schema."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Before token `target`, look at the tokens from `start` to `end`."""

    target: int
    start: int
    end: int
    kind: int


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a document and the tokens it became."""

    text: str
    start: int
    end: int
    role: str
    "Of whose turn: system, user, tool or assistant; empty for a piece of the template."
    learned: bool
    offsets: tuple[tuple[int, int], ...] = ()
    "Characters of each token; for learned pieces."


@dataclass(frozen=True, slots=True)
class Written:
    """What an answer writes, and where that stands in the prompt."""

    kind: int
    start: int
    end: int
    place: tuple[int, int] | None
    whole: bool
    "Whether it ends where a token does."


class PointerFinder:
    """Finds pointers in documents that one tokenizer has cut."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._groups = numpy.array(piece_groups(tokenizer)[0], numpy.uint16)
        pieces = [tokenizer.decode([index], skip_special_tokens=False) for index in range(tokenizer.get_vocab_size())]
        self._goes_on = [bool(piece) and (piece[0].isalnum() or piece[0] in "_-") for piece in pieces]
        self._joins = [bool(piece) and (piece[-1].isalnum() or piece[-1] in "_-") for piece in pieces]
        self._spaced = [piece.startswith(" ") for piece in pieces]
        self._opens = [piece.endswith(OPENS) for piece in pieces]
        self._quotes = [piece.endswith('"') for piece in pieces]
        lengths = [len(piece.strip()) if piece.strip().isalpha() and len(piece.strip()) > 2 else 0 for piece in pieces]
        self._words = numpy.zeros(int(self._groups.max()) + 1, numpy.int64)
        numpy.maximum.at(self._words, self._groups, lengths)

    def find(self, family: str, spans: list[Span], tokens: list[int]) -> list[Pointer]:
        """Every pointer of a document, in the order of what is written."""
        found = set(self._find(family, spans, tokens))
        if family in SPOKEN:
            found.update(_untold(found, spans))
        return sorted(found, key=lambda one: one.target)

    def _find(self, family: str, spans: list[Span], tokens: list[int]) -> Iterator[Pointer]:
        groups = self._groups[tokens]
        asked: Span | None = None
        for span in spans:
            if span.role in ("user", "tool"):
                asked = span
            if span.role != "assistant" or not span.learned:
                continue
            written = list(self._locate(family, span, asked, tokens))
            for one in written:
                if one.kind == ENTRY and one.place is not None:
                    yield from _point_entry(one.start, one.end, one.place)
                    if asked is not None and family in LISTED:
                        yield from self._told(groups, one.place, one.start, asked)
                elif one.kind == COPY and one.place is not None:
                    yield Pointer(one.start, one.place[0], one.place[0] + 1, COPY)
            yield from self._point_members(written, tokens)

    def _locate(self, family: str, span: Span, asked: Span | None, tokens: list[int]) -> Iterator[Written]:
        """What an answer writes, in order. Fields are looked for from the tool on that the answer has named."""
        groups, tool = self._groups[tokens], 0
        for value, kind in _values(span.text, family):
            held = [
                index for index, (first, last) in enumerate(span.offsets) if first >= value.start and last <= value.stop
            ]
            if not held:
                continue
            start, end = span.start + held[0], span.start + held[-1] + 1
            wanted = groups[start:end]
            if kind == COPY:
                place = _copied(groups, wanted, asked) if asked is not None else None
            else:
                listed = _places(groups[: span.start], wanted, tool)
                whole = [place for place in listed if self._whole(tokens, *place)]
                members = (place for place in whole if kind == FIELD and self._opens[tokens[place[1]]])
                place = next(members, whole[0] if whole else None)
            if kind == ENTRY and place is not None:
                tool = place[0]
            yield Written(kind, start, end, place, span.offsets[held[-1]][1] == value.stop)

    def _point_members(self, written: list[Written], tokens: list[int]) -> Iterator[Pointer]:
        """An object's keys: which is next, which stands before it, and what it holds. After a value: what is left."""
        before, ended = -1, -1
        for one, held in zip_longest(written, written[1:]):
            if one.kind != FIELD:
                continue
            value = held if held is not None and held.kind == COPY else None
            if one.place is not None:
                seen = one.start - 1 if before < 0 else before
                yield Pointer(one.start, one.place[0], one.place[0] + 1, FIELD)
                yield Pointer(one.start, seen, seen + 1, BEFORE)
                yield from _point_rest(one.start, one.end, one.place)
                yield from self._before(tokens, one.place[0])
                if value is not None and value.place is not None:
                    yield from _point_tags(value.place, one.place)
                    yield from _point_next((one.start, ended), value.place)
            before, ended = one.end, -1
            if value is not None and value.whole:
                ended = value.end
                yield Pointer(ended, before, before + 1, BEFORE)
        yield from _point_next((ended,), (0, 1))

    def _told(self, groups: numpy.ndarray, place: tuple[int, int], target: int, asked: Span) -> Iterator[Pointer]:
        """The words of the message that are in its entry and in no other."""
        if place[1] > asked.start:
            return
        found: list[int] = []
        for asking in range(asked.start, asked.end):
            group = groups[asking]
            if not self._words[group]:
                continue
            listed = (groups[: asked.start] == group).sum()
            if 0 < listed == (groups[place[0] : place[1]] == group).sum():
                found.append(asking)
                yield Pointer(asking + 1, *place, TAG)
        if found:
            longest = max(found, key=lambda asking: self._words[groups[asking]])
            yield from _point_next((target,), (longest, longest + 1))

    def _before(self, tokens: list[int], start: int) -> Iterator[Pointer]:
        """From a field in a list: the tokens that follow the names of the three before, or as many as there are."""
        follows = self._member_before if self._quotes[tokens[start - 1]] else self._name_before
        place: int | None = start
        for kind in FIELDS_BEFORE:
            place = follows(tokens, place)
            if place is None:
                return
            yield Pointer(start + 1, place, place + 1, kind)

    def _member_before(self, tokens: list[int], start: int) -> int | None:
        """The token that follows the name of the member before, in JSON."""
        return next((place for place in range(start - 1, 0, -1) if self._opens[tokens[place]]), None)

    def _name_before(self, tokens: list[int], start: int) -> int | None:
        """The token that follows the name before, in a list of names; `start` begins a name or follows one."""
        while start > 0 and self._joins[tokens[start - 1]] and not self._spaced[tokens[start]]:
            start -= 1
        return next((place for place in range(start - 1, 0, -1) if self._joins[tokens[place - 1]]), None)

    def _whole(self, tokens: list[int], start: int, end: int) -> bool:
        """Whether an entry begins and ends there, and is no part of a longer one."""
        if end < len(tokens) and self._goes_on[tokens[end]]:
            return False
        return start == 0 or self._spaced[tokens[start]] or not self._joins[tokens[start - 1]]


def _point_entry(start: int, end: int, place: tuple[int, int]) -> Iterator[Pointer]:
    """The entry from every token of its name in the answer; its beginning where the answer begins it, and from every
    token in the list.
    """
    yield from (Pointer(target, *place, ENTRY) for target in range(start, end))
    yield Pointer(start, place[0], place[0] + 1, FIELD)
    yield from _point_rest(start, end, place)
    yield from (Pointer(asking + 1, place[0], place[0] + 1, FIRST) for asking in range(*place))


def _point_rest(start: int, end: int, place: tuple[int, int]) -> Iterator[Pointer]:
    """A name that is begun goes on as it does in the prompt."""
    for target in range(start + 1, end):
        seen = place[0] + target - start
        yield Pointer(target, seen, seen + 1, REST)


def _point_tags(value: tuple[int, int], field: tuple[int, int]) -> Iterator[Pointer]:
    """The field that a value in the message belongs to: from its first token, and from its last where the words before
    are still near. What `752 dollars` is shows at its end.
    """
    last = value[1] - 1 if value[1] - value[0] <= SHORT_TOKENS else value[0]
    yield from (Pointer(asking + 1, *field, TAG) for asking in {value[0], last})


def _point_next(targets: tuple[int, ...], place: tuple[int, int]) -> Iterator[Pointer]:
    """What of the message comes next, before each of the targets that there are."""
    yield from (Pointer(target, *place, NEXT) for target in targets if target >= 0)


def _untold(found: set[Pointer], spans: list[Span]) -> Iterator[Pointer]:
    """Some of the words that speak of no entry: they look at the document's first token, so that the others show."""
    tags = {one.target - 1: one.start for one in found if one.kind == TAG}
    held = {place for one in found if one.kind == NEXT for place in range(one.start, one.end)}
    for span in spans:
        told = [asking for asking in tags if span.start <= asking < span.end]
        if span.role == "user" and told and all(tags[asking] < span.start for asking in told):
            for asking in range(span.start, span.end, UNTOLD_STEP):
                if asking not in tags and asking not in held:
                    yield Pointer(asking + 1, 0, 1, TAG)


def _copied(groups: numpy.ndarray, wanted: numpy.ndarray, asked: Span) -> tuple[int, int] | None:
    """The one place in the latest message, or else before it, where a value stands."""
    places = list(_places(groups[: asked.end], wanted, asked.start)) or list(_places(groups[: asked.start], wanted))
    return places[0] if len(places) == 1 else None


def _places(groups: numpy.ndarray, wanted: numpy.ndarray, first: int = 0) -> Iterator[tuple[int, int]]:
    """Where one row of numbers stands in another, from a place on."""
    text, part = groups.tobytes(), wanted.tobytes()
    found = text.find(part, 2 * first)
    while found >= 0:
        if found % 2 == 0:
            yield found // 2, found // 2 + len(wanted)
        found = text.find(part, found + 1)


def _values(text: str, family: str) -> Iterator[tuple[slice, int]]:
    """The characters of each value that an answer writes, and what it is."""
    if family in JUDGED:
        return
    try:
        written: Any = json.loads(text) if text.startswith("{") else None
    except ValueError:
        written = None
    if not isinstance(written, dict):
        if family in LISTED:
            yield slice(0, len(text)), ENTRY
        elif family in ANSWERED:
            yield slice(0, len(text)), COPY
        return
    if "arguments" in written and "name" in written:
        start = text.index('"name":"') + len('"name":"')
        yield slice(start, start + len(written["name"])), ENTRY
        yield from _members(text, written["arguments"], text.index('"arguments":') + len('"arguments":'), COPY)
        return
    yield from _members(text, written, 0, ENTRY if family in LISTED else COPY)


def _members(text: str, written: dict[str, Any], cursor: int, kind: int) -> Iterator[tuple[slice, int]]:
    for key, value in written.items():
        name = render_json(key) + ":"
        start = text.index(name, cursor) + len(name)
        if kind == COPY:
            yield slice(start - len(name) + 1, start - 2), FIELD
        size = len(render_json(value))
        cursor = start + size
        if isinstance(value, str) and value:
            yield slice(start + 1, cursor - 1), kind
        elif isinstance(value, int) and not isinstance(value, bool):
            yield slice(start, cursor), kind
