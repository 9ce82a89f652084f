"""Lines of the OpenAI-style batch file: a chat.completions body as a Messages request, and the answer back.

Owns: what each field becomes. Must never know: files, servers.
Invariants: what changes an answer's meaning and has no counterpart is refused by its path; what does not is left out.

Source: OpenAI batch file format and chat.completions reference; docs/reference/messages-api.md, "Request fields",
"Tools", "Content blocks in a request", "Content blocks in an answer", "The message and its usage" and
"Chat fields of OpenAI clients".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.errors import InvalidRequest
from renga.protocols.openai.chat_types import ImageUrl, NamedChoice, ToolCall

CHAT_URL = "/v1/chat/completions"
MESSAGES_URL = "/v1/messages"

_DEFAULT_MAX_TOKENS = 4096
"""Messages requests must say how much they want at most; chat.completions need not."""
_REFUSED = ("audio", "functions", "function_call", "logprobs", "modalities", "prediction", "web_search_options")
_DATA_URL = re.compile(r"data:(image/[a-z]+);base64,(.+)", re.DOTALL)
_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class ChatLine(Struct, frozen=True):
    """One line of an OpenAI-style batch file."""

    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _ChatPart(Struct, frozen=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None


class _Message(Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[_ChatPart, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None


class _Function(Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw | UnsetType = UNSET


class _ChatFileTool(Struct, frozen=True):
    function: _Function


class _Schema(Struct, frozen=True):
    schema: msgspec.Raw


class _Format(Struct, frozen=True):
    type: Literal["text", "json_schema"]
    json_schema: _Schema | None = None


class _ChatBody(Struct, frozen=True):
    model: str
    messages: tuple[_Message, ...]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: Literal[1] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | tuple[str, ...] | None = None
    tools: tuple[_ChatFileTool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None


_Refusing = msgspec.defstruct(
    "_Refusing", [(name, msgspec.Raw | UnsetType, UNSET) for name in _REFUSED], bases=(_ChatBody,)
)


def read_chat_body(body: bytes) -> dict[str, object]:
    """The Messages request that a chat.completions body asks for.

    Raises: InvalidRequest with the path of what has no counterpart.
    """
    try:
        chat = cast(_ChatBody, msgspec.json.decode(body, type=_Refusing))
    except msgspec.MsgspecError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise InvalidRequest(f"{what}.", path=where.rstrip("`") or "body") from None
    for name in _REFUSED:
        if getattr(chat, name) not in (UNSET, msgspec.Raw(b"null"), msgspec.Raw(b"false")):
            raise InvalidRequest("Messages requests have nothing like it.", path=name, hint="leave it out")
    system, turns = _read_messages(chat.messages)
    request: dict[str, object] = {
        "model": chat.model,
        "max_tokens": chat.max_completion_tokens or chat.max_tokens or _DEFAULT_MAX_TOKENS,
        "messages": turns,
    }
    if system:
        request["system"] = "\n\n".join(system)
    if chat.temperature is not None:
        request["temperature"] = min(chat.temperature, 1.0)
    if chat.top_p is not None:
        request["top_p"] = chat.top_p
    if chat.stop:
        request["stop_sequences"] = [chat.stop] if isinstance(chat.stop, str) else chat.stop
    if chat.tools:
        request["tools"] = [_render_tool(tool.function) for tool in chat.tools]
    choice = _render_choice(chat)
    if choice is not None:
        request["tool_choice"] = choice
    wanted = chat.response_format
    if wanted is not None and wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise InvalidRequest("Field required.", path="response_format.json_schema")
        request["output_config"] = {"format": {"type": "json_schema", "schema": wanted.json_schema.schema}}
    return request


def _read_messages(messages: Sequence[_Message]) -> tuple[list[str], list[dict[str, object]]]:
    """The texts of the system, and the turns."""
    system: list[str] = []
    turns: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    """Of the calls of one turn: they stand together, as the calls did."""
    for position, message in enumerate(messages):
        path = f"messages.{position}"
        if message.role == "tool":
            if not results:
                turns.append({"role": "user", "content": results})
            text = _as_text(message.content, path)
            results.append({"type": "tool_result", "tool_use_id": message.tool_call_id, "content": text})
            continue
        results = []
        if message.role in ("system", "developer"):
            system.append(_as_text(message.content, path))
        elif message.role == "assistant":
            turns.append({"role": "assistant", "content": _read_answer(message, path)})
        else:
            turns.append({"role": "user", "content": _read_content(message.content, f"{path}.content")})
    return system, turns


def _read_answer(message: _Message, path: str) -> list[dict[str, object]]:
    blocks: list[dict[str, object]] = []
    if message.content:
        blocks.append({"type": "text", "text": _as_text(message.content, path)})
    for call in message.tool_calls or ():
        arguments = msgspec.Raw(call.function.arguments.encode() or b"{}")
        blocks.append({"type": "tool_use", "id": call.id, "name": call.function.name, "input": arguments})
    return blocks


def _as_text(content: str | tuple[_ChatPart, ...] | None, path: str) -> str:
    if isinstance(content, str):
        return content
    if any(part.type not in ("text", "refusal") for part in content or ()):
        raise InvalidRequest("Must be text.", path=f"{path}.content")
    return "".join(part.text or part.refusal or "" for part in content or ())


def _read_content(content: str | tuple[_ChatPart, ...] | None, path: str) -> str | list[dict[str, object]]:
    if isinstance(content, str):
        return content
    blocks: list[dict[str, object]] = []
    for position, part in enumerate(content or ()):
        if part.type == "text":
            blocks.append({"type": "text", "text": part.text or ""})
        elif part.type == "image_url" and part.image_url is not None:
            blocks.append({"type": "image", "source": _read_image(part.image_url.url)})
        else:
            raise InvalidRequest(f"{part.type!r} has no counterpart in a Messages request.", path=f"{path}.{position}")
    return blocks


def _read_image(url: str) -> dict[str, str]:
    data = _DATA_URL.fullmatch(url)
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": data[1], "data": data[2]}


def _render_tool(function: _Function) -> dict[str, object]:
    tool: dict[str, object] = {
        "name": function.name,
        "input_schema": msgspec.Raw(b'{"type":"object"}') if function.parameters is UNSET else function.parameters,
    }
    if function.description:
        tool["description"] = function.description
    return tool


def _render_choice(chat: _ChatBody) -> dict[str, object] | None:
    match chat.tool_choice:
        case NamedChoice(function=function):
            choice: dict[str, object] = {"type": "tool", "name": function.name}
        case None if chat.parallel_tool_calls is not False or not chat.tools:
            return None
        case word:
            choice = {"type": {"required": "any", "none": "none"}.get(word or "auto", "auto")}
    if chat.parallel_tool_calls is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice


def render_chat_line(custom_id: str, result: dict[str, Any], request_id: str, *, created_s: int) -> dict[str, Any]:
    """A line of the results in the format of an OpenAI-style output file.

    Units: created_s, since 1970, when the answer was read: results do not say when each was given.
    """
    line: dict[str, Any] = {"id": request_id, "custom_id": custom_id, "response": None, "error": None}
    if result["type"] == "succeeded":
        line["response"] = _response(200, request_id, render_completion(result["message"], created_s=created_s))
    elif result["type"] == "errored":
        error = result["error"]["error"]
        body = {"error": {"message": error["message"], "type": error["type"], "param": None, "code": None}}
        line["response"] = _response(_STATUSES.get(error["type"], 500), request_id, body)
    else:
        line["error"] = {"code": f"batch_{result['type']}", "message": f"The request was {result['type']}."}
    return line


def _response(status: int, request_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"status_code": status, "request_id": request_id, "body": body}


def render_completion(message: dict[str, Any], *, created_s: int) -> dict[str, Any]:
    """Render a message as an OpenAI chat.completion object."""
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()},
        }
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    usage = message["usage"]
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    return {
        "id": message["id"],
        "object": "chat.completion",
        "created": created_s,
        "model": message["model"],
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": text or None,
                    "refusal": None,
                    **({"tool_calls": calls} if calls else {}),
                },
                "logprobs": None,
                "finish_reason": _FINISHES.get(message["stop_reason"] or "", "stop"),
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": usage["output_tokens"],
            "total_tokens": prompt + usage["output_tokens"],
            "prompt_tokens_details": {"cached_tokens": cached},
        },
        "service_tier": "batch",
    }
