"""JSON schemas and answer rules to grammars that the engine can hold a model to.

Owns: the EBNF written for a schema, and for a whole answer with thinking and tool calls.
Must never know: token ids, the engine process, Anthropic's wire types.
Invariants: every string of a schema's grammar is compact JSON that the schema accepts; a keyword that cannot be held
is refused by its path, never dropped.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from renga.engine.families import Family


class ToolRule(msgspec.Struct, frozen=True):
    """A tool as the grammar knows it."""

    name: str
    schema: dict[str, Any]
    """Its arguments."""
    strict: bool = False
    """Whether its arguments are held to the schema when the model calls it of its own accord."""
    path: str = "tools"
    """Where it stands in the request, for errors."""


class AnswerRules(msgspec.Struct, frozen=True):
    """What an answer may look like."""

    family: Family
    tools: tuple[ToolRule, ...] = ()
    tool_choice: Literal["auto", "any", "none"] = "auto"
    """`any`: the answer is tool calls and nothing else. To force one tool, give only that one."""
    parallel: bool = True
    """Whether there may be more than one tool call."""
    schema: dict[str, Any] | None = None
    """The text must be JSON of this schema."""
    schema_path: str = "output_config.format.schema"
    thinking_open: bool = False
    """The prompt opened a thinking block: the answer first closes it."""


def build_schema_grammar(schema: dict[str, Any] | bool, *, path: str = "schema") -> str:
    """Write the grammar of compact JSON that a schema accepts; the root rule is `root`.

    Raises: InvalidRequest naming the JSON path of what is wrong or cannot be held.
    """
    raise NotImplementedError


def build_answer_grammar(rules: AnswerRules) -> str | None:
    """Write the grammar of a whole answer, or None if the answer is free.

    Raises: InvalidRequest naming the JSON path of what is wrong or cannot be held.
    """
    raise NotImplementedError
