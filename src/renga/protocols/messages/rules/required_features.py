"""What becomes of each field of a request: implemented, ignored, or handed on as a required feature.

Owns: the three classes, as tables. Must never know: which target has a feature (`Capabilities.fields` says it).
Invariant: a field that is in no class is refused; nothing that changes an answer's meaning is dropped in silence.

Source: docs/reference/messages-api.md, "Request fields", "Message threads", "Mistakes of other servers" (7) and
"What this server does".
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.messages.request import MessageRequest

IGNORED = ("billing_policy", "diagnostics", "inference_geo", "speed")
"""Harmless: they choose prices, places or reports, never the answer. `metadata` and `service_tier` are as harmless."""

FEATURE_FIELDS: dict[str, str] = {
    "compaction": "server-side summaries of the conversation",
    "container": "containers for code execution and skills",
    "context_management": "server-side edits of the conversation",
    "fallback_credit_token": "credits for fallbacks",
    "fallbacks": "fallback models chosen in the request",
    "mcp_servers": "MCP servers called by the server",
    "thread": "message threads",
}
"""Top-level fields that change the answer's meaning and that only some targets honour."""

NESTED_FEATURES: dict[str, str] = {
    "container_upload": "files in a container",
    "messages.clear_at": "system messages that expire",
    "messages.compaction": "conversations that begin with a summary",
    "messages.output_config": "settings that change mid-conversation",
    "messages.tool_addition": "tools added mid-conversation",
    "messages.tool_removal": "tools removed mid-conversation",
    "output_config.task_budget": "task budgets",
    "thinking.block_binding": "binding of thinking blocks",
    "thinking.display": "thinking shown as updates",
    "tools.allowed_callers": "tools called by code",
    "tools.defer_loading": "tools loaded on demand",
}
"""Fields and blocks further inside a request, for which the same holds."""

_ERROR_CODES = {"thread": "thread_unsupported_request"}
"""SDKs fall back to sending the whole conversation when they see this code."""


class RequiredFeature(Struct, frozen=True):
    """One thing that a request asks for beyond what every target does."""

    name: str
    meaning: str


def unmet_features(request: MessageRequest, allowed: Container[str]) -> tuple[RequiredFeature, ...]:
    """What the request asks for and a target with these fields does not do."""
    return tuple(_feature(name) for name in request.required_features if name not in allowed)


def refuse_unmet_features(request: MessageRequest, allowed: Container[str]) -> None:
    """Refuse a request that no target can honour.

    Raises: InvalidRequest that names the first unmet field.
    """
    if request.required_features:
        for feature in unmet_features(request, allowed):
            raise InvalidRequest(
                f"{feature.name} asks for {feature.meaning}, which the target of this request does not do.",
                path=feature.name,
                hint="leave it out, or name a target that does it",
                error_code=_ERROR_CODES.get(feature.name),
            )


def _feature(name: str) -> RequiredFeature:
    return RequiredFeature(name, FEATURE_FIELDS.get(name) or NESTED_FEATURES[name])


def sort_features(names: Iterable[str]) -> tuple[str, ...]:
    """Features in the order in which they are refused: threads first, because SDKs repeat the request without them."""
    return tuple(sorted(set(names), key=lambda name: (name != "thread", name)))
