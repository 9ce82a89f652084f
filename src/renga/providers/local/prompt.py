"""A Messages request as the chat that a local model reads.

Owns: what each block becomes in a prompt, and which rules the answer must obey.
Must never know: token ids, the engine process, events.
Invariant: nothing that carries meaning is left out in silence; what a local model cannot read is refused by its path.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from renga.engine.chat import Chat, ChatMessage, ChatTool, ChatToolCall
from renga.engine.families import Family
from renga.engine.grammar import AnswerRules, ToolRule
from renga.errors import InvalidRequest
from renga.providers.base import Call
from renga.wire import blocks
from renga.wire.builtin_tools import builtin_definition
from renga.wire.reading import render_document, render_search_result
from renga.wire.request import (
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
from renga.wire.signature import Signer


class Conversation(Struct, frozen=True):
    """A request in the engine's words."""

    chat: Chat
    rules: AnswerRules
    must_think: bool
    """Whether the client asked for thinking outright; `chat.thinking` says whether it is allowed."""
    thinking_budget_tokens: int | None
    has_prefill: bool


def build_conversation(call: Call, family: Family, signer: Signer) -> Conversation:
    """Say a request in the engine's words.

    Raises: InvalidRequest naming the block that a local model cannot read, or whose signature is forged.
    """
    request = call.request
    messages = _system_messages(request)
    for index, turn in enumerate(request.messages):
        for message in _turn_messages(turn, f"messages.{index}", signer):
            _append(messages, message)
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
        chat=Chat(tuple(messages), tuple(tool for tool, _, _ in tools), thinking=may_think and not has_prefill),
        rules=rules,
        must_think=must_think and not has_prefill,
        thinking_budget_tokens=budget,
        has_prefill=has_prefill,
    )


def _system_messages(request: MessageRequest) -> list[ChatMessage]:
    if request.system is None:
        return []
    text = request.system if isinstance(request.system, str) else "\n".join(block.text for block in request.system)
    return [ChatMessage("system", text)] if text else []


def _append(messages: list[ChatMessage], message: ChatMessage) -> None:
    """Add a message, or join it to the last one if that has the same role; results of tools stay apart."""
    last = messages[-1] if messages else None
    if last is None or last.role != message.role or message.role == "tool":
        messages.append(message)
        return
    separator = "" if message.role == "assistant" else "\n"
    messages[-1] = ChatMessage(
        last.role,
        separator.join(text for text in (last.content, message.content) if text),
        thinking="\n".join(thought for thought in (last.thinking, message.thinking) if thought) or None,
        tool_calls=(*last.tool_calls, *message.tool_calls),
    )


def _turn_messages(turn: Turn, path: str, signer: Signer) -> list[ChatMessage]:
    if not turn.content:
        return []  # an empty last turn of the assistant: a prefill of nothing
    if isinstance(turn.content, str):
        return [ChatMessage(turn.role, turn.content)]
    if turn.role == "assistant":
        return [_assistant_message(turn.content, path, signer)]
    messages: list[ChatMessage] = []
    texts: list[str] = []
    for index, block in enumerate(turn.content):
        if isinstance(block, blocks.ToolResultBlock):
            messages.append(_tool_result(block, f"{path}.content.{index}"))
        else:
            texts.append(_block_text(block, f"{path}.content.{index}"))
    if texts:
        messages.append(ChatMessage(turn.role, "\n".join(texts)))
    return messages


def _assistant_message(content: tuple[blocks.InputBlock, ...], path: str, signer: Signer) -> ChatMessage:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ChatToolCall] = []
    for index, block in enumerate(content):
        match block:
            case blocks.TextBlock(text=text):
                texts.append(text)
            case blocks.ThinkingBlock():
                if signer.is_own(block, f"{path}.content.{index}"):
                    thoughts.append(block.thinking)
            case blocks.ToolUseBlock():
                calls.append(ChatToolCall(block.id, block.name, msgspec.json.decode(block.input)))
            case _:
                pass  # history that only the model which wrote it can read (wire/blocks.py)
    return ChatMessage("assistant", "".join(texts), thinking="\n".join(thoughts) or None, tool_calls=tuple(calls))


def _tool_result(block: blocks.ToolResultBlock, path: str) -> ChatMessage:
    content = block.content or ""
    if not isinstance(content, str):
        content = "\n".join(_block_text(part, f"{path}.content.{index}") for index, part in enumerate(content))
    return ChatMessage("tool", f"Error: {content}" if block.is_error else content, call_id=block.tool_use_id)


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


def _offered_tools(request: MessageRequest) -> tuple[list[tuple[ChatTool, bool, str]], Any]:
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


def _chat_tool(tool: Tool, path: str) -> ChatTool:
    if isinstance(tool.input_schema, msgspec.Raw) and isinstance(tool.name, str):
        return ChatTool(tool.name, tool.description or "", msgspec.json.decode(tool.input_schema))
    definition = builtin_definition(tool)
    if definition is None:
        raise InvalidRequest(
            f"The local model does not offer `{tool.type}`.", path=path, hint="ask for a tier that has it"
        )
    return ChatTool(definition.name, definition.description, definition.input_schema)


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
