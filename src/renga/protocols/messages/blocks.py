"""Content blocks, in and out, in the API's spelling.

Owns: the block types. A block that Renga knows only as history of another model (server tools, redacted thinking) is
kept as it came, so that a conversation that began elsewhere can go on here.
Must never know: which target can read which block; that is a capability (`models/providers/provider_seam.py`).

Source: docs/reference/messages-api.md, "Content blocks in a request" and "Content blocks in an answer".
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType


class CacheControl(Struct, frozen=True, omit_defaults=True):
    """Asks that the prompt be cached up to the end of this block."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Base64Source(Struct, frozen=True, tag_field="type", tag="base64"):
    """An image or a document whose bytes stand in the request."""

    media_type: str
    data: str


class UrlSource(Struct, frozen=True, tag_field="type", tag="url"):
    """An image or a document that is fetched from an address."""

    url: str


class FileSource(Struct, frozen=True, tag_field="type", tag="file"):
    """An image or a document that was uploaded before."""

    file_id: str


class PlainTextSource(Struct, frozen=True, tag_field="type", tag="text"):
    """A document that is plain text in the request."""

    data: str
    media_type: Literal["text/plain"] = "text/plain"


class ContentSource(Struct, frozen=True, tag_field="type", tag="content"):
    """A document that is made of text and of other blocks."""

    content: str | tuple[msgspec.Raw, ...]


ImageSource: TypeAlias = Base64Source | UrlSource | FileSource
DocumentSource: TypeAlias = Base64Source | UrlSource | FileSource | PlainTextSource | ContentSource


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of text in a turn or in an answer."""

    text: str
    citations: msgspec.Raw | UnsetType = UNSET
    """A list, as it came. A raw field takes null as it takes anything, and a union with None would refuse the list."""
    cache_control: CacheControl | UnsetType | None = UNSET


class ImageBlock(Struct, frozen=True, tag_field="type", tag="image"):
    """An image that the model is to look at."""

    source: ImageSource
    cache_control: CacheControl | UnsetType | None = UNSET


class CitationsConfig(Struct, frozen=True):
    """Whether an answer is to cite the document it stands at."""

    enabled: bool = False


class DocumentBlock(Struct, frozen=True, tag_field="type", tag="document"):
    """A document that the model is to read."""

    source: DocumentSource
    title: str | None = None
    context: str | None = None
    citations: CitationsConfig | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class SearchResultBlock(Struct, frozen=True, tag_field="type", tag="search_result"):
    """A result of the client's own search, which an answer may cite."""

    source: str
    title: str
    content: tuple[TextBlock, ...]
    citations: CitationsConfig | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class ThinkingBlock(Struct, frozen=True, tag_field="type", tag="thinking"):
    """What a model thought before it answered, signed by whoever made it."""

    thinking: str
    signature: str


class RedactedThinkingBlock(Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """Thinking that its provider encrypted, kept for the turns that follow."""

    data: str


class DirectCaller(Struct, frozen=True):
    """Says that the model called a tool itself, and not through code."""

    type: str = "direct"


class ToolUseBlock(Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A model's call of one of the client's tools."""

    id: str
    name: str
    input: msgspec.Raw
    """A JSON object, as bytes."""
    caller: DirectCaller | UnsetType | None = UNSET
    cache_control: CacheControl | UnsetType | None = UNSET


class ToolReferenceBlock(Struct, frozen=True, tag_field="type", tag="tool_reference"):
    """The name of a tool that a search for tools has found."""

    tool_name: str


class BrowserStateBlock(Struct, frozen=True, tag_field="type", tag="browser_state"):
    """The state of a browser in a tool's result, which no target here reads."""


ToolResultPart: TypeAlias = (
    TextBlock | ImageBlock | SearchResultBlock | DocumentBlock | ToolReferenceBlock | BrowserStateBlock
)


class ToolResultBlock(Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What a client's tool gave back for one call."""

    tool_use_id: str
    content: str | tuple[ToolResultPart, ...] | None = None
    is_error: bool = False
    cache_control: CacheControl | UnsetType | None = UNSET


class ServerToolUseBlock(Struct, frozen=True, tag_field="type", tag="server_tool_use"):
    """A call of a tool that the provider ran itself."""

    id: str
    name: str
    input: msgspec.Raw


class WebSearchToolResultBlock(Struct, frozen=True, tag_field="type", tag="web_search_tool_result"):
    """What a web search of the provider's gave back."""

    tool_use_id: str
    content: msgspec.Raw


class WebFetchToolResultBlock(Struct, frozen=True, tag_field="type", tag="web_fetch_tool_result"):
    """What a page that the provider fetched gave back."""

    tool_use_id: str
    content: msgspec.Raw


class CodeExecutionToolResultBlock(Struct, frozen=True, tag_field="type", tag="code_execution_tool_result"):
    """What code that the provider ran gave back."""

    tool_use_id: str
    content: msgspec.Raw


class BashCodeExecutionToolResultBlock(Struct, frozen=True, tag_field="type", tag="bash_code_execution_tool_result"):
    """What a shell command that the provider ran gave back."""

    tool_use_id: str
    content: msgspec.Raw


class TextEditorCodeExecutionToolResultBlock(
    Struct, frozen=True, tag_field="type", tag="text_editor_code_execution_tool_result"
):
    """What a change of a file in the provider's container gave back."""

    tool_use_id: str
    content: msgspec.Raw


class ToolSearchToolResultBlock(Struct, frozen=True, tag_field="type", tag="tool_search_tool_result"):
    """What the provider's search among the client's tools gave back."""

    tool_use_id: str
    content: msgspec.Raw


class ContainerUploadBlock(Struct, frozen=True, tag_field="type", tag="container_upload"):
    """A file that the provider puts into its container."""

    file_id: str


class McpToolUseBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_use"):
    """A call of a tool on an MCP server that the provider made."""

    id: str
    name: str
    input: msgspec.Raw
    server_name: str = ""


class McpToolResultBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_result"):
    """What a tool on an MCP server gave back to the provider."""

    tool_use_id: str
    content: msgspec.Raw | UnsetType = UNSET
    is_error: bool = False


class McpToolListingBlock(Struct, frozen=True, tag_field="type", tag="mcp_tool_listing"):
    """The tools that an MCP server offered to the provider."""


class AdvisorToolResultBlock(Struct, frozen=True, tag_field="type", tag="advisor_tool_result"):
    """What another model said when the provider asked it for advice."""

    tool_use_id: str
    content: msgspec.Raw | UnsetType = UNSET


class ToolAdditionBlock(Struct, frozen=True, tag_field="type", tag="tool_addition"):
    """Adds tools in the middle of a conversation."""


class ToolRemovalBlock(Struct, frozen=True, tag_field="type", tag="tool_removal"):
    """Takes tools away in the middle of a conversation."""


class CompactionBlock(Struct, frozen=True, tag_field="type", tag="compaction"):
    """A summary that stands for the turns that came before it."""

    content: str | None = None


class FallbackBlock(Struct, frozen=True, tag_field="type", tag="fallback"):
    """Marks where another model took over in the middle of an answer."""


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
