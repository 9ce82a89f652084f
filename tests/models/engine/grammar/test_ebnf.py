from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.models.engine.conftest import collect

from renga.models.engine.client import EngineClient
from renga.models.engine.grammar.ebnf import (
    GrammarRules,
    TaggedRule,
    invert_ranges,
    join_ranges,
    repeat,
    write_set,
    write_text_until,
)
from renga.models.engine.ipc import GenerationRequest
from renga.models.engine.loading.model_loader import Model

_ranges = st.lists(
    st.tuples(st.integers(0, 0xD7FF), st.integers(0, 300)).map(lambda pair: (pair[0], min(0xD7FF, sum(pair)))),
    max_size=5,
)


@given(ranges=_ranges, point=st.integers(0, 0x10FFFF).filter(lambda point: not 0xD800 <= point <= 0xDFFF))
def test_a_character_is_in_a_set_or_in_its_inverse(ranges: list[tuple[int, int]], point: int) -> None:
    def holds(them: list[tuple[int, int]]) -> bool:
        return any(low <= point <= high for low, high in them)

    assert holds(join_ranges(ranges)) == holds(ranges) != holds(invert_ranges(ranges))


@given(ranges=_ranges)
def test_a_class_is_cut_where_utf8_needs_it_and_loses_nothing(ranges: list[tuple[int, int]]) -> None:
    pieces = [piece.split("-") for piece in write_set(ranges)[1:-1].split("\\u") if piece]
    bounds = [(int(piece[0], 16), int(write_bound, 16)) for piece, write_bound in pair_up(pieces)]
    assert join_ranges(bounds) == join_ranges(ranges)
    for low, high in bounds:
        first, last = chr(low).encode(), chr(high).encode()
        assert len(first) == len(last)
        parts = [index for index, (one, other) in enumerate(zip(first, last, strict=True)) if one != other]
        for index in range(parts[0] + 1 if parts else len(first), len(first)):
            assert (first[index], last[index]) == (0x80, 0xBF)


def pair_up(pieces: list[list[str]]) -> list[tuple[list[str], str]]:
    """Join `0061-` and the bound after it."""
    paired: list[tuple[list[str], str]] = []
    open_piece: list[str] | None = None
    for piece in pieces:
        if open_piece is not None:
            paired.append((open_piece, piece[0]))
            open_piece = None
        elif len(piece) == 2:
            open_piece = piece
        else:
            paired.append((piece, piece[0]))
    return paired


async def test_counted_repetition_counts(client: EngineClient, model: Model) -> None:
    for least, most in ((0, 5), (3, 3), (64, 64), (0, 65), (70, 95), (100, 1000), (0, 127)):
        rules = GrammarRules()
        item = rules.add("item", "[a-c]")
        grammar = rules.text(repeat(rules, item, least, most))
        for seed in range(3):
            answer = await collect(client, GenerationRequest([9], 3000, seed=seed, temperature=3.0, grammar=grammar))
            assert answer.finish == "stop"
            assert least <= len(model.vocabulary.decode(answer.token_ids)) <= most


async def test_text_until_a_tag_stops_at_the_first(client: EngineClient, model: Model) -> None:
    rules = GrammarRules()
    text = write_text_until(rules, TaggedRule("aab", '"!"', may_end=False))
    grammar = rules.text(text)  # with an alphabet of three letters, the tag is met soon
    for excluded, rest in (("a", '("b" | "c")'), ("ab", '"c"')):
        others = write_set(invert_ranges([(ord(letter), ord(letter)) for letter in excluded]))
        grammar = grammar.replace(others, rest)
    ended = 0
    for seed in range(5):
        answer = await collect(client, GenerationRequest([9], 3000, seed=seed, grammar=grammar))
        said = model.vocabulary.decode(answer.token_ids)
        ended += answer.finish == "stop"
        assert said.find("aab") in (-1, len(said) - len("aab!"), len(said) - len("aab"))
    assert ended
