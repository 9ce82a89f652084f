"""Breakpoints written into bytes, held against the same done to the decoded body."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.edits.cache_control_insertion import mark_blocks
from renga.protocols.messages.rules.cache_breakpoints import PromptBlock, walk_blocks

CONTROL = {"type": "ephemeral"}
BODY: dict[str, Any] = {
    "model": "haiku",
    "max_tokens": 5,
    "metadata": {"user_id": "messages"},
    "tools": [
        {"name": "f", "input_schema": {"type": "object", "properties": {"system": {"enum": ["]", '"}', "\\"]}}}},
        {"name": "g", "input_schema": {"type": "object"}},
    ],
    "system": 'Say "}" \\ and \n more.',
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "[{"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": '"content":"\u00e9"'}]},
    ],
}


def blocks_of(raw: bytes) -> list[PromptBlock]:
    return list(walk_blocks(decode_request(raw, "2023-06-01")))


def mark_slowly(body: dict[str, Any], block: PromptBlock) -> None:
    """The oracle: the same change to the decoded body."""
    holder: Any = body
    key: Any = block.section
    if block.section == "messages":
        holder, key = body["messages"][block.outer], "content"
        if not block.is_short:
            holder, key = holder["content"], block.inner
    elif not block.is_short:
        holder, key = body[block.section], block.outer
    value = holder[key]
    marked = {"type": "text", "text": value} if isinstance(value, str) else value
    marked = {**marked, "cache_control": CONTROL}
    holder[key] = [marked] if isinstance(value, str) else marked


@given(
    st.sets(st.integers(0, 6), max_size=3),
    st.sampled_from([None, 0, 1, 3]),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\n: ")]),
)
def test_bytes_say_what_the_slow_way_says(
    chosen: set[int], indent: int | None, is_ascii: bool, separators: tuple[str, str]
) -> None:
    raw = json.dumps(BODY, ensure_ascii=is_ascii, indent=indent, separators=separators).encode()
    blocks = blocks_of(raw)
    marked = mark_blocks(raw, [blocks[index] for index in chosen])
    expected = copy.deepcopy(BODY)
    for index in chosen:
        mark_slowly(expected, blocks[index])
    assert json.loads(marked) == expected
    assert len(decode_request(marked, "2023-06-01").breakpoints) == len(chosen)
    rest = iter(marked)
    assert all(byte in rest for byte in raw)  # nothing is gone and nothing has moved


def test_a_name_given_twice_is_left_alone():
    raw = b'{"model":"m","max_tokens":1,"system":"a","system":"b","messages":[{"role":"user","content":"x"}]}'
    blocks = blocks_of(raw)
    assert mark_blocks(raw, blocks[:1]) == raw
    assert mark_blocks(raw, blocks[1:]) != raw


def test_escaped_names_are_found():
    raw = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","c\\u006fntent":"x"}]}'
    marked = msgspec.json.decode(mark_blocks(raw, blocks_of(raw)))
    assert marked["messages"][0]["content"][0]["cache_control"] == CONTROL
