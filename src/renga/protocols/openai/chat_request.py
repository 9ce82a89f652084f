"""A Messages request as a chat.completions request.

Owns: what each block becomes, and in which order.
Must never know: sockets, or which server it is beyond its `Dialect`.
Invariants: nothing that carries meaning is left out in silence: what a server cannot be told is refused by its path;
every result of a tool directly follows the call it answers.

What has no word of its own there: `is_error` becomes a line in the result's text; an image in a result follows in a
user message; thinking goes back only if it was thought by this target for this key (its signature says so).

Source: docs/reference/messages-api.md, "Request fields", "Tools" and "Content blocks in a request"; OpenAI
chat.completions reference.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from renga.errors import InvalidRequest
from renga.protocols.messages import blocks
from renga.protocols.messages.billing_header import system_texts
from renga.protocols.messages.document_text import render_document, render_search_result
from renga.protocols.messages.request import (
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
from renga.protocols.openai.chat_types import (
    CalledFunction,
    ChatMessage,
    ChatRequest,
    ChatTool,
    FunctionTool,
    ImagePart,
    ImageUrl,
    NamedChoice,
    NamedFunction,
    NamedSchema,
    Part,
    SchemaFormat,
    StreamOptions,
    TextPart,
    ToolCall,
)
from renga.protocols.openai.dialects import Dialect

ERROR_PREFIX = "The tool failed: "
EFFORT_BY_BUDGET: tuple[tuple[int, str], ...] = ((4096, "low"), (16384, "medium"))
"""A thinking budget below this many tokens is this effort; above all of them it is high."""


class Rendering(Struct, frozen=True):
    """For whom a request is rendered."""

    dialect: Dialect
    model: str
    signer: Signer


def render_chat(request: MessageRequest, rendering: Rendering) -> ChatRequest:
    """Say a request in chat.completions.

    Raises: InvalidRequest naming what this server cannot be told, or a forged signature.
    """
    dialect = rendering.dialect
    messages = render_messages(request, rendering)
    continues = messages[-1].role == "assistant"
    if continues and dialect.prefill == "none":
        raise InvalidRequest(
            "This model does not continue a message of the assistant.",
            path=f"messages.{len(request.messages) - 1}",
            hint="end with a user message",
        )
    if dialect.max_stop_sequences is not None and len(request.stop_sequences) > dialect.max_stop_sequences:
        raise InvalidRequest(f"This model takes {dialect.max_stop_sequences} at most.", path="stop_sequences")
    tools, choice = _render_tools(request, dialect)
    wanted = request.output_config.format if request.output_config else None
    thinks = wants_thinking(request)
    # 0 only warms the cache, and servers refuse it: one token is asked for, and never shown.
    max_tokens = max(request.max_tokens, 1)
    is_flagged = continues and dialect.prefill == "flag"
    return ChatRequest(
        model=rendering.model,
        messages=tuple(messages),
        stream=True,
        stream_options=StreamOptions(),
        max_tokens=max_tokens if dialect.max_tokens_key == "max_tokens" else None,
        max_completion_tokens=max_tokens if dialect.max_tokens_key == "max_completion_tokens" else None,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k if dialect.top_k else None,
        stop=request.stop_sequences,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=_parallel(request, dialect) if tools else None,
        response_format=SchemaFormat(NamedSchema("answer", wanted.schema, strict=True)) if wanted else None,
        reasoning_effort=_effort(request, dialect, thinks=thinks),
        chat_template_kwargs={"enable_thinking": thinks} if dialect.template_thinking else None,
        continue_final_message=True if is_flagged else None,
        add_generation_prompt=False if is_flagged else None,
    )


def wants_thinking(request: MessageRequest) -> bool:
    """Whether the client asked to have the model think."""
    return isinstance(request.thinking, ThinkingEnabled | ThinkingAdaptive | ThinkingBetweenTools)


def render_messages(request: MessageRequest, rendering: Rendering) -> list[ChatMessage]:
    """The conversation alone: also what is counted."""
    messages: list[ChatMessage] = []
    if text := "\n".join(text for text in system_texts(request.system) if text):
        messages.append(ChatMessage("system", text))
    for index, turn in enumerate(request.messages):
        for message in _render_turn(turn, f"messages.{index}", rendering):
            _append(messages, message)
    if not messages or messages[-1].role == "system":
        raise InvalidRequest("Nothing in these messages can be read by this model.", path="messages")
    return messages


def _append(messages: list[ChatMessage], message: ChatMessage) -> None:
    """Add a message, joined to the last one where both are a user's: templates want roles to alternate."""
    last = messages[-1] if messages else None
    if last is None or last.role != "user" or message.role != "user":
        messages.append(message)
    elif isinstance(last.content, str) and isinstance(message.content, str):
        messages[-1] = replace(last, content=f"{last.content}\n{message.content}")
    else:
        messages[-1] = replace(last, content=(*_as_parts(last.content), *_as_parts(message.content)))


