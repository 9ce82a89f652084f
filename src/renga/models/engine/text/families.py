"""How families of models write thinking and tool calls, as a table.

Owns: the tags and the shape of a tool call, one row a family.
Must never know: how they are parsed, rendered or constrained.
"""

from __future__ import annotations

import msgspec


class Family(msgspec.Struct, frozen=True):
    """The marks of one family of models. An empty mark means that the family has none."""

    name: str
    think_open: str = ""
    think_close: str = ""
    tool_open: str = ""
    tool_close: str = ""
    bare_tool_calls: bool = False
    """Whether an answer that begins with `{` may be a tool call without tags."""
    arguments_keys: tuple[str, ...] = ("arguments",)
    """Names under which a call may carry its arguments."""
    call_begin: str = ""
    """What a grammar writes before a tool's name; empty: the family has no tool calls."""
    call_middle: str = ""
    """Between the name and the arguments."""
    call_end: str = ""
    """After the arguments."""
    call_separator: str | None = None
    """Between two calls; None: there is only ever one."""
    visible_tokens: frozenset[str] = frozenset()
    """Special tokens that mean something to the parser and so must show in the text."""
    loose_newlines: bool = False
    """Whether line breaks beside a tag belong to the tag and not to the text."""


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "hokku",
            think_open="<think>",
            think_close="</think>",
            tool_open="<tool_call>",
            tool_close="</tool_call>",
            call_begin='<tool_call>{"name":"',
            call_middle='","arguments":',
            call_end="}</tool_call>",
            call_separator="",
        ),
        Family(
            "qwen",
            think_open="<think>",
            think_close="</think>",
            tool_open="<tool_call>",
            tool_close="</tool_call>",
            loose_newlines=True,
            call_begin='<tool_call>\n{"name": "',
            call_middle='", "arguments": ',
            call_end="}\n</tool_call>",
            call_separator="\n",
        ),
        Family(
            "llama3",
            tool_open="<|python_tag|>",
            bare_tool_calls=True,
            arguments_keys=("parameters", "arguments"),
            visible_tokens=frozenset({"<|python_tag|>"}),
            call_begin='{"name": "',
            call_middle='", "parameters": ',
            call_end="}",
        ),
        Family("plain"),
    )
}


def detect_family(chat_template: str) -> Family:
    """Choose the family whose marks a chat template writes; `plain` if it writes none."""
    if "<|user|>" in chat_template and "<tool_call>" in chat_template:
        return FAMILIES["hokku"]
    if "<tool_call>" in chat_template:
        return FAMILIES["qwen"]
    if "<|python_tag|>" in chat_template or "<|start_header_id|>" in chat_template:
        return FAMILIES["llama3"]
    return FAMILIES["plain"]
