"""The conversation: roles, tools and their results, empty blocks, merging."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.decode import decode_request, merge_turns
from renga.protocols.messages.request import Turn
from renga.protocols.messages.rules.turns import TurnCheck

OLD, NEW = "2023-06-01", "2026-10-21"


def user(*content):
    return {"role": "user", "content": list(content) if content and not isinstance(content[0], str) else content[0]}


def assistant(*content):
    return {**user(*content), "role": "assistant"}


def system(*content):
    return {**user(*content), "role": "system"}


def text(value="x", **fields):
    return {"type": "text", "text": value, **fields}


def use(identifier, **fields):
    return {"type": "tool_use", "id": identifier, "name": "f", "input": {}, **fields}


def result(identifier, **fields):
    return {"type": "tool_result", "tool_use_id": identifier, **fields}


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "d"}}
THINKING = {"type": "thinking", "thinking": "t", "signature": "s"}


def decode(*messages, version=NEW):
    return decode_request(msgspec.json.encode({"model": "m", "max_tokens": 5, "messages": messages}), version)


def refused(*messages, version=NEW):
    with pytest.raises(InvalidRequest) as caught:
        decode(*messages, version=version)
    return caught.value


GOOD = {
    "prefill": [user("Hi"), assistant("It is")],
    "empty prefill": [user("Hi"), assistant("")],
    "same roles": [user("Hi"), user("there"), assistant("a"), assistant("b"), user("c")],
    "tool loop": [user("Hi"), assistant(text(), use("t1")), user(result("t1")), assistant("ok")],
    "results, then text": [user("Hi"), assistant(use("t1"), use("t2")), user(result("t2"), result("t1"), text())],
    "results in two messages": [user("Hi"), assistant(use("t1"), use("t2")), user(result("t1")), user(result("t2"))],
    "uses in two messages": [user("Hi"), assistant(use("t1")), assistant(use("t2")), user(result("t1"), result("t2"))],
    "empty result": [user("Hi"), assistant(use("t1")), user(result("t1", content="", is_error=True))],
    "result of blocks": [user("Hi"), assistant(use("t1")), user(result("t1", content=[text(), IMAGE, DOCUMENT]))],
    "two rounds": [user("Hi"), assistant(use("t1")), user(result("t1")), assistant(use("t2")), user(result("t2"))],
    "system mid-conversation": [user("Hi"), system("Now be brief"), assistant("ok"), system(text()), user("x")],
    "thinking in a loop": [user("Hi"), assistant(THINKING, use("t1")), user(result("t1"))],
}


@pytest.mark.parametrize("name", GOOD)
def test_conversations_that_are_legal(name):
    assert len(decode(*GOOD[name]).messages) == len(GOOD[name])


BAD = {
    "assistant first": ([assistant("Hi")], "messages.0.role", "first"),
    "system first": ([system("Hi"), user("x")], "messages.0.role", "first"),
    "empty text": ([user("")], "messages.0.content", "empty"),
    "empty list": ([{"role": "user", "content": []}], "messages.0.content", "empty"),
    "empty in the middle": ([user("a"), assistant(""), user("b")], "messages.1.content", "empty"),
    "empty block": ([user(text(), text(""))], "messages.0.content.1.text", "empty"),
    "empty block in a result": (
        [user("a"), assistant(use("t1")), user(result("t1", content=[text("")]))],
        "messages.2.content.0.content.0.text",
        "empty",
    ),
    "result of nothing": ([user(result("t1"))], "messages.0.content.0.tool_use_id", "no tool_use"),
    "result too late": (
        [user("a"), assistant(use("t1")), user(result("t1")), assistant("b"), user(result("t1"))],
        "messages.4.content.0.tool_use_id",
        "messages.1.content.0 is answered already",
    ),
    "result twice": (
        [user("a"), assistant(use("t1")), user(result("t1"), result("t1"))],
        "messages.2.content.1.tool_use_id",
        "answered already",
    ),
    "no result": ([user("a"), assistant(text(), use("t1")), user("b")], "messages.1.content.1", "no tool_result"),
    "no result at the end": ([user("a"), assistant(use("t1"))], "messages.1.content.0", "no tool_result"),
    "one of two results": (
        [user("a"), assistant(use("t1"), use("t2")), user(result("t1")), assistant("b")],
        "messages.1.content.1",
        "no tool_result",
    ),
    "something in between": (
        [user("a"), assistant(use("t1")), system("s"), user(result("t1"))],
        "messages.1.content.0",
        "no tool_result",
    ),
    "text before a result": (
        [user("a"), assistant(use("t1")), user(text(), result("t1"))],
        "messages.2.content.1",
        "before anything else",
    ),
    "id twice": (
        [user("a"), assistant(use("t1")), user(result("t1")), assistant(use("t1")), user(result("t1"))],
        "messages.3.content.0.id",
        "used before, at messages.1.content.0",
    ),
    "no id": ([user("a"), assistant(use("")), user("b")], "messages.1.content.0.id", "needs an id"),
    "input": ([user("a"), assistant(use("t1", input=[])), user("b")], "messages.1.content.0.input", "object"),
    "tool_use of a user": ([user(use("t1"))], "messages.0.content.0", "tool_use.*user"),
    "result of the assistant": ([user("a"), assistant(result("t1"))], "messages.1.content.0", "tool_result"),
    "thinking of a user": ([user(THINKING)], "messages.0.content.0", "thinking"),
    "image of the assistant": ([user("a"), assistant(IMAGE)], "messages.1.content.0", "image"),
    "image in system": ([user("a"), system(IMAGE)], "messages.1.content.0", "image"),
    "document of the assistant": ([user("a"), assistant(DOCUMENT)], "messages.1.content.0", "2026-10-21"),
    "citations of a user": ([user(text(citations=[{}]))], "messages.0.content.0.citations", "2026-10-21"),
}


@pytest.mark.parametrize("name", BAD)
def test_conversations_that_are_not(name):
    messages, path, words = BAD[name]
    error = refused(*messages)
    assert error.path == path
    with pytest.raises(InvalidRequest, match=words):
        raise error


def test_what_the_older_version_allows_and_what_it_does_not_know():
    decode(user("a"), assistant(DOCUMENT), version=OLD)
    decode(user(text(citations=[{}])), version=OLD)
    decode(user(text(citations=None)), version=NEW)
    error = refused(user("a"), system("s"), version=OLD)
    assert error.path == "messages.1.role"
    assert "system field" in error.hint


def test_the_number_of_messages_is_limited():
    turns = (Turn("user", "x"),) * 100_001
    with pytest.raises(InvalidRequest, match="100000"):
        TurnCheck(NEW).check(turns)
    TurnCheck(NEW).check(turns[:-1])


TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(["user", "assistant"]),
        st.text(min_size=1, max_size=3)
        | st.lists(st.builds(TextBlock, st.text(min_size=1)), min_size=1, max_size=2).map(tuple),
    ),
    min_size=1,
).map(tuple)


def words(turns):
    """Role and text of every block, in order."""
    blocks = [
        (turn.role, block)
        for turn in turns
        for block in ([turn.content] if isinstance(turn.content, str) else turn.content)
    ]
    return [(role, block if isinstance(block, str) else block.text) for role, block in blocks]


@given(TURNS)
def test_merging_keeps_every_word_and_leaves_no_neighbours(turns):
    merged = merge_turns(turns)
    assert words(merged) == words(turns)
    assert all(first.role != second.role for first, second in pairwise(merged))
    assert merge_turns(merged) is merged


def test_an_empty_last_turn_of_the_assistant_is_left_out():
    turns = (Turn("user", "Hi"), Turn("assistant", ""))
    assert merge_turns(turns) == turns[:1]
    assert merge_turns((Turn("user", "Hi"), Turn("user", "there"))) == (
        Turn("user", (TextBlock("Hi"), TextBlock("there"))),
    )
