"""The rules between a request's fields that hold for every target.

Owns: ranges, and which fields exclude each other. Must never know: what a target can do, or the rules between turns.
Invariant: the first rule that is broken is named with its path; nothing is corrected in silence.

Source: docs/reference/messages-api.md, "API versions", "Request fields" and "Tools".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.request import (
    ApiVersion,
    Breakpoint,
    RequestFields,
    ThinkingAdaptive,
    ThinkingEnabled,
    Tool,
    ToolChoiceAny,
    ToolChoiceTool,
)
from renga.protocols.messages.rules.cache_breakpoints import find_breakpoints
from renga.protocols.messages.rules.required_features import sort_features
from renga.protocols.messages.rules.turns import TurnCheck, check_object, is_given

MIN_THINKING_TOKENS = 1024
"""Source: docs/reference/messages-api.md, "Request fields"."""

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}").fullmatch
"""Source: public documentation "Define tools", pattern of `name`."""

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 1),
    ("top_p", 0, 1),
    ("top_k", 0, float("inf")),
)


class _SchemaHead(Struct):
    type: msgspec.Raw = msgspec.Raw(b"null")


_decode_schema_head = msgspec.json.Decoder(_SchemaHead).decode


class RuleFindings(Struct, frozen=True):
    """What the walk over a request's rules found."""

    required_features: tuple[str, ...]
    breakpoints: tuple[Breakpoint, ...]


def check_fields(request: RequestFields, version: ApiVersion, *, counting: bool) -> RuleFindings:
    """Walk the rules once, and return the features found inside fields and messages, and the breakpoints.

    Raises: InvalidRequest that names the first thing wrong.
    """
    walk = TurnCheck(version)
    walk.check(request.messages)
    required_features = walk.required_features
    is_marked = walk.is_marked or request.cache_control is not None
    if not request.model:
        raise InvalidRequest("The name of a model must not be empty.", path="model")
    if isinstance(request.system, tuple):
        is_marked |= _check_system(request.system)
    if request.tools:
        is_marked |= _check_tools(request.tools, required_features)
    breakpoints = find_breakpoints(request) if is_marked else ()
    if request.tool_choice is not None:
        _check_tool_choice(request)
    if request.stop_sequences and not all(request.stop_sequences):
        index = request.stop_sequences.index("")
        raise InvalidRequest("A stop sequence must not be empty.", path=f"stop_sequences.{index}")
    if request.output_config is not None:
        _check_output_config(request, required_features)
    _check_sampling(request, version)
    if not counting:
        _check_max_tokens(request)
    if request.thinking is not None:
        _check_thinking(request, required_features, counting=counting)
    return RuleFindings(sort_features(required_features) if required_features else (), breakpoints)


def _check_system(blocks: Sequence[TextBlock]) -> bool:
    """Returns whether one of them has a breakpoint."""
    is_marked = False
    for index, block in enumerate(blocks):
        if not block.text:
            raise InvalidRequest("Text content blocks must not be empty.", path=f"system.{index}.text")
        if block.cache_control:
            is_marked = True
    return is_marked


def _check_tools(tools: Sequence[Tool], required_features: list[str]) -> bool:
    """Returns whether one of them has a breakpoint."""
    names: set[str] = set()
    is_marked = False
    for index, tool in enumerate(tools):
        if tool.type is None or tool.type == "custom":
            _check_custom_tool(tool, f"tools.{index}")
        if isinstance(tool.name, str):
            if tool.name in names:
                raise InvalidRequest(
                    f"Tool names must be unique, and {tool.name!r} is there twice.",
                    path=f"tools.{index}.name",
                    error_code="tool_name_conflict",
                )
            names.add(tool.name)
        if tool.cache_control:
            is_marked = True
        if tool.defer_loading:
            required_features.append("tools.defer_loading")
        if tool.allowed_callers and any(caller != "direct" for caller in tool.allowed_callers):
            required_features.append("tools.allowed_callers")
    return is_marked


