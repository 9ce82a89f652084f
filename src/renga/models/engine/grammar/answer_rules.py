"""JSON schemas and answer rules to grammars that the engine can hold a model to.

Owns: the EBNF written for a schema, and for a whole answer with thinking and tool calls.
Must never know: token ids, the engine process, Anthropic's wire types.
Invariants: every string of a schema's grammar is compact JSON that the schema accepts; a keyword that cannot be held
is refused by its path, never dropped.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Literal

import msgspec

from renga.errors import InvalidRequest
from renga.models.engine.grammar.ebnf import GrammarRules, TaggedRule, invert_ranges, quote, write_set, write_text_until
from renga.models.engine.grammar.json_schema import SchemaWriter
from renga.models.engine.text.families import Family

TOOL_STRING_CHARS = 32767
"""Longest string in a tool's arguments where its schema names no length: tools write files."""
PARALLEL_CALLS = 16
"""At most so many calls in one answer."""


class ToolRule(msgspec.Struct, frozen=True):
    """A tool as the grammar knows it."""

    name: str
    schema: dict[str, Any]
    """Its arguments."""
    strict: bool = False
    """Whether its arguments are held to the schema when the model calls it of its own accord."""
    path: str = ""
    """Where the schema stands in the request, for errors; empty means `tools.N.input_schema`."""


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
    thinking: bool = False
    """The model may open a thinking block itself."""


def build_answer_grammar(answer: AnswerRules) -> str | None:
    """Write the grammar of a whole answer, or None if the answer is free.

    Raises: InvalidRequest naming the JSON path of what is wrong or cannot be held.
    Cost:   3 ms for a schema of ten properties, most of it checking the schema; 20 us when it was written before.
    """
    return _build(msgspec.json.encode(answer))


@lru_cache(maxsize=256)
def _build(encoded: bytes) -> str | None:
    """Write a grammar once: an application asks with the same tools and schema again and again."""
    answer = msgspec.json.decode(encoded, type=AnswerRules)
    rules = GrammarRules()
    core = _write_core(rules, answer)
    return None if core is None else rules.text(_write_thinking(rules, answer, core))


def _write_core(rules: GrammarRules, answer: AnswerRules) -> str | None:
    """Write what follows thinking, if it is not free."""
    offers_tools = answer.tools and answer.tool_choice != "none"
    if offers_tools and not answer.family.call_begin:
        raise InvalidRequest("this model was not made for tools", path="tools")
    if offers_tools and answer.tool_choice == "any":
        return _write_calls(rules, answer)
    is_bound = offers_tools and (not answer.parallel or any(tool.strict for tool in answer.tools))
    if answer.schema is not None:
        text = SchemaWriter(rules).write(answer.schema, answer.schema_path)
        return f"({text} | {_write_calls(rules, answer)})" if offers_tools else text
    return _write_mixed(rules, answer) if is_bound else None


def _write_call(rules: GrammarRules, answer: AnswerRules) -> str:
    """Write one tool call, to any of the tools."""
    family = answer.family
    is_held = answer.tool_choice == "any"
    writer = SchemaWriter(rules, string_chars=TOOL_STRING_CHARS)
    calls: list[str] = []
    for index, tool in enumerate(answer.tools):
        schema = tool.schema if tool.strict or is_held else {"type": "object"}
        arguments = writer.write({"type": "object", **schema}, tool.path or f"tools.{index}.input_schema")
        name = json.dumps(tool.name, ensure_ascii=False)[1:-1]
        head = quote(f"{family.call_begin}{name}{family.call_middle}")
        calls.append(f"{head} {arguments} {quote(family.call_end)}")
    return rules.add("call", " | ".join(calls))


def _write_calls(rules: GrammarRules, answer: AnswerRules) -> str:
    """Write one tool call, or several where they may stand side by side."""
    call = _write_call(rules, answer)
    if not answer.parallel or answer.family.call_separator is None:
        return call
    more = rules.add("calls", f"{quote(answer.family.call_separator)} {call}")
    return f"({call} {more}{{0,{PARALLEL_CALLS - 1}}})"


def _write_mixed(rules: GrammarRules, answer: AnswerRules) -> str:
    """Write text in which a tool call, wherever it begins, goes on as its tool's schema says."""
    family = answer.family
    call = _write_call(rules, answer)
    if not family.tool_open or not family.call_begin.startswith(family.tool_open):  # calls without a tag
        start = write_set(invert_ranges([(ord(family.call_begin[0]), ord(family.call_begin[0]))]))
        anything = rules.add("anything", write_set(invert_ranges([])))
        return f"({call} | ({start} {anything}*)?)"
    rest = rules.add("rest", _cut_head(call_rule=rules.body(call), tag=family.tool_open))
    after = rules.reserve("after")
    text = write_text_until(rules, TaggedRule(family.tool_open, f"{rest} {after}", may_end=True))
    rules.define(after, text if answer.parallel else '""')
    return text


def _cut_head(call_rule: str, tag: str) -> str:
    """Take the tag, which the text before has read, off the calls."""
    return call_rule.replace(quote(tag)[:-1], '"')


def _write_thinking(rules: GrammarRules, answer: AnswerRules, core: str) -> str:
    """Put the thinking before the rest of the answer: open already, or open to come."""
    family = answer.family
    if not family.think_close or not (answer.thinking_open or answer.thinking):
        return core
    gap = rules.add("gap", '"\\n"{0,2}') if family.loose_newlines else ""
    body = write_text_until(rules, TaggedRule(family.think_close, f"{gap} {core}".strip(), may_end=False))
    if answer.thinking_open:
        return body
    return f"({quote(family.think_open)} {body} | {core})"
