"""chat.completions chunks as a Messages stream, checked by the stream checker and folded back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from renga.errors import ApiError
from renga.protocols.messages.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.signature import SignatureVerdict, Signer, verify
from renga.protocols.messages.sse import encode_batch
from renga.protocols.openai.chat_stream import ChatReader, StreamState
from renga.protocols.openai.chat_types import decode_chunk
from renga.testing.stream_checker import StreamChecker

READING = StreamState(
    "echoed", Signer(b"secret", "qwen", "key_1"), input_tokens=10, max_tokens=100, shows_thinking=True
)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def delta(finish: str | None = None, stop_reason: object = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": fields, "finish_reason": finish, "stop_reason": stop_reason}
    return {"choices": [choice], "usage": None}


def call(index: int | None, name: str | None = None, arguments: str | None = None) -> dict[str, Any]:
    """A delta of one tool call."""
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{index}" if name else None, "type": "function", "function": function}


def tools(*calls: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(calls))


def translate(chunks: Iterable[dict[str, Any]], reading: StreamState = READING, usage: Any = USAGE) -> Message:
    """Read chunks and a final usage; the stream is checked as a client would read it."""
    reader, folder = ChatReader(reading), MessageAccumulator()
    checker = StreamChecker(prompt_settles=True)
    last: list[dict[str, Any]] = [] if usage is None else [{"choices": [], "usage": usage}]
    for chunk in [*chunks, *last]:
        batch = reader.push(decode_chunk(json.dumps(chunk).encode()))
        checker.push(encode_batch(batch))
        for event in batch:
            folder.add_event(event)
    batch = reader.finish()
    checker.push(encode_batch(batch))
    checker.finish()
    for event in batch:
        folder.add_event(event)
    return folder.message()


def blocks(message: Message) -> list[tuple[str, str]]:
    """What is in a message, in short."""
    short: list[tuple[str, str]] = []
    for block in message.content:
        match block:
            case TextBlock(text=text):
                short.append(("text", text))
            case ThinkingBlock(thinking=text):
                short.append(("thinking", text))
            case ToolUseBlock(name=name, input=arguments):
                short.append((name, bytes(arguments).decode()))
            case _:
                short.append(("?", ""))
    return short


def test_text():
    message = translate([delta(content=""), delta(content="Hel"), delta(content="lo."), delta("stop")])
    assert blocks(message) == [("text", "Hello.")]
    assert (message.stop_reason, message.stop_sequence, message.model) == ("end_turn", None, "echoed")
    assert message.id.startswith("msg_")


def test_an_empty_answer_has_no_block():
    assert blocks(translate([delta(content=""), delta(content="\n"), delta("stop")])) == []


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_is_thinking_with_a_signature(key: str):
    chunks = [delta(**{key: "Let me"}), delta(**{key: " see."}), delta(content="\n\nYes."), delta("stop")]
    message = translate(chunks)
    assert blocks(message) == [("thinking", "Let me see."), ("text", "Yes.")]
    thinking = message.content[0]
    assert isinstance(thinking, ThinkingBlock)
    verdict = verify(b"secret", "qwen", "key_1", "Let me see.", signature=thinking.signature)
    assert verdict is SignatureVerdict.GENUINE
    assert blocks(translate(chunks, replace(READING, omits_thinking=True))) == [("thinking", ""), ("text", "Yes.")]
    assert blocks(translate(chunks, replace(READING, shows_thinking=False))) == [("text", "\n\nYes.")]


def test_tools_one_after_the_other():
    message = translate(
        [
            delta(content="Well."),
            tools(call(0, "get", "")),
            tools(call(0, None, '{"a"')),
            tools(call(0, None, ": 1}")),
            tools(call(1, "put", None)),
            tools(call(1, None, "{}")),
            delta("tool_calls"),
        ]
    )
    assert blocks(message) == [("text", "Well."), ("get", '{"a": 1}'), ("put", "{}")]
    assert message.stop_reason == "tool_use"
    ids = [block.id for block in message.content if isinstance(block, ToolUseBlock)]
    assert len(set(ids)) == 2
    assert all(id_.startswith("toolu_") for id_ in ids)


@given(st.data())
def test_tools_however_their_deltas_interleave(data: st.DataObject):
    names = data.draw(st.lists(st.sampled_from(["get", "put", "ask"]), min_size=1, max_size=4))
    arguments = [data.draw(st.sampled_from(["{}", '{"a": "}{"}', '{"b": {"c": [1, 2]}}', ""])) for _ in names]
    queues = [[(index, name, "")] for index, name in enumerate(names)]
    for index, text in enumerate(arguments):
        while text:
            size = data.draw(st.integers(1, len(text)))
            queues[index].append((index, None, text[:size]))  # pyright: ignore[reportArgumentType]
            text = text[size:]
    chunks: list[dict[str, Any]] = []
    begun = 0
    while any(queues):
        # Calls begin in order; after that their deltas come as they like.
        ready = [queue for at, queue in enumerate(queues) if queue and at <= begun]
        queue = data.draw(st.sampled_from(ready))
        index, name, text = queue.pop(0)
        begun = max(begun, index + 1)
        chunks.append(tools(call(index, name, text)))
    message = translate([*chunks, delta("tool_calls")])
    assert blocks(message) == [(name, text or "{}") for name, text in zip(names, arguments, strict=True)]


def test_tools_without_an_index():
    message = translate([tools(call(None, "get", "{}")), tools(call(None, "put", '{"a":1}')), delta("stop")])
    assert blocks(message) == [("get", "{}"), ("put", '{"a":1}')]
    assert message.stop_reason == "tool_use"


def test_text_after_tools_follows_them():
    message = translate(
        [tools(call(0, "get", '{"a":')), delta(content="Also."), tools(call(0, None, "1}")), delta("stop")]
    )
    assert blocks(message) == [("get", '{"a":1}'), ("text", "Also.")]


def test_only_one_tool_where_only_one_was_allowed():
    chunks = [tools(call(0, "get", "{}")), tools(call(1, "put", "{}")), delta("tool_calls")]
    assert blocks(translate(chunks, replace(READING, is_serial=True))) == [("get", "{}")]


@pytest.mark.parametrize(
    ("finish", "stop_reason", "expected"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("stop", "other", ("end_turn", None)),
        ("stop", 2, ("end_turn", None)),
        ("content_filter", None, ("refusal", None)),
        ("eos", None, ("end_turn", None)),
    ],
)
def test_why_it_stopped(finish: str, stop_reason: object, expected: tuple[str, str | None]):
    message = translate([delta(content="x"), delta(finish, stop_reason)], replace(READING, stop_sequences=("END",)))
    assert (message.stop_reason, message.stop_sequence) == expected


def test_length_is_the_limit_or_the_context():
    chunks = [delta(content="x"), delta("length")]
    full = {"prompt_tokens": 10, "completion_tokens": 100}
    assert translate(chunks, usage=full).stop_reason == "max_tokens"
    assert translate(chunks, usage=None).stop_reason == "max_tokens"
    assert translate(chunks).stop_reason == "model_context_window_exceeded"


def test_servers_that_are_loose_with_the_shape():
    chunks = [
        {"choices": None},
        {"choices": [{"index": 0, "delta": None, "finish_reason": ""}]},
        tools(call(0, "get", {"a": 1})),  # pyright: ignore[reportArgumentType]
        delta("stop"),
    ]
    assert blocks(translate(chunks)) == [("get", '{"a":1}')]


def test_a_refusal_is_one():
    message = translate([delta(refusal="I will not."), delta("stop")])
    assert blocks(message) == [("text", "I will not.")]
    assert message.stop_reason == "refusal"


def test_usage_is_disjoint():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    got = translate([delta(content="x"), delta("stop")], usage=usage).usage
    assert (got.input_tokens, got.cache_read_input_tokens, got.cache_creation_input_tokens) == (6, 4, 0)
    assert got.output_tokens == 7
    assert got.output_tokens_details is not None
    assert got.output_tokens_details.thinking_tokens == 5  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "details", [None, {}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {"cached_tokens": None}}]
)
def test_usage_with_less_in_it(details: dict[str, Any] | None):
    usage = None if details is None else {**USAGE, **details}
    got = translate([delta(content="x"), delta(content="y"), delta("stop")], usage=usage).usage
    assert (got.input_tokens, got.cache_read_input_tokens) == (10, 0)
    assert got.output_tokens == (2 if usage is None else 5)


def test_warming_the_cache_shows_nothing():
    message = translate([delta(content="x"), delta("length")], replace(READING, max_tokens=0))
    assert message.content == ()
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 0


def test_an_answer_that_did_not_stream():
    whole = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    assert blocks(translate([whole], usage=None)) == [("text", "Hi.")]


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(content="x")],
        [delta(content="x"), delta("error")],
        [tools(call(0, "get", '{"a":')), delta("tool_calls")],
        [tools(call(0, "get", "[1]")), delta("tool_calls")],
        [tools(call(0, None, "{}")), delta("tool_calls")],
        [tools(call(0, "a", "{}"), call(1, "b", "{}")), tools(call(0, None, "{}")), delta("tool_calls")],
    ],
    ids=["no finish", "given up", "half arguments", "no object", "no name", "more after the end"],
)
def test_what_cannot_be_a_message_is_an_error(chunks: list[dict[str, Any]]):
    with pytest.raises(ApiError):
        translate(chunks)


def test_a_call_that_the_limit_cut_is_not_an_error_of_the_server():
    reader = ChatReader(READING)
    for chunk in (tools(call(0, "get", '{"a":')), delta("length")):
        reader.push(decode_chunk(json.dumps(chunk).encode()))
    assert reader.finish()[-1] is not None
