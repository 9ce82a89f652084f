"""Models as `GET /v1/models` shows them.

Owns: the shape of a model, of its capabilities and of a page of them. Must never know: where capabilities come from.

Source: docs/reference/messages-api.md, "The Models endpoint".
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct


class Support(Struct, frozen=True):
    """Whether a model can do one thing."""

    supported: bool


class ContextManagementSupport(Struct, frozen=True):
    """Which server-side edits of a conversation a model takes."""

    supported: bool
    clear_thinking_20251015: Support
    clear_tool_uses_20250919: Support
    compact_20260112: Support


class EffortSupport(Struct, frozen=True):
    """Which levels of effort a model can be asked for."""

    supported: bool
    low: Support
    medium: Support
    high: Support
    xhigh: Support
    max: Support


class ServerToolsSupport(Struct, frozen=True):
    """Which of a provider's own tools a model can use."""

    supported: bool
    code_execution: Support
    web_search: Support


class ThinkingTypes(Struct, frozen=True):
    """Which ways of thinking a model can be asked for."""

    adaptive: Support
    between_tools: Support
    disabled: Support
    enabled: Support


class ThinkingSupport(Struct, frozen=True):
    """Whether a model can think, and in which ways."""

    supported: bool
    types: ThinkingTypes


class CompactionSupport(Struct, frozen=True):
    """Whether a long conversation can be summed up for a model."""

    supported: bool
    summarize: Support


class ModelCapabilities(Struct, frozen=True):
    """What a model can do, one leaf a capability."""

    batch: Support
    citations: Support
    code_execution: Support
    compaction: CompactionSupport
    context_management: ContextManagementSupport
    effort: EffortSupport
    image_input: Support
    pdf_input: Support
    server_tools: ServerToolsSupport
    structured_outputs: Support
    thinking: ThinkingSupport


class Standing(Struct, frozen=True):
    """What Renga adds to a model: who serves it here, and whether that works now."""

    targets: tuple[str, ...]
    working: bool
    detail: str = ""
    """Why it does not work and what to do about it."""


class ModelInfo(Struct, frozen=True):
    """One model. Every field is always there; null where nothing is known."""

    id: str
    display_name: str
    created_at: datetime
    lifecycle: Literal["active", "deprecated", "retired"]
    line: str | None
    max_input_tokens: int | None
    max_tokens: int | None
    capabilities: ModelCapabilities | None
    renga: Standing
    deprecated_at: datetime | None = None
    retires_at: datetime | None = None
    type: Literal["model"] = "model"


class ModelPage(Struct, frozen=True):
    """One page of the list of models."""

    data: tuple[ModelInfo, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None
