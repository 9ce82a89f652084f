"""A conversation to a prompt, by the model's own template.

Owns: what a chat is made of, the sandboxed jinja template, and that no content ever becomes a control token.
Must never know: Anthropic's wire types, how answers are read.
Invariants: what a client wrote is encoded apart from the template's text and with special parsing off.

How: before rendering, every string of the client is put into a slot and replaced by the slot's mark, which holds a
fresh random number. The rendered text is split at the marks; between them stands what the template wrote itself.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NoReturn

import msgspec
from jinja2 import TemplateError, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from renga.errors import ConfigError, InvalidRequest
from renga.models.engine.text.families import detect_family
from renga.models.engine.text.vocabulary import Vocabulary

PLAIN_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
"""For models without a template: what was said, line by line."""

Role = Literal["system", "user", "assistant", "tool"]


class TemplateToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier."""

    call_id: str
    name: str
    arguments: dict[str, Any]


class TemplateMessage(msgspec.Struct, frozen=True):
    """One turn. A tool's result is a turn of its own, in the order of the calls."""

    role: Role
    content: str = ""
    thinking: str | None = None
    """Assistant only: what it thought before `content`."""
    tool_calls: tuple[TemplateToolCall, ...] = ()
    """Assistant only."""
    call_id: str | None = None
    """Tool only: which call this is the result of."""
    name: str | None = None
    """Tool only: the tool's name."""


class TemplateTool(msgspec.Struct, frozen=True):
    """A tool as the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """A JSON schema of type object."""


class MessagePlace(msgspec.Struct, frozen=True):
    """A place in a chat whose token position somebody wants to know."""

    unit: int
    """Index over the tools and then the messages; -1 is before all of them."""
    offset: int | None = None
    """Characters of the message's content before it; None: the unit's end."""


class Chat(msgspec.Struct, frozen=True):
    """Everything that goes into a prompt. If the last message is the assistant's, the answer continues it."""

    messages: tuple[TemplateMessage, ...]
    tools: tuple[TemplateTool, ...] = ()
    thinking: bool = False
    places: tuple[MessagePlace, ...] = ()


class Prompt(msgspec.Struct, frozen=True):
    """A chat as the tokens that the model reads."""

    token_ids: list[int]
    thinking_open: bool
    """Whether the prompt ends inside a thinking block, so that the answer begins with thinking."""
    positions: tuple[int, ...] = ()
    """Tokens before each of the chat's places. What a template writes later than its order, as tools behind the system
    prompt, counts to whatever comes first there, so that positions never go back."""


_NONCE = secrets.token_hex(8)
_MARK = re.compile(f"\ue000{_NONCE}-([0-9]+)\ue001")
"""The same for a whole process: what a client writes is never searched for marks, so knowing one is no use."""


_NOBODY = sys.maxsize
"""Whose a slot is that holds nothing of a client's, as the JSON of a number: nobody's place is behind it."""


class Slots:
    """The client's strings of one rendering, by the marks that stand for them."""

    def __init__(self, control_tokens: tuple[str, ...]) -> None:
        self._control_tokens = control_tokens
        self._texts: list[str] = []
        self.unit = -1
        """The tool or message whose strings are being hidden."""
        self.units: list[int] = []
        """Whose each slot is."""
        self.content_slots: dict[int, int] = {}
        """The slot of each message's content, by unit."""

    def hide_content(self, text: str) -> str:
        """Hide the content of a message."""
        if text:
            self.content_slots[self.unit] = len(self._texts)
        return self.hide(text)

    def hide(self, text: str) -> str:
        """Put a text into a slot and give its mark. The empty text stays, because templates ask whether it is."""
        if not text:
            return text
        self._texts.append(text)
        self.units.append(self.unit)
        return f"\ue000{_NONCE}-{len(self._texts) - 1}\ue001"

    def hide_all(self, value: Any) -> Any:
        """Hide every string in a JSON value. Keys are looked up by templates, so only dangerous ones are hidden."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, dict):
            return {self._hide_key(key): self.hide_all(item) for key, item in value.items()}  # pyright: ignore
        if isinstance(value, list):
            return [self.hide_all(item) for item in value]  # pyright: ignore
        return value

    def _hide_key(self, key: str) -> str:
        return self.hide(key) if any(token in key for token in self._control_tokens) else key

    def hide_json(self, text: str) -> str:
        """Hide JSON that a template made of a value: the marks in it become strings again, escaped as JSON."""
        self.unit = max((self.units[int(number)] for number in _MARK.findall(text)), default=_NOBODY)
        return self.hide(_MARK.sub(self._escaped, text))

    def _escaped(self, match: re.Match[str]) -> str:
        return json.dumps(self._texts[int(match[1])], ensure_ascii=False)[1:-1]

    def split(self, rendered: str) -> list[tuple[str, int | None]]:
        """Cut a rendered text into (text, its slot; None where the template wrote it), in order."""
        pieces = _MARK.split(rendered)
        return [
            (self._texts[int(piece)], int(piece)) if index % 2 else (piece, None)
            for index, piece in enumerate(pieces)
            if piece
        ]


class Span(msgspec.Struct, frozen=True):
    """A text of the client and where its tokens stand."""

    text: str
    start: int
    end: int


class Layout:
    """Where the tools and messages of one rendering stand among its tokens."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._contents: dict[int, Span] = {}

    def add(self, slots: Slots, slot: int, span: Span) -> None:
        """Note where a slot came to stand."""
        unit = slots.units[slot]
        self._ends[unit] = span.end
        if slots.content_slots.get(unit) == slot:
            self._contents[unit] = span

    def add_prefill(self, unit: int, span: Span) -> None:
        """Note where the beginning of the answer stands, which is in no slot."""
        self._ends[unit] = span.end
        self._contents[unit] = span

    def locate(self, place: MessagePlace, encode: Callable[[str], list[int]]) -> int:
        """Tokens before a place. Cost: encodes what stands before it in its own text."""
        before = max((end for unit, end in self._ends.items() if unit < place.unit), default=0)
        content = self._contents.get(place.unit)
        if place.offset is None or content is None:
            here = self._ends.get(place.unit, 0)
        elif place.offset >= len(content.text):
            here = content.end
        else:
            here = content.start + len(encode(content.text[: place.offset]))
        return max(before, here)


