"""The Messages request: bytes in, a typed value out, or a 400 that names the JSON path.

Owns: the request type and the rules that hold for every target.
Must never know: what a particular target can do; that is asked later, of its capabilities.
Invariant: `decode_request` keeps the client's bytes, so that an Anthropic-family target gets what the client sent.

Source: messages-api notes, sections 1.2, 1.4 to 1.6 and 7.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.wire.blocks import CacheControl, InputBlock, TextBlock

ApiVersion: TypeAlias = Literal["2023-06-01", "2026-10-21"]
Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
Display: TypeAlias = Literal["summarized", "omitted"]


class Turn(Struct, frozen=True):
    """One entry of `messages`."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[InputBlock, ...]


class Tool(Struct, frozen=True):
    """A tool definition; `type` tells a custom tool (None, "custom") from a built-in one ("bash_20250124")."""

    name: str | UnsetType = UNSET
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw | UnsetType = UNSET
    strict: bool | None = None
    cache_control: CacheControl | UnsetType | None = UNSET


class ToolChoiceAuto(Struct, frozen=True, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool = False


class ToolChoiceAny(Struct, frozen=True, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool = False


class ToolChoiceTool(Struct, frozen=True, tag_field="type", tag="tool"):
    name: str
    disable_parallel_tool_use: bool = False


class ToolChoiceNone(Struct, frozen=True, tag_field="type", tag="none"):
    pass


ToolChoice: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


class ThinkingEnabled(Struct, frozen=True, tag_field="type", tag="enabled"):
    budget_tokens: int
    display: Display | None = None


class ThinkingDisabled(Struct, frozen=True, tag_field="type", tag="disabled"):
    pass


class ThinkingAdaptive(Struct, frozen=True, tag_field="type", tag="adaptive"):
    display: Display | None = None


class ThinkingBetweenTools(Struct, frozen=True, tag_field="type", tag="between_tools"):
    pass


Thinking: TypeAlias = ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive | ThinkingBetweenTools


class JsonSchemaFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    schema: msgspec.Raw


class OutputConfig(Struct, frozen=True):
    effort: Effort | None = None
    format: JsonSchemaFormat | None = None


class Metadata(Struct, frozen=True):
    user_id: str | None = None


class MessageRequest(Struct, frozen=True):
    """A decoded `POST /v1/messages` body. Fields that no target here may be able to honour are kept raw, see `demands`."""

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
    demands: tuple[str, ...] = ()
    """Names of the meaning-changing fields in the body that only some targets honour, as `thread`, `mcp_servers`."""
