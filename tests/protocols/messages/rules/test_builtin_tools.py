"""The schemas of built-in tools, against the types that the SDK's own runners accept."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import BetaMemoryTool20250818Command
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from renga.protocols.messages.request import Tool
from renga.protocols.messages.rules.builtin_tools import BUILTIN_TOOLS, builtin_definition


@pytest.mark.parametrize("kind", sorted(BUILTIN_TOOLS))
def test_a_schema_is_one(kind: str):
    schema = BUILTIN_TOOLS[kind].input_schema
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert set(schema.get("required", ())) <= set(schema["properties"])


MEMORY_CALLS: list[dict[str, Any]] = [
    {"command": "view", "path": "/memories"},
    {"command": "create", "path": "/memories/a", "file_text": "x"},
    {"command": "str_replace", "path": "/memories/a", "old_str": "x", "new_str": "y"},
    {"command": "insert", "path": "/memories/a", "insert_line": 0, "insert_text": "z"},
    {"command": "delete", "path": "/memories/a"},
    {"command": "rename", "old_path": "/memories/a", "new_path": "/memories/b"},
]


@pytest.mark.parametrize("call", MEMORY_CALLS, ids=lambda call: call["command"])
def test_what_the_memory_tool_of_the_sdk_accepts_fits_the_schema(call: dict[str, Any]):
    TypeAdapter(BetaMemoryTool20250818Command).validate_python(call)
    schema = BUILTIN_TOOLS["memory_20250818"].input_schema
    Draft202012Validator(schema).validate(call)
    assert call["command"] in schema["properties"]["command"]["enum"]


def test_the_clients_own_name_is_kept():
    definition = builtin_definition(Tool(type="bash_20250124", name="shell"))
    assert definition is not None
    assert definition.name == "shell"
    assert builtin_definition(Tool(type="web_search_20250305", name="web_search")) is None
    assert builtin_definition(Tool(name="mine")) is None
