"""What becomes of each field of a request: implemented, ignored, or handed on as a demand.

Owns: the three classes, as tables. Must never know: which target honours a demand (`Capabilities.fields` says it).
Invariant: a field that is in no class is refused; nothing that changes an answer's meaning is dropped in silence.

Source: messages-api notes, sections 1.4 (fields), 2.3 (threads), 4 (mistake 7) and 7 (rule 3).
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.messages.request import MessageRequest

IGNORED = ("billing_policy", "diagnostics", "inference_geo", "speed")
"""Harmless: they choose prices, places or reports, never the answer. `metadata` and `service_tier` are as harmless."""

DEMANDING: dict[str, str] = {
    "compaction": "server-side summaries of the conversation",
    "container": "containers for code execution and skills",
    "context_management": "server-side edits of the conversation",
    "fallback_credit_token": "credits for fallbacks",
    "fallbacks": "fallback models chosen in the request",
    "mcp_servers": "MCP servers called by the server",
    "thread": "message threads",
}
"""Top-level fields that change the answer's meaning and that only some targets honour."""

DEMANDING_PARTS: dict[str, str] = {
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


def unmet_demands(request: MessageRequest, allowed: Container[str]) -> tuple[RequiredFeature, ...]:
    """What the request asks for and a target with these fields does not do."""
    return tuple(_demand(name) for name in request.demands if name not in allowed)


def refuse_demands(request: MessageRequest, allowed: Container[str]) -> None:
    """Refuse a request that no target can honour.

    Raises: InvalidRequest that names the first unmet field.
    """
    if request.demands:
        for demand in unmet_demands(request, allowed):
            raise InvalidRequest(
                f"{demand.name} asks for {demand.meaning}, which the target of this request does not do.",
                path=demand.name,
                hint="leave it out, or name a target that does it",
                error_code=_ERROR_CODES.get(demand.name),
            )


def _demand(name: str) -> RequiredFeature:
    return RequiredFeature(name, DEMANDING.get(name) or DEMANDING_PARTS[name])


def sorted_demands(names: Iterable[str]) -> tuple[str, ...]:
    """Demands in the order in which they are refused: threads first, because SDKs repeat the request without them."""
    return tuple(sorted(set(names), key=lambda name: (name != "thread", name)))
