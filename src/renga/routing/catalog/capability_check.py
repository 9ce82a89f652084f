"""Whether a target can serve a request, asked before it is tried.

Owns: what in a request needs which capability.
Must never know: prices, health, how a provider does its work.
Invariant: a request that changes meaning on a target is refused there by name, never served half.
"""

from __future__ import annotations

from collections.abc import Iterator

from renga.errors import InvalidRequest
from renga.models.providers.provider_seam import Capabilities
from renga.protocols.messages import blocks
from renga.protocols.messages.request import MessageRequest
from renga.protocols.messages.rules.builtin_tools import builtin_definition
from renga.protocols.messages.rules.required_features import refuse_unmet_features


def refuse(request: MessageRequest, capabilities: Capabilities) -> None:
    """Say why a target with these capabilities cannot serve a request.

    Raises: InvalidRequest naming the field, where there is something it cannot do.
    """
    refuse_unmet_features(request, capabilities.fields)
    for path, block in _blocks(request):
        match block:
            case blocks.ImageBlock() if not capabilities.images:
                raise InvalidRequest("no target for this model reads images", path=path)
            case blocks.DocumentBlock():
                _refuse_document(block, path, capabilities)
            case blocks.SearchResultBlock(citations=blocks.CitationsConfig(enabled=True)):
                _refuse_citations(path, capabilities)
            case _:
                pass
    _refuse_tools(request, capabilities)


def _refuse_document(block: blocks.DocumentBlock, path: str, capabilities: Capabilities) -> None:
    if isinstance(block.source, blocks.Base64Source | blocks.UrlSource) and not capabilities.pdfs:
        raise InvalidRequest(
            "no target for this model reads PDFs", path=f"{path}.source", hint="send the text as a `text` source"
        )
    if isinstance(block.source, blocks.FileSource) and not capabilities.files:
        raise InvalidRequest("files are not available here", path=f"{path}.source", hint="send the text itself")
    if isinstance(block.citations, blocks.CitationsConfig) and block.citations.enabled:
        _refuse_citations(path, capabilities)


def _refuse_citations(path: str, capabilities: Capabilities) -> None:
    if not capabilities.citations:
        raise InvalidRequest("no target for this model cites its sources", path=f"{path}.citations")


def _refuse_tools(request: MessageRequest, capabilities: Capabilities) -> None:
    if request.tools and not capabilities.tools:
        raise InvalidRequest("no target for this model calls tools", path="tools")
    for index, tool in enumerate(request.tools):
        if tool.type in (None, "custom") or builtin_definition(tool) is not None:
            continue
        family = tool.type.rpartition("_")[0]
        if family not in capabilities.server_tools:
            raise InvalidRequest(f"no target for this model offers `{tool.type}`", path=f"tools.{index}.type")


def _blocks(request: MessageRequest) -> Iterator[tuple[str, blocks.InputBlock | blocks.ToolResultPart]]:
    """Every content block, with its path; the parts of tool results too."""
    for turn_index, turn in enumerate(request.messages):
        if isinstance(turn.content, str):
            continue
        for index, block in enumerate(turn.content):
            path = f"messages.{turn_index}.content.{index}"
            yield path, block
            if isinstance(block, blocks.ToolResultBlock) and isinstance(block.content, tuple):
                for part_index, part in enumerate(block.content):
                    yield f"{path}.content.{part_index}", part