class ChatTemplate:
    """A model's chat template, compiled once and rendered for each request."""

    def __init__(self, source: str, vocabulary: Vocabulary, *, variables: dict[str, str] | None = None) -> None:
        """Compile the template. `variables` are what it may name besides the chat, such as bos_token.

        Raises: ConfigError if the template is not jinja.
        """
        self.family = detect_family(source)
        self._vocabulary = vocabulary
        self._control_tokens = tuple(vocabulary.added_token_ids)
        self._encode_template = lru_cache(maxsize=512)(_encode_with(vocabulary))
        try:
            self._template = _ENVIRONMENT.from_string(source, globals=dict(variables or {}))
        except TemplateError as error:
            raise ConfigError(f"the model's chat template is broken: {error}") from error

    def render(self, chat: Chat) -> Prompt:
        """Write the chat as the model was trained to read it.

        Raises: InvalidRequest with the template's own words if it refuses the chat.
        Cost:   0.15 ms for a short chat, and the encoding of what the client wrote.
        """
        slots = Slots(self._control_tokens)
        messages, prefill = _split_prefill(chat.messages)
        try:
            rendered = self._template.render(
                messages=[
                    _describe_message(message, slots, unit) for unit, message in enumerate(messages, len(chat.tools))
                ],
                tools=[_describe_tool(tool, slots, unit) for unit, tool in enumerate(chat.tools)] or None,
                add_generation_prompt=True,
                enable_thinking=chat.thinking and not prefill,
                renga_slots=slots,
            )
        except TemplateError as error:
            raise InvalidRequest(f"the model's chat template refuses this: {error}", path="messages") from error
        token_ids: list[int] = []
        layout = Layout()
        for text, slot in slots.split(rendered):
            start = len(token_ids)
            token_ids += self._encode_template(text) if slot is None else self._encode_content(text)
            if slot is not None:
                layout.add(slots, slot, Span(text, start, len(token_ids)))
        opening = self.family.think_open
        thinking_open = bool(opening) and not prefill and rendered.rstrip().endswith(opening)
        start = len(token_ids)
        token_ids += self._encode_content(prefill)
        layout.add_prefill(len(chat.tools) + len(messages), Span(prefill, start, len(token_ids)))
        positions = tuple(layout.locate(place, self._encode_content) for place in chat.places)
        return Prompt(token_ids, thinking_open, positions)

    def _encode_content(self, text: str) -> list[int]:
        return self._vocabulary.encode(text, parse_special=False)


def _encode_with(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Make the function that encodes a template's own text; it repeats, so its results are kept."""
    return lambda text: vocabulary.encode(text, parse_special=True)


def _split_prefill(messages: tuple[TemplateMessage, ...]) -> tuple[tuple[TemplateMessage, ...], str]:
    """Take off the last message if the answer is to continue it."""
    if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
        return messages[:-1], messages[-1].content
    return messages, ""


def _describe_message(message: TemplateMessage, slots: Slots, unit: int) -> dict[str, Any]:
    """Write a message as templates expect it.

    Source: Hugging Face transformers, `apply_chat_template` and the tool-use guide.
    """
    slots.unit = unit
    described: dict[str, Any] = {"role": message.role, "content": slots.hide_content(message.content)}
    if message.thinking is not None:
        described["reasoning_content"] = slots.hide(message.thinking)
    if message.tool_calls:
        described["tool_calls"] = [
            {
                "id": slots.hide(call.call_id),
                "type": "function",
                "function": {"name": slots.hide(call.name), "arguments": slots.hide_all(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.call_id is not None:
        described["tool_call_id"] = slots.hide(message.call_id)
    if message.name is not None:
        described["name"] = slots.hide(message.name)
    return described


def _describe_tool(tool: TemplateTool, slots: Slots, unit: int) -> dict[str, Any]:
    """Write a tool as templates expect it."""
    slots.unit = unit
    function = {
        "name": slots.hide(tool.name),
        "description": slots.hide(tool.description),
        "parameters": slots.hide_all(tool.parameters),
    }
    return {"type": "function", "function": function}


@pass_context
def _to_json(context: Context, value: Any, ensure_ascii: bool = False, indent: int | None = None, **style: Any) -> str:
    """Write a value as JSON and hide the result: it is made of what the client wrote.

    Source: transformers, chat_template_utils.py `tojson`: unlike jinja's own it escapes no HTML. Its `ensure_ascii`
    would spell out the marks and is not obeyed.
    """
    slots: Slots = context["renga_slots"]
    return slots.hide_json(json.dumps(value, ensure_ascii=False, indent=indent, **style))


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


class GenerationBlock(Extension):
    """Lets `{% generation %}` stand in templates; it marks what to train on and prints its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja's declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _build_environment() -> ImmutableSandboxedEnvironment:
    """Build the sandbox with what Hugging Face's own gives to templates.

    Source: transformers, chat_template_utils.py `_compile_jinja_template`.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    given: dict[str, Any] = {"raise_exception": _raise_exception, "strftime_now": _now}
    environment.globals.update(given)
    filters: dict[str, Any] = {"tojson": _to_json}
    environment.filters.update(filters)
    return environment


_ENVIRONMENT = _build_environment()
