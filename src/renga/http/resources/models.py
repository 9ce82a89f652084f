"""`GET /v1/models` and `GET /v1/models/{id}`.

Owns: pages of the catalog, and capabilities as the API's tree. Must never know: how names are resolved.

Source: docs/reference/messages-api.md, "The Models endpoint" and "Retries, timeouts and pages".
"""

from __future__ import annotations

import msgspec

from renga.errors import InvalidRequest, NotFound
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.query import read_all, read_last, read_limit
from renga.http.http_services import HttpServices
from renga.http.resources.pages import cut_page
from renga.models.providers.provider_seam import Capabilities
from renga.protocols.resources.models import (
    CompactionSupport,
    ContextManagementSupport,
    EffortSupport,
    ModelCapabilities,
    ModelInfo,
    ModelPage,
    ServerToolsSupport,
    Standing,
    Support,
    ThinkingSupport,
    ThinkingTypes,
)
from renga.routing.catalog.catalog import CatalogEntry

_LIFECYCLES = ("active", "deprecated", "retired")
_YES, _NO = Support(True), Support(False)


async def list_models(exchange: HttpExchange, parts: HttpServices) -> None:
    """A page of the models that clients may name."""
    query = exchange.query()
    limit = read_limit(query)
    wanted = read_all(query, "lifecycle")
    for lifecycle in wanted:
        if lifecycle not in _LIFECYCLES:
            raise InvalidRequest(f"Must be one of {', '.join(_LIFECYCLES)}.", path="lifecycle")
    entries = [entry for entry in parts.catalog.entries() if not wanted or entry.lifecycle in wanted]
    page = _page(entries, limit, after=read_last(query, "after_id"), before=read_last(query, "before_id"))
    await exchange.respond(200, msgspec.json.encode(page))


async def get_model(exchange: HttpExchange, parts: HttpServices) -> None:
    """One model, by its id or by any name that means it."""
    model = exchange.parameters["model"]
    entry = parts.catalog.find(model)
    if entry is None:
        raise NotFound(f"model: {model[:200]}", hint="GET /v1/models lists what this server answers to")
    await exchange.respond(200, msgspec.json.encode(model_info(entry)))


def model_info(entry: CatalogEntry) -> ModelInfo:
    """A catalog entry as the API shows it."""
    can = entry.capabilities
    return ModelInfo(
        id=entry.id,
        display_name=entry.display_name,
        created_at=entry.created_at,
        lifecycle=entry.lifecycle,
        line=entry.line,
        max_input_tokens=(can.max_input_tokens or None) if can else None,
        max_tokens=(can.max_output_tokens or None) if can else None,
        capabilities=_capability_tree(can) if can else None,
        renga=Standing(tuple(target.name for target in entry.targets), entry.working, entry.detail),
    )


def _page(entries: list[CatalogEntry], limit: int, *, after: str | None, before: str | None) -> ModelPage:
    """The entries after one id, or the last ones before another. An unknown id has nothing on either side."""
    positions = {entry.id: index for index, entry in enumerate(entries)}
    cursors = [cursor for cursor in (after, before) if cursor is not None]
    if len(cursors) > 1 or any(cursor not in positions for cursor in cursors):
        return ModelPage((), False, None, None)
    page = cut_page(
        entries,
        limit,
        after=None if after is None else positions[after],
        before=None if before is None else positions[before],
    )
    data = tuple(model_info(entry) for entry in page.items)
    return ModelPage(data, page.has_more, data[0].id if data else None, data[-1].id if data else None)


def _support(supported: bool) -> Support:
    return _YES if supported else _NO


def _capability_tree(can: Capabilities) -> ModelCapabilities:
    effort = _support(can.effort)
    thinking = _support(can.thinking)
    edits = _support("context_management" in can.fields)
    compaction = _support("compaction" in can.fields)
    code, search = "code_execution" in can.server_tools, "web_search" in can.server_tools
    return ModelCapabilities(
        # Whatever answers requests answers those of batches: they take the same way.
        batch=_YES,
        citations=_support(can.citations),
        code_execution=_support(code),
        compaction=CompactionSupport(compaction.supported, compaction),
        context_management=ContextManagementSupport(edits.supported, edits, edits, edits),
        effort=EffortSupport(can.effort, effort, effort, effort, effort, effort),
        image_input=_support(can.images),
        pdf_input=_support(can.pdfs),
        server_tools=ServerToolsSupport(code or search, _support(code), _support(search)),
        structured_outputs=_support(can.structured_outputs),
        # A model that cannot think still accepts `disabled`: it is what it does anyway.
        thinking=ThinkingSupport(can.thinking, ThinkingTypes(thinking, thinking, _YES, thinking)),
    )
