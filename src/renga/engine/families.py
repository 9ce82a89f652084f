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
    """Names under which a call carries its arguments; the first is the one that grammars write."""
    visible_tokens: frozenset[str] = frozenset()
    """Special tokens that mean something to the parser and so must show in the text."""
    loose_newlines: bool = False
    """Whether line breaks beside a tag belong to the tag and not to the text."""


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("hokku", "<think>", "</think>", "<tool_call>", "</tool_call>"),
        Family("qwen", "<think>", "</think>", "<tool_call>", "</tool_call>", loose_newlines=True),
        Family(
            "llama3",
            tool_open="<|python_tag|>",
            bare_tool_calls=True,
            arguments_keys=("parameters", "arguments"),
            visible_tokens=frozenset({"<|python_tag|>"}),
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
