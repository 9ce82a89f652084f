"""Content blocks, in and out, in the API's spelling.

Owns: the block types. A block that Renga knows only as history of another model (server tools, redacted thinking) is
kept as it came, so that a conversation that began elsewhere can go on here.
Must never know: which target can read which block; that is a capability (`models/providers/provider_seam.py`).

Source: messages-api notes, sections 1.6 and 1.7, Appendix B.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType


class CacheControl(Struct, frozen=True, omit_defaults=True):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Base64Source(Struct, frozen=True, tag_field="type", tag="base64"):
    media_type: str
    data: str


class UrlSource(Struct, frozen=True, tag_field="type", tag="url"):
    url: str


class FileSource(Struct, frozen=True, tag_field="type", tag="file"):
    file_id: str


class PlainTextSource(Struct, frozen=True, tag_field="type", tag="text"):
    data: str
    media_type: Literal["text/plain"] = "text/plain"


class ContentSource(Struct, frozen=True, tag_field="type", tag="content"):
    content: str | tuple[msgspec.Raw, ...]


ImageSource: TypeAlias = Base64Source | UrlSource | FileSource
DocumentSource: TypeAlias = Base64Source | UrlSource | FileSource | PlainTextSource | ContentSource


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    text: str
    citations: msgspec.Raw | UnsetType = UNSET
    """A list, as it came. A raw field takes null as it takes anything, and a union with None would refuse the list."""
    cache_control: CacheControl | UnsetType | None = UNSET


class ImageBlock(Struct, frozen=True, tag_field="type", tag="image"):
    source: ImageSource
    cache_control: CacheControl | UnsetType | None = UNSET


class CitationsConfig(Struct, frozen=True):
    enabled: bool = False


class DocumentBlock(Struct, frozen=True, tag_field="type", tag="document"):
    source: DocumentSource
    title: str | None = None
    context: str | None = None
    citations: CitationsConfig | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class SearchResultBlock(Struct, frozen=True, tag_field="type", tag="search_result"):
    source: str
    title: str
    content: tuple[TextBlock, ...]
    citations: CitationsConfig | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class ThinkingBlock(Struct, frozen=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class RedactedThinkingBlock(Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    data: str


class DirectCaller(Struct, frozen=True):
    type: str = "direct"


class ToolUseBlock(Struct, frozen=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw
    """A JSON object, as bytes."""
    caller: DirectCaller | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class ToolReferenceBlock(Struct, frozen=True, tag_field="type", tag="tool_reference"):
    tool_name: str


class BrowserStateBlock(Struct, frozen=True, tag_field="type", tag="browser_state"):
    pass


ToolResultPart: TypeAlias = (
    TextBlock | ImageBlock | SearchResultBlock | DocumentBlock | ToolReferenceBlock | BrowserStateBlock
)


class ToolResultBlock(Struct, frozen=True, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | tuple[ToolResultPart, ...] | None = None
    is_error: bool = False
    cache_control: CacheControl | UnsetType | None = UNSET


class ServerToolUseBlock(Struct, frozen=True, tag_field="type", tag="server_tool_use"):
    id: str
    name: str
    input: msgspec.Raw


class WebSearchToolResultBlock(Struct, frozen=True, tag_field="type", tag="web_search_tool_result"):
    tool_use_id: str
    content: msgspec.Raw


class WebFetchToolResultBlock(Struct, frozen=True, tag_field="type", tag="web_fetch_tool_result"):
    tool_use_id: str
    content: msgspec.Raw


class CodeExecutionToolResultBlock(Struct, frozen=True, tag_field="type", tag="code_execution_tool_result"):
    tool_use_id: str
    content: msgspec.Raw


class BashCodeExecutionToolResultBlock(Struct, frozen=True, tag_field="type", tag="bash_code_execution_tool_result"):
    tool_use_id: str
    content: msgspec.Raw


class TextEditorCodeExecutionToolResultBlock(
    Struct, frozen=True, tag_field="type", tag="text_editor_code_execution_tool_result"
):
    tool_use_id: str
    content: msgspec.Raw


class ToolSearchToolResultBlock(Struct, frozen=True, tag_field="type", tag="tool_search_tool_result"):
    tool_use_id: str
    content: msgspec.Raw


class ContainerUploadBlock(Struct, frozen=True, tag_field="type", tag="container_upload"):
    file_id: str


class McpToolUseBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_use"):
    id: str
    name: str
    input: msgspec.Raw
    server_name: str = ""


class McpToolResultBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_result"):
    tool_use_id: str
    content: msgspec.Raw | UnsetType = UNSET
    is_error: bool = False


class McpToolListingBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_listing"):
    pass


class AdvisorToolResultBlock(Struct, frozen=True, tag_field="type", tag="advisor_tool_result"):
    tool_use_id: str
    content: msgspec.Raw | UnsetType = UNSET


class ToolAdditionBlock(Struct, frozen=True, tag_field="type", tag="tool_addition"):
    pass


class ToolRemovalBlock(Struct, frozen=True, tag_field="type", tag="tool_removal"):
    pass


class CompactionBlock(Struct, frozen=True, tag_field="type", tag="compaction"):
    content: str | None = None


class FallbackBlock(Struct, frozen=True, tag_field="type", tag="fallback"):
    pass


ForeignBlock: TypeAlias = (
    ServerToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | McpToolUseBlock
    | McpToolResultBlock
    | McpToolListingBlock
    | AdvisorToolResultBlock
    | ToolAdditionBlock
    | ToolRemovalBlock
    | ContainerUploadBlock
    | CompactionBlock
    | FallbackBlock
)
"""History that only the target which wrote it can read; others pass over it."""

InputBlock: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ForeignBlock
)

OutputBlock: TypeAlias = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ForeignBlock