def _check_custom_tool(tool: Tool, path: str) -> None:
    if not isinstance(tool.name, str):
        raise InvalidRequest("Field required.", path=f"{path}.name")
    if not _TOOL_NAME(tool.name):
        raise InvalidRequest(
            f"{tool.name!r} is not a tool's name: 1 to 128 letters, digits, '_' and '-'.", path=f"{path}.name"
        )
    if not isinstance(tool.input_schema, msgspec.Raw):
        raise InvalidRequest(
            "Field required.", path=f"{path}.input_schema", hint="only built-in tools, named by their type, have none"
        )
    check_object(tool.input_schema, f"{path}.input_schema")
    head = _decode_schema_head(tool.input_schema)
    if bytes(head.type) != b'"object"':
        raise InvalidRequest('The type of a tool\'s input must be "object".', path=f"{path}.input_schema.type")


def _check_tool_choice(request: RequestFields) -> None:
    choice = request.tool_choice
    if not isinstance(choice, (ToolChoiceAny, ToolChoiceTool)):
        return
    if not request.tools:
        raise InvalidRequest("A tool cannot be chosen where no tools are given.", path="tool_choice")
    if isinstance(choice, ToolChoiceTool) and all(tool.name != choice.name for tool in request.tools):
        raise InvalidRequest(f"Tool {choice.name!r} is not among the tools.", path="tool_choice.name")
    if isinstance(request.thinking, ThinkingEnabled):
        raise InvalidRequest("Thinking cannot be enabled where a tool is forced.", path="tool_choice.type")


def _check_output_config(request: RequestFields, required_features: list[str]) -> None:
    config = request.output_config
    assert config is not None
    if config.format is not None:
        check_object(config.format.schema, "output_config.format.schema")
    if is_given(config.task_budget):
        required_features.append("output_config.task_budget")


def _check_sampling(request: RequestFields, version: ApiVersion) -> None:
    for name, low, high in _RANGES:
        value: float | None = getattr(request, name)
        if value is None:
            continue
        if version != "2023-06-01":
            raise InvalidRequest(
                f"Extra inputs are not permitted: {name} ended with API version 2026-10-21.",
                path=name,
                hint="leave it out, or send anthropic-version 2023-06-01",
            )
        if not low <= value <= high:
            limits = f"between {low:g} and {high:g}" if high != float("inf") else f"at least {low:g}"
            raise InvalidRequest(f"Must be {limits}, not {value:g}.", path=name)


def _check_max_tokens(request: RequestFields) -> None:
    if request.max_tokens > 0:
        return
    if request.max_tokens < 0:
        raise InvalidRequest("Must be at least 0.", path="max_tokens")
    for name, is_there in (
        ("stream", request.stream),
        ("thinking", isinstance(request.thinking, (ThinkingEnabled, ThinkingAdaptive))),
        ("output_config.format", request.output_config is not None and request.output_config.format is not None),
        ("tool_choice", isinstance(request.tool_choice, (ToolChoiceAny, ToolChoiceTool))),
    ):
        if is_there:
            raise InvalidRequest(f"0 only warms the cache and cannot be combined with {name}.", path="max_tokens")


def _check_thinking(request: RequestFields, required_features: list[str], *, counting: bool) -> None:
    thinking = request.thinking
    if isinstance(thinking, ThinkingEnabled):
        path = "thinking.budget_tokens"
        if thinking.budget_tokens < MIN_THINKING_TOKENS:
            raise InvalidRequest(f"Must be at least {MIN_THINKING_TOKENS}.", path=path)
        if not counting and thinking.budget_tokens >= request.max_tokens:
            raise InvalidRequest("Must be less than max_tokens.", path=path)
    if isinstance(thinking, (ThinkingEnabled, ThinkingAdaptive)):
        if is_given(thinking.block_binding):
            required_features.append("thinking.block_binding")
        if thinking.display == "updates":
            required_features.append("thinking.display")
