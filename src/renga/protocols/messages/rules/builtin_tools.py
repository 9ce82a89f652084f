"""Built-in tools that the client runs itself: they come without a schema, so a model that was not trained on them
needs one.

Owns: the table from a tool's type to the name, description and schema that such a model is told.
Must never know: which target asks. Toolsets of many members (browser, computer) and tools that a server runs are not
here: a target that cannot do those refuses them by name.
Invariant: a call that fits the schema is one that the SDKs' own tool runners accept.

Source: docs/reference/messages-api.md, "Tools"; input types of the SDK's memory tool; public documentation of the bash
and text editor tools. The descriptions are ours.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from renga.protocols.messages.request import Tool

Schema: TypeAlias = dict[str, Any]


class ToolDefinition(Struct, frozen=True):
    """A tool as a model is told of it."""

    name: str
    description: str
    input_schema: Schema


_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_RANGE: Schema = {"type": "array", "items": _INTEGER, "minItems": 2, "maxItems": 2}


def _commands(names: tuple[str, ...], properties: dict[str, Schema]) -> Schema:
    """One flat object for all commands: small models and grammars handle it better than a union of objects."""
    return {
        "type": "object",
        "properties": {"command": {"type": "string", "enum": list(names)}, **properties},
        "required": ["command"],
        "additionalProperties": False,
    }


def _editor(name: str, *, insert_key: str, can_undo: bool) -> ToolDefinition:
    undo = ("undo_edit",) if can_undo else ()
    schema = _commands(
        ("view", "create", "str_replace", "insert", *undo),
        {
            "path": {**_STRING, "description": "Path of the file or folder."},
            "view_range": {**_RANGE, "description": "For view: first and last line, from 1; -1 is the end."},
            "file_text": {**_STRING, "description": "For create: the file's whole content."},
            "old_str": {**_STRING, "description": "For str_replace: text that occurs exactly once."},
            "new_str": {**_STRING, "description": "For str_replace: what replaces it."},
            "insert_line": {**_INTEGER, "description": "For insert: the line after which to insert; 0 is the start."},
            insert_key: {**_STRING, "description": "The new text, for insert or str_replace."},
        },
    )
    schema["required"] = ["command", "path"]
    return ToolDefinition(name, "View and edit text files on the user's machine, one command a call.", schema)


_BASH = ToolDefinition(
    "bash",
    "Run a command in a bash session that lives on between calls. Set restart to begin a new session.",
    {
        "type": "object",
        "properties": {
            "command": {**_STRING, "description": "The command to run."},
            "restart": {"type": "boolean", "description": "True to restart the session instead."},
        },
        "additionalProperties": False,
    },
)

_MEMORY = ToolDefinition(
    "memory",
    "Keep notes in files under /memories that outlive this conversation. Look there before you start.",
    _commands(
        ("view", "create", "str_replace", "insert", "delete", "rename"),
        {
            "path": {**_STRING, "description": "Path under /memories; for all commands but rename."},
            "view_range": {**_RANGE, "description": "For view: first and last line, from 1."},
            "file_text": {**_STRING, "description": "For create: the file's whole content."},
            "old_str": {**_STRING, "description": "For str_replace: text that occurs exactly once."},
            "new_str": {**_STRING, "description": "For str_replace: what replaces it."},
            "insert_line": {**_INTEGER, "description": "For insert: the line at which to insert."},
            "insert_text": {**_STRING, "description": "For insert: the new text."},
            "old_path": {**_STRING, "description": "For rename: the path now."},
            "new_path": {**_STRING, "description": "For rename: the path to be."},
        },
    ),
)

BUILTIN_TOOLS: dict[str, ToolDefinition] = {
    "bash_20250124": _BASH,
    "text_editor_20250124": _editor("str_replace_editor", insert_key="new_str", can_undo=True),
    "text_editor_20250429": _editor("str_replace_based_edit_tool", insert_key="new_str", can_undo=False),
    "text_editor_20250728": _editor("str_replace_based_edit_tool", insert_key="insert_text", can_undo=False),
    "memory_20250818": _MEMORY,
}


def builtin_definition(tool: Tool) -> ToolDefinition | None:
    """What a model is told of a built-in tool that its client runs; None where the tool is none of these."""
    definition = BUILTIN_TOOLS.get(tool.type or "")
    if definition is None or isinstance(tool.name, UnsetType):
        return definition
    return replace(definition, name=tool.name)