def _as_parts(content: str | tuple[Part, ...] | None) -> tuple[Part, ...]:
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _render_turn(turn: Turn, path: str, rendering: Rendering) -> list[ChatMessage]:
    if not turn.content:
        return []
    if turn.role == "assistant":
        return _render_assistant(turn.content, path, rendering)
    if turn.role == "system":
        text = turn.content if isinstance(turn.content, str) else _join_text(turn.content)
        if rendering.dialect.late_system == "system":
            return [ChatMessage("system", text)]
        return [ChatMessage("user", f"<system>\n{text}\n</system>")]
    if isinstance(turn.content, str):
        return [ChatMessage("user", turn.content)]
    return _render_user(turn.content, path, rendering)


def _join_text(content: tuple[blocks.InputBlock, ...]) -> str:
    return "\n".join(block.text for block in content if isinstance(block, blocks.TextBlock))


def _render_assistant(
    content: str | tuple[blocks.InputBlock, ...], path: str, rendering: Rendering
) -> list[ChatMessage]:
    if isinstance(content, str):
        return [ChatMessage("assistant", content)]
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for index, block in enumerate(content):
        if isinstance(block, blocks.TextBlock):
            texts.append(block.text)
        elif isinstance(block, blocks.ToolUseBlock):
            calls.append(ToolCall(block.id, CalledFunction(block.name, bytes(block.input).decode())))
        elif isinstance(block, blocks.ThinkingBlock) and rendering.signer.is_own(block, f"{path}.content.{index}"):
            thoughts.append(block.thinking)
        # Any other block is history that only the model which wrote it can read (protocols/messages/blocks.py).
    if not texts and not calls:
        return []
    thought = "\n".join(thoughts) or None
    key = rendering.dialect.reasoning_key
    return [
        ChatMessage(
            "assistant",
            "".join(texts) or None,
            tool_calls=tuple(calls),
            reasoning=thought if key == "reasoning" else None,
            reasoning_content=thought if key == "reasoning_content" else None,
        )
    ]


def _render_user(content: tuple[blocks.InputBlock, ...], path: str, rendering: Rendering) -> list[ChatMessage]:
    results: list[ChatMessage] = []
    parts: list[Part] = []
    for index, block in enumerate(content):
        place = f"{path}.content.{index}"
        if isinstance(block, blocks.ToolResultBlock):
            message, images = _render_result(block, place, rendering.dialect)
            results.append(message)
            parts += images
        else:
            parts += _render_part(block, place, rendering.dialect)
    if not parts:
        return results
    if all(isinstance(part, TextPart) for part in parts):
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        return [*results, ChatMessage("user", text)]
    return [*results, ChatMessage("user", tuple(parts))]


def _render_result(block: blocks.ToolResultBlock, path: str, dialect: Dialect) -> tuple[ChatMessage, list[Part]]:
    """A tool's message, which is text, and the images for the user message behind it."""
    texts: list[str] = []
    images: list[Part] = []
    if isinstance(block.content, str):
        texts.append(block.content)
    else:
        for index, part in enumerate(block.content or ()):
            for rendered in _render_part(part, f"{path}.content.{index}", dialect):
                if isinstance(rendered, TextPart):
                    texts.append(rendered.text)
                else:
                    images += (TextPart(f"An image from the result of {block.tool_use_id}:"), rendered)
    if images:
        texts.append("(The image follows in the next message.)")
    text = "\n".join(texts)
    return ChatMessage("tool", ERROR_PREFIX + text if block.is_error else text, tool_call_id=block.tool_use_id), images


