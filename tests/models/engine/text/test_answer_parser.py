from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.models.engine.text.answer_parser import (
    AnswerParser,
    AnswerShape,
    Piece,
    TextPiece,
    ThinkingPiece,
    ToolArguments,
    ToolEnd,
    ToolStart,
)
from renga.models.engine.text.families import FAMILIES

TOOLS = frozenset({"add", "clock"})
CALL = [ToolStart("add"), ToolArguments('{"a":1}'), ToolEnd()]

_MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>", "<", "</", "tool_call>", "{", "x;"]
_CALLS = ['{"name":"add","arguments":{"a":1}}', '{"name":"add","parameters":{}}']
_fragments = st.sampled_from([*_MARKS, *_CALLS, "a", "stop", "sto", "p", "é", " ", "\n", "\n\n"])


def parse(shape: AnswerShape, chunks: list[str]) -> tuple[list[Piece], str | None]:
    """The pieces of an answer that came in chunks, neighbours of a kind joined."""
    parser = AnswerParser(shape)
    pieces = [piece for chunk in chunks for piece in parser.push(chunk)] + parser.finish()
    joined: list[Piece] = []
    for piece in pieces:
        match joined, piece:
            case [*_, TextPiece(before)], TextPiece(text):
                joined[-1] = TextPiece(before + text)
            case [*_, ThinkingPiece(before)], ThinkingPiece(text):
                joined[-1] = ThinkingPiece(before + text)
            case _:
                joined.append(piece)
    return joined, parser.stopped_by


@given(
    fragments=st.lists(_fragments, max_size=14),
    cuts=st.lists(st.integers(1, 9), min_size=1),
    family=st.sampled_from(sorted(FAMILIES)),
    tool_names=st.sampled_from([frozenset(), TOOLS]),
    stops=st.sampled_from([(), ("stop",), ("top", "stop"), ("\n", "a<")]),
    thinking_open=st.booleans(),
)
def test_the_cut_into_chunks_makes_no_difference(
    fragments: list[str],
    cuts: list[int],
    family: str,
    tool_names: frozenset[str],
    stops: tuple[str, ...],
    thinking_open: bool,
) -> None:
    shape = AnswerShape(FAMILIES[family], stops, tool_names, thinking_open and bool(FAMILIES[family].think_close))
    text = "".join(fragments)
    chunks: list[str] = []
    rest = text
    for cut in cuts * (len(text) + 1):
        chunks.append(rest[:cut])
        rest = rest[cut:]
    whole = parse(shape, [text])
    assert parse(shape, chunks) == whole
    for piece in whole[0]:
        match piece:
            case ToolArguments(arguments):
                assert isinstance(json.loads(arguments), dict)
            case TextPiece(said) if "call" not in text and "tag" not in text:  # tags part what would be a stop sequence
                assert not any(stop in said for stop in stops)
            case _:
                pass


def ask(family: str, text: str, **expected: object) -> list[Piece]:
    shape = AnswerShape(FAMILIES[family], tool_names=TOOLS, **expected)  # type: ignore[arg-type]
    return parse(shape, list(text))[0]


def test_text_thinking_and_calls() -> None:
    answer = 'hm</think>Sure.<tool_call>{"name":"add","arguments":{"a":1}}</tool_call>'
    assert ask("hokku", answer, thinking_open=True) == [ThinkingPiece("hm"), TextPiece("Sure."), *CALL]


def test_qwens_line_breaks_belong_to_its_tags() -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert ask("qwen", f"<think>\nhm\n</think>\n\nSure.\n{call}\n{call}") == [
        ThinkingPiece("hm"),
        TextPiece("Sure."),
        *CALL,
        *CALL,
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "add", "parameters": {"a": 1}}',
        ' \n{"name": "add", "parameters": {"a": 1}}\n',
        '<|python_tag|>{"name": "add", "arguments": {"a": 1}}',
        '[{"name": "add", "arguments": "{\\"a\\": 1}"}]',
    ],
)
def test_llamas_calls_need_no_tag(text: str) -> None:
    assert ask("llama3", text) == CALL


def test_llamas_json_that_is_no_call_stays_text() -> None:
    assert ask("llama3", '{"answer": 42}') == [TextPiece('{"answer": 42}')]


@pytest.mark.parametrize(
    "inner",
    [
        "nonsense",
        "{",
        '{"name":"add","arguments":[1]}',
        '{"name":"other","arguments":{}}',
        '{"name":7}',
        "[" * 9999,
        "NaN",
    ],
)
def test_what_is_no_call_stays_text_without_its_tags(inner: str) -> None:
    assert ask("hokku", f"a<tool_call>{inner}</tool_call>b") == [TextPiece(f"a{inner}b")]


def test_a_call_after_a_broken_one_is_found() -> None:
    call = '<tool_call>{"name":"add","arguments":{"a":1}}</tool_call>'
    assert ask("hokku", f"<tool_call>oops {call}") == [TextPiece("oops "), *CALL]


def test_a_tag_in_a_string_is_part_of_the_string() -> None:
    """A grammar lets a model write a tag there, and a weak model does."""
    call = '<tool_call>{"name":"add","arguments":{"a":"x\\"</tool_call> y"}}</tool_call>'
    arguments = '{"a":"x\\"</tool_call> y"}'
    assert ask("hokku", call) == [ToolStart("add"), ToolArguments(arguments), ToolEnd()]


def test_a_string_that_never_ends_is_no_call() -> None:
    assert ask("hokku", '<tool_call>{"name":"add</tool_call>b') == [TextPiece('{"name":"addb')]


def test_a_stop_sequence_ends_a_broken_call() -> None:
    shape = AnswerShape(FAMILIES["hokku"], ("STOP",), TOOLS)
    assert parse(shape, ["<tool_call>oops ST", "OP and on"]) == ([TextPiece("oops ")], "STOP")


def test_a_call_cut_short_stays_text() -> None:
    assert ask("hokku", '<tool_call>{"name":"add"') == [TextPiece('{"name":"add"')]


def test_tags_are_text_where_no_tools_were_offered() -> None:
    shape = AnswerShape(FAMILIES["hokku"])
    assert parse(shape, ["<tool_call>{}</tool_call>"])[0] == [TextPiece("<tool_call>{}</tool_call>")]


def test_a_stop_sequence_ends_text_but_not_thinking() -> None:
    shape = AnswerShape(FAMILIES["hokku"], ("END", "ND"), thinking_open=True)
    assert parse(shape, ["END</th", "ink>so E", "N", "D and on"]) == ([ThinkingPiece("END"), TextPiece("so ")], "END")


def test_thinking_is_told_while_it_lasts() -> None:
    parser = AnswerParser(AnswerShape(FAMILIES["hokku"], thinking_open=True))
    parser.push("hm")
    assert parser.is_thinking
    parser.push("</think>")
    assert not parser.is_thinking
