"""A Messages request as the chat that a local model reads.

Owns: what each block becomes in a prompt, and which rules the answer must obey.
Must never know: token ids, the engine process, events.
Invariant: nothing that carries meaning is left out in silence; what a local model cannot read is refused by its path.
(A client's billing line carries none, and would make every prompt new from its first token:
`protocols/messages/billing_header.py`.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct

from renga.errors import InvalidRequest
from renga.models.engine.grammar.answer_rules import AnswerRules, ToolRule
from renga.models.engine.text.chat_template import Chat, MessagePlace, TemplateMessage, TemplateTool, TemplateToolCall
from renga.models.engine.text.families import Family
from renga.protocols.messages import blocks
from renga.protocols.messages.billing_header import system_texts
from renga.protocols.messages.document_text import render_document, render_search_result
from renga.protocols.messages.request import (
    Breakpoint,
    MessageRequest,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingEnabled,
    Tool,
    ToolChoiceAny,
    ToolChoiceNone,
    ToolChoiceTool,
    Turn,
)
from renga.protocols.messages.rules.builtin_tools import builtin_definition
from renga.protocols.messages.signature import Signer


class Conversation(Struct, frozen=True):
    """A request in the engine's words."""

    chat: Chat
    rules: AnswerRules
    must_think: bool
    """Whether the client asked for thinking outright; `chat.thinking` says whether it is allowed."""
    thinking_budget_tokens: int | None
    has_prefill: bool


def build_conversation(request: MessageRequest, family: Family, signer: Signer) -> Conversation:
    """Say a request in the engine's words.

    Raises: InvalidRequest naming the block that a local model cannot read, or whose signature is forged.
    """
    transcript = Transcript()
    _add_system(transcript, request)
    for index, turn in enumerate(request.messages):
        _add_turn(transcript, turn, index, signer)
    messages = transcript.messages
    tools, choice = _offered_tools(request)
    has_prefill = messages[-1].role == "assistant"
    may_think, must_think = _thinking_wanted(request, family)
    rules = AnswerRules(
        family=family,
        tools=tuple(ToolRule(tool.name, tool.parameters, strict=strict, path=path) for tool, strict, path in tools),
        tool_choice=choice,
        parallel=not getattr(request.tool_choice, "disable_parallel_tool_use", False),
        schema=_answer_schema(request),
    )
    budget = request.thinking.budget_tokens if isinstance(request.thinking, ThinkingEnabled) else None
    return Conversation(
        chat=Chat(
            tuple(messages),
            tuple(tool for tool, _, _ in tools),
            thinking=may_think and not has_prefill,
            places=tuple(_locate(mark, transcript, len(tools)) for mark in request.breakpoints),
        ),
        rules=rules,
        must_think=must_think and not has_prefill,
        thinking_budget_tokens=budget,
        has_prefill=has_prefill,
    )


_SYSTEM = -1
"""Stands for the system prompt where turns are counted."""


class Transcript:
    """Messages as they grow, and where each block of the request ends in them."""

    def __init__(self) -> None:
        self.messages: list[TemplateMessage] = []
        self.ends: dict[tuple[int, int], MessagePlace] = {}
        """By turn and block; the unit is the message's index."""

    def add(self, message: TemplateMessage, turn: int, ends: dict[int, int | None]) -> None:
        """Add a message, or join it to the last one if that has the same role; results of tools stay apart.

        `ends` are characters of its content before each block's end; None for what stands behind the content.
        """
        last = self.messages[-1] if self.messages else None
        shift = 0
        if last is None or last.role != message.role or message.role == "tool":
            self.messages.append(message)
        else:
            separator = "" if message.role == "assistant" else "\n"
            shift = len(last.content) + len(separator) if last.content and message.content else len(last.content)
            self.messages[-1] = TemplateMessage(
                last.role,
                separator.join(text for text in (last.content, message.content) if text),
                thinking="\n".join(thought for thought in (last.thinking, message.thinking) if thought) or None,
                tool_calls=(*last.tool_calls, *message.tool_calls),
            )
        unit = len(self.messages) - 1
        for block, end in ends.items():
            self.ends[turn, block] = MessagePlace(unit, None if end is None else shift + end)


def _locate(mark: Breakpoint, transcript: Transcript, tool_count: int) -> MessagePlace:
    """A breakpoint's place in the chat. Tools that are not offered count to the one before them."""
    if mark.section == "tools":
        return MessagePlace(min(mark.outer, tool_count - 1))
    turn = _SYSTEM if mark.section == "system" else mark.outer
    end = transcript.ends.get((turn, mark.outer if turn == _SYSTEM else mark.inner))
    if end is None:  # a system prompt that was nothing but a billing line
        return MessagePlace(tool_count - 1)
    return MessagePlace(tool_count + end.unit, end.offset)


def _joined_ends(texts: Iterable[tuple[int, str]], separator: str) -> dict[int, int | None]:
    """Where each text ends once all are joined, by its block's index."""
    ends: dict[int, int | None] = {}
    length = -len(separator)
    for block, text in texts:
        length += len(separator) + len(text)
        ends[block] = max(0, length)
    return ends