def _render_part(block: blocks.InputBlock | blocks.ToolResultPart, path: str, dialect: Dialect) -> list[Part]:
    match block:
        case blocks.TextBlock(text=text):
            return [TextPart(text)]
        case blocks.ImageBlock():
            return [_render_image(block, path, dialect)]
        case blocks.DocumentBlock():
            return [TextPart(render_document(block, path))]
        case blocks.SearchResultBlock():
            return [TextPart(render_search_result(block))]
        case blocks.ToolReferenceBlock(tool_name=name):
            return [TextPart(f"The tool {name} can be called now.")]
        case blocks.BrowserStateBlock() | blocks.ContainerUploadBlock():
            raise InvalidRequest("This model cannot read such a block.", path=path)
        case _:
            return []


def _render_image(block: blocks.ImageBlock, path: str, dialect: Dialect) -> ImagePart:
    match block.source:
        case blocks.Base64Source(media_type=media_type, data=data):
            return ImagePart(ImageUrl(f"data:{media_type};base64,{data}"))
        case blocks.UrlSource(url=url) if dialect.remote_images:
            return ImagePart(ImageUrl(url))
        case blocks.UrlSource():
            raise InvalidRequest("This model reads images only as base64.", path=f"{path}.source.type")
        case _:
            raise InvalidRequest("Files are not available here.", path=f"{path}.source", hint="send the image itself")


def _render_tools(
    request: MessageRequest, dialect: Dialect
) -> tuple[tuple[ChatTool, ...], NamedChoice | Literal["required"] | None]:
    choice = request.tool_choice
    if isinstance(choice, ToolChoiceNone):
        return (), None
    tools = tuple(_render_tool(tool, f"tools.{index}", dialect) for index, tool in enumerate(request.tools))
    if not isinstance(choice, ToolChoiceAny | ToolChoiceTool):
        return tools, None
    if not dialect.forced_tools:
        raise InvalidRequest(
            "The server of this model does not obey a forced choice of tools.",
            path="tool_choice.type",
            hint="use auto, or ask for another tier",
        )
    if isinstance(choice, ToolChoiceAny):
        return tools, "required"
    if dialect.named_tools:
        return tools, NamedChoice(NamedFunction(choice.name))
    return tuple(tool for tool in tools if tool.function.name == choice.name), "required"


def _render_tool(tool: Tool, path: str, dialect: Dialect) -> ChatTool:
    strict = tool.strict if dialect.strict_tools else None
    if isinstance(tool.name, str) and not isinstance(tool.input_schema, UnsetType):
        return ChatTool(FunctionTool(tool.name, tool.input_schema, tool.description, strict))
    definition = builtin_definition(tool)
    if definition is None:
        raise InvalidRequest(
            f"No tool here runs `{tool.type}`.", path=path, hint="server-executed tools need a tier that has them"
        )
    schema = msgspec.Raw(msgspec.json.encode(definition.input_schema))
    return ChatTool(FunctionTool(definition.name, schema, definition.description))


def _parallel(request: MessageRequest, dialect: Dialect) -> bool | None:
    serial = getattr(request.tool_choice, "disable_parallel_tool_use", False)
    return False if serial and dialect.parallel_tool_calls else None


def _effort(request: MessageRequest, dialect: Dialect, *, thinks: bool) -> str | None:
    asked = request.output_config.effort if request.output_config else None
    if asked is not None:
        return dialect.efforts.get(asked)
    if isinstance(request.thinking, ThinkingEnabled):
        budget = request.thinking.budget_tokens
        fitting = next((effort for limit, effort in EFFORT_BY_BUDGET if budget < limit), "high")
        return dialect.efforts.get(fitting)
    return None if thinks else dialect.no_effort
