"""A conversation to a prompt, by the model's own template.

Owns: what a chat is made of, the sandboxed jinja template, and that no content ever becomes a control token.
Must never know: Anthropic's wire types, how answers are read.
Invariants: what a client wrote is encoded apart from the template's text and with special parsing off.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from renga.engine.vocabulary import Vocabulary

Role = Literal["system", "user", "assistant", "tool"]


class ChatToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier."""

    call_id: str
    name: str
    arguments: dict[str, Any]


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn. A tool's result is a turn of its own, in the order of the calls."""

    role: Role
    content: str = ""
    thinking: str | None = None
    """Assistant only: what it thought before `content`."""
    tool_calls: tuple[ChatToolCall, ...] = ()
    """Assistant only."""
    call_id: str | None = None
    """Tool only: which call this is the result of."""
    name: str | None = None
    """Tool only: the tool's name."""


class ChatTool(msgspec.Struct, frozen=True):
    """A tool as the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """A JSON schema of type object."""


class Chat(msgspec.Struct, frozen=True):
    """Everything that goes into a prompt. If the last message is the assistant's, the answer continues it."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ChatTool, ...] = ()
    thinking: bool = False


class Prompt(msgspec.Struct, frozen=True):
    """A rendered chat."""

    token_ids: list[int]
    thinking_open: bool
    """Whether the prompt ends inside a thinking block, so that the answer begins with thinking."""


class ChatTemplate:
    """A model's template, compiled once."""

    def __init__(self, source: str, vocabulary: Vocabulary, *, variables: dict[str, str] | None = None) -> None:
        """Compile the template. `variables` are what it may name besides the chat, such as bos_token.

        Raises: ConfigError if the template is not jinja.
        """

    def render(self, chat: Chat) -> Prompt:
        """Write the chat as the model was trained to read it.

        Raises: InvalidRequest with the template's own words if it refuses the chat.
        """
        raise NotImplementedError
