"""Where breakpoints stand, and the rules between them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from renga.errors import InvalidRequest
from renga.protocols.messages.billing_header import strip_billing_line, system_texts
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.request import Breakpoint, MessageRequest
from renga.protocols.messages.rules.cache_breakpoints import walk_blocks

USE: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def decode(**fields: Any) -> MessageRequest:
    default = {"model": "haiku", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    return decode_request(msgspec.json.encode({**default, **fields}), "2023-06-01")


def text(words: str = "x", control: dict[str, str] | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words} | ({"cache_control": control} if control else {})


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    return caught.value


def test_blocks_are_counted_over_tools_system_and_messages():
    request = decode(
        tools=[TOOL, {**TOOL, "name": "g", "cache_control": HOUR}],
        system=[text(), text(control=HOUR)],
        messages=[user(text(), text(control=FIVE)), {"role": "assistant", "content": "Y"}, user(text(control=FIVE))],
    )
    assert request.breakpoints == (
        Breakpoint(1, "tools", 1, 0, hour=True),
        Breakpoint(3, "system", 1, 0, hour=True),
        Breakpoint(5, "messages", 0, 1),
        Breakpoint(7, "messages", 2, 0),
    )
    assert [block.path for block in walk_blocks(request)][3:7] == [
        "system.1",
        "messages.0.content.0",
        "messages.0.content.1",
        "messages.1.content",
    ]


def test_a_request_without_cache_control_has_no_breakpoint():
    assert decode(system="s").breakpoints == ()
    assert decode(system=[text() | {"cache_control": None}]).breakpoints == ()


def test_the_automatic_breakpoint_stands_on_the_last_block():
    assert decode(cache_control=HOUR, system="s").breakpoints == (Breakpoint(1, "messages", 0, 0, hour=True),)


def test_the_automatic_breakpoint_walks_back_past_thinking():
    thinking = {"type": "thinking", "thinking": "t", "signature": "s"}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [USE]},
        user(result),
    ]
    assert decode(tools=[TOOL], messages=turns, cache_control=FIVE).breakpoints[-1].index == 3
    open_end = [*turns, {"role": "assistant", "content": [thinking]}]
    assert decode(tools=[TOOL], messages=open_end, cache_control=FIVE).breakpoints[-1].index == 3


def test_the_automatic_breakpoint_adds_nothing_to_one_that_is_there():
    assert len(decode(messages=[user(text(control=FIVE))], cache_control=FIVE).breakpoints) == 1
    assert refused(messages=[user(text(control=FIVE))], cache_control=HOUR).path == "cache_control.ttl"


def test_parts_of_a_result_mark_their_block():
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text(control=FIVE)]}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [USE]},
        user(result),
    ]
    assert decode(tools=[TOOL], messages=turns).breakpoints == (Breakpoint(3, "messages", 2, 0),)


def test_longer_ones_come_first():
    decode(system=[text(control=HOUR)], messages=[user(text(control=FIVE))])
    error = refused(system=[text(control=FIVE)], messages=[user(text(), text(control=HOUR))])
    assert error.path == "messages.0.content.1.cache_control.ttl"


def test_the_fifth_is_named():
    error = refused(system=[text(control=FIVE)] * 4, messages=[user(text(control=FIVE))])
    assert error.path == "messages.0.content.0.cache_control"


def test_only_a_billing_line_at_the_head_is_left_out():
    line = "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"
    assert strip_billing_line(f"{line}\nYou are helpful.\nThanks.") == "You are helpful.\nThanks."
    assert strip_billing_line(f"Hi\n{line}") == f"Hi\n{line}"
    assert strip_billing_line(line) == ""
    assert system_texts((TextBlock(line), TextBlock(line))) == ["", line]
    assert system_texts(None) == []
