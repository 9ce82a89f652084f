"""The Messages request as a typed value.

Owns: the request's types. Must never know: bytes (`protocols/messages/decode.py`) and the rules between fields
(`protocols/messages/rules/request_rules.py`).

Source: docs/reference/messages-api.md, "API versions", "Request fields", "Tools" and "Content blocks in a request".
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.protocols.messages.blocks import CacheControl, InputBlock, TextBlock

ApiVersion: TypeAlias = Literal["2023-06-01", "2026-10-21"]
ServiceTier: TypeAlias = Literal["standard", "batch"]
"""How urgent a request is, and at which price: `batch` waits for live ones and pays half."""
Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
Display: TypeAlias = Literal["summarized", "omitted", "updates"]


class Turn(Struct, frozen=True):
    """One entry of the `messages` list of a request."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[InputBlock, ...]
    clear_at: msgspec.Raw | UnsetType = UNSET
    output_config: msgspec.Raw | UnsetType = UNSET


class Tool(Struct, frozen=True):
    """A tool definition; `type` tells a custom tool (None, "custom") from a built-in one ("bash_20250124")."""

    name: str | UnsetType = UNSET
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw | UnsetType = UNSET
    strict: bool | None = None
    cache_control: CacheControl | UnsetType | None = UNSET
    defer_loading: bool | None = None
    allowed_callers: tuple[str, ...] | None = None


class ToolChoiceAuto(Struct, frozen=True, tag_field="type", tag="auto"):
    """The model decides whether it calls a tool."""

    disable_parallel_tool_use: bool = False


class ToolChoiceAny(Struct, frozen=True, tag_field="type", tag="any"):
    """The model must call one of the tools."""

    disable_parallel_tool_use: bool = False


class ToolChoiceTool(Struct, frozen=True, tag_field="type", tag="tool"):
    """The model must call the tool of this name."""

    name: str
    disable_parallel_tool_use: bool = False


class ToolChoiceNone(Struct, frozen=True, tag_field="type", tag="none"):
    """The model must not call any tool."""


ToolChoice: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


class ThinkingEnabled(Struct, frozen=True, tag_field="type", tag="enabled"):
    """The model thinks, for so many tokens at most."""

    budget_tokens: int
    display: Display | None = None
    block_binding: msgspec.Raw | UnsetType = UNSET


class ThinkingDisabled(Struct, frozen=True, tag_field="type", tag="disabled"):
    """The model answers without thinking about it first."""


class ThinkingAdaptive(Struct, frozen=True, tag_field="type", tag="adaptive"):
    """The model decides whether it thinks before it answers."""

    display: Display | None = None
    block_binding: msgspec.Raw | UnsetType = UNSET


class ThinkingBetweenTools(Struct, frozen=True, tag_field="type", tag="between_tools"):
    """The model thinks only about the results of tools."""


Thinking: TypeAlias = ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive | ThinkingBetweenTools


class JsonSchemaFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    """The answer must be JSON that this schema allows."""

    schema: msgspec.Raw


class OutputConfig(Struct, frozen=True):
    """How much effort an answer is worth, and which form it must have."""

    effort: Effort | None = None
    format: JsonSchemaFormat | None = None
    task_budget: msgspec.Raw | UnsetType = UNSET


class Metadata(Struct, frozen=True):
    """What a client says of a request besides: an id of its own user."""

    user_id: str | None = None


class Breakpoint(Struct, frozen=True):
    """A block up to which a prompt's prefix is to be cached."""

    index: int
    """Of the block, counted over tools, system and messages."""
    section: Literal["tools", "system", "messages"]
    outer: int
    """Index of the tool, the system block or the turn."""
    inner: int
    """Index of the block in its turn; 0 elsewhere."""
    hour: bool = False
    """For an hour, not five minutes."""


class RequestFields(Struct, frozen=True):
    """The fields of a `POST /v1/messages` body that Renga implements."""

    model: str
    messages: tuple[Turn, ...]
    max_tokens: int
    system: str | tuple[TextBlock, ...] | None = None
    stream: bool = False
    stop_sequences: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


class MessageRequest(RequestFields, frozen=True):
    """A decoded `POST /v1/messages` body, checked by the rules that hold for every target."""

    required_features: tuple[str, ...] = ()
    """Names of the meaning-changing fields in the body that only some targets honour, as `thread`, `mcp_servers`."""
    breakpoints: tuple[Breakpoint, ...] = ()
    """Where its prefix is to be cached, in order (`protocols/messages/rules/cache_breakpoints.py`)."""