def _add_system(transcript: Transcript, request: MessageRequest) -> None:
    texts = [(index, text) for index, text in enumerate(system_texts(request.system)) if text]
    if texts:
        content = "\n".join(text for _, text in texts)
        transcript.add(TemplateMessage("system", content), _SYSTEM, _joined_ends(texts, "\n"))


def _add_turn(transcript: Transcript, turn: Turn, index: int, signer: Signer) -> None:
    if not turn.content:
        return  # an empty last turn of the assistant: a prefill of nothing
    if isinstance(turn.content, str):
        transcript.add(TemplateMessage(turn.role, turn.content), index, {0: len(turn.content)})
        return
    path = f"messages.{index}"
    if turn.role == "assistant":
        texts = [(at, block.text) for at, block in enumerate(turn.content) if isinstance(block, blocks.TextBlock)]
        ends: dict[int, int | None] = dict.fromkeys(range(len(turn.content)))
        transcript.add(_assistant_message(turn.content, path, signer), index, ends | _joined_ends(texts, ""))
        return
    texts: list[tuple[int, str]] = []
    for at, block in enumerate(turn.content):
        if isinstance(block, blocks.ToolResultBlock):
            transcript.add(_tool_result(block, f"{path}.content.{at}"), index, {at: None})
        else:
            texts.append((at, _block_text(block, f"{path}.content.{at}")))
    if texts:
        content = "\n".join(text for _, text in texts)
        transcript.add(TemplateMessage(turn.role, content), index, _joined_ends(texts, "\n"))


def _assistant_message(content: tuple[blocks.InputBlock, ...], path: str, signer: Signer) -> TemplateMessage:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[TemplateToolCall] = []
    for index, block in enumerate(content):
        match block:
            case blocks.TextBlock(text=text):
                texts.append(text)
            case blocks.ThinkingBlock():
                if signer.is_own(block, f"{path}.content.{index}"):
                    thoughts.append(block.thinking)
            case blocks.ToolUseBlock():
                calls.append(TemplateToolCall(block.id, block.name, msgspec.json.decode(block.input)))
            case _:
                pass  # history that only the model which wrote it can read (protocols/messages/blocks.py)
    return TemplateMessage("assistant", "".join(texts), thinking="\n".join(thoughts) or None, tool_calls=tuple(calls))


def _tool_result(block: blocks.ToolResultBlock, path: str) -> TemplateMessage:
    content = block.content or ""
    if not isinstance(content, str):
        content = "\n".join(_block_text(part, f"{path}.content.{index}") for index, part in enumerate(content))
    return TemplateMessage("tool", f"Error: {content}" if block.is_error else content, call_id=block.tool_use_id)


def _block_text(block: blocks.InputBlock | blocks.ToolResultPart, path: str) -> str:
    match block:
        case blocks.TextBlock(text=text):
            return text
        case blocks.DocumentBlock():
            return render_document(block, path)
        case blocks.SearchResultBlock():
            return render_search_result(block)
        case blocks.ImageBlock():
            raise InvalidRequest("The local model cannot read images.", path=path, hint="ask for a tier that can")
        case blocks.ToolReferenceBlock():
            return f"Tool: {block.tool_name}"
        case _:
            raise InvalidRequest("The local model cannot read this block in a user turn.", path=path)


def _offered_tools(request: MessageRequest) -> tuple[list[tuple[TemplateTool, bool, str]], Any]:
    """The tools that the model is told of, each with its strictness and path, and the choice as a grammar knows it."""
    choice = request.tool_choice
    if isinstance(choice, ToolChoiceNone):
        return [], "none"
    offered = [
        (_chat_tool(tool, f"tools.{index}"), bool(tool.strict), f"tools.{index}.input_schema")
        for index, tool in enumerate(request.tools)
    ]
    if isinstance(choice, ToolChoiceTool):
        return [entry for entry in offered if entry[0].name == choice.name], "any"
    return offered, "any" if isinstance(choice, ToolChoiceAny) else "auto"


def _chat_tool(tool: Tool, path: str) -> TemplateTool:
    if isinstance(tool.input_schema, msgspec.Raw) and isinstance(tool.name, str):
        return TemplateTool(tool.name, tool.description or "", msgspec.json.decode(tool.input_schema))
    definition = builtin_definition(tool)
    if definition is None:
        raise InvalidRequest(
            f"The local model does not offer `{tool.type}`.", path=path, hint="ask for a tier that has it"
        )
    return TemplateTool(definition.name, definition.description, definition.input_schema)


def _answer_schema(request: MessageRequest) -> dict[str, Any] | None:
    wanted = request.output_config.format if request.output_config else None
    if wanted is None:
        return None
    schema: object = msgspec.json.decode(wanted.schema)
    if not isinstance(schema, dict):
        raise InvalidRequest("A JSON schema is an object.", path="output_config.format.schema")
    return cast("dict[str, Any]", schema)


def _thinking_wanted(request: MessageRequest, family: Family) -> tuple[bool, bool]:
    """Whether the model may think, and whether it must."""
    if not family.think_open:
        return False, False
    match request.thinking:
        case ThinkingEnabled():
            return True, True
        case ThinkingAdaptive():
            return True, False
        case ThinkingBetweenTools():
            last = request.messages[-1].content
            after_tools = not isinstance(last, str) and any(isinstance(b, blocks.ToolResultBlock) for b in last)
            return after_tools, after_tools
        case _:
            return False, False
