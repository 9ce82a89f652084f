"""What is wrong with an answer on its face: checks that need no other model and no label.

Owns: the structural checks, as a table in order of cost.
Must never know: confidence, thresholds, prices.
Invariants: a check returns None or the reason why the answer cannot stand; it rejects only what it is sure of, for a
false rejection costs a top-tier call, and a doubt is left to the evidence that follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from msgspec import UNSET, Struct

from renga.protocols.messages.blocks import TextBlock, ToolUseBlock
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.request import MessageRequest, ToolChoiceAny, ToolChoiceNone, ToolChoiceTool
from renga.routing.checks.agreement import parse_json
from renga.routing.checks.language import differs
from renga.routing.triage.features import last_user_text

OPENING_CHARACTERS = 160
"""A refusal is said at once; the same words later in a text are mostly part of it."""
REPEATS_MAX = 8
PHRASE_WORDS = 6

Check: TypeAlias = Callable[[MessageRequest, Message], str | None]

_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:unable|not able) to"
    r"|i (?:can(?:'t|not| not)|won't|will not) (?:help|assist|answer|provide|comply|do)"
    r"|as an ai\b|i don't (?:have (?:access|enough|the ability)|know))",
    re.I,
)
_HANDS_ON = re.compile(
    r"\b(?:needs? a specialist|(?:consult|contact|ask|speak (?:to|with)) (?:a|an|your) "
    r"(?:\w+ )?(?:specialist|professional|expert|lawyer|doctor|support)"
    r"|(?:beyond|outside) (?:my|the) (?:abilit|capabilit|scope|expertise)|escalate (?:this|to))",
    re.I,
)


_ASKS_FOR_TEXT = re.compile(
    r"^\W*(?:please |can you |could you )*(?:explain|describe|compare|outline|discuss|write|compose|draft)\b"
    r"|\b(?:in detail|step by step|an? (?:essay|story|poem|letter|paragraph|article))\b",
    re.I,
)
_ASKS_FOR_LITTLE = re.compile(
    r"\b(?:words?|letters?|labels?|numbers?|one|single|yes or no|short|brief\w*|only|just)\b", re.I
)
_LABEL_WORDS = 2


class StructuralCheck(Struct, frozen=True):
    """One structural check by its name, a row of the table of checks."""

    name: str
    run: Check


def answer_text(message: Message) -> str:
    """The text blocks of an answer, joined."""
    return "\n".join(block.text for block in message.content if isinstance(block, TextBlock))


def find_fault(request: MessageRequest, message: Message) -> str | None:
    """The first check that fails, as `name: detail`; None where all pass."""
    for check in STRUCTURAL_CHECKS:
        fault = check.run(request, message)
        if fault is not None:
            return f"{check.name}: {fault}"
    return None


def fault_code(fault: str) -> str:
    """A fault without what it quotes of the answer, for ledgers and headers: `max_tokens`, `follows_schema`."""
    name, _, detail = fault.partition(": ")
    return detail if name == "finished" else name


def _finished(request: MessageRequest, message: Message) -> str | None:
    if message.stop_reason in ("max_tokens", "model_context_window_exceeded", "refusal"):
        return message.stop_reason
    return None


def _not_empty(request: MessageRequest, message: Message) -> str | None:
    calls_tool = any(isinstance(block, ToolUseBlock) for block in message.content)
    if calls_tool or answer_text(message).strip() or message.stop_reason == "stop_sequence":
        return None
    return "no text and no tool call"


def _tool_calls_resolve(request: MessageRequest, message: Message) -> str | None:
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    choice = request.tool_choice
    if isinstance(choice, ToolChoiceAny | ToolChoiceTool) and not calls:
        return "a tool call was asked for"
    if isinstance(choice, ToolChoiceNone) and calls:
        return "no tool call was allowed"
    tools = {tool.name: tool for tool in request.tools}
    for call in calls:
        tool = tools.get(call.name)
        if tool is None:
            return f"{call.name} is no tool of this request"
        if tool.input_schema is not UNSET:
            fault = _fault_under_schema(bytes(call.input), bytes(tool.input_schema))
            if fault is not None:
                return f"{call.name}: {fault}"
    return None


def _follows_schema(request: MessageRequest, message: Message) -> str | None:
    config = request.output_config
    if config is None or config.format is None or any(isinstance(block, ToolUseBlock) for block in message.content):
        return None
    try:
        value = parse_json(answer_text(message))
    except (ValueError, RecursionError):
        return "not JSON"
    return _fault_under_schema(msgspec.json.encode(value), bytes(config.format.schema))


def _answers(request: MessageRequest, message: Message) -> str | None:
    if any(isinstance(block, ToolUseBlock) for block in message.content):
        return None
    opening = answer_text(message).strip()[:OPENING_CHARACTERS]
    found = _REFUSAL.search(opening) or _HANDS_ON.search(opening)
    return f"says `{found[0]}`" if found else None


def _says_more_than_a_word(request: MessageRequest, message: Message) -> str | None:
    """Somebody who asks for an explanation or a story did not ask for a label.

    With a system prompt, tools or a schema the user's words may be what is to be judged, and one word the whole answer.
    """
    if request.system or request.tools or (request.output_config and request.output_config.format):
        return None
    text = last_user_text(request)
    if not _ASKS_FOR_TEXT.search(text) or _ASKS_FOR_LITTLE.search(text):
        return None
    words = answer_text(message).split()
    return "a word where a text was asked for" if len(words) <= _LABEL_WORDS else None


def _does_not_loop(request: MessageRequest, message: Message) -> str | None:
    """A small model that is lost says the same again and again; REPEATS_MAX times in a row is no style."""
    words = answer_text(message).split()
    run = 0
    for index in range(PHRASE_WORDS, len(words)):
        run = run + 1 if words[index] == words[index - PHRASE_WORDS] else 0
        if run >= PHRASE_WORDS * REPEATS_MAX:
            return "repeats itself"
    return None


def _keeps_language(request: MessageRequest, message: Message) -> str | None:
    return differs(last_user_text(request), answer_text(message))


STRUCTURAL_CHECKS: tuple[StructuralCheck, ...] = (
    StructuralCheck("finished", _finished),
    StructuralCheck("not_empty", _not_empty),
    StructuralCheck("tool_calls_resolve", _tool_calls_resolve),
    StructuralCheck("follows_schema", _follows_schema),
    StructuralCheck("answers", _answers),
    StructuralCheck("says_more_than_a_word", _says_more_than_a_word),
    StructuralCheck("does_not_loop", _does_not_loop),
    StructuralCheck("keeps_language", _keeps_language),
)
"""In order of cost. The first that fails is the reason."""


def _fault_under_schema(value: bytes, schema: bytes) -> str | None:
    """Why a value does not fit a schema; a schema that is itself wrong is no fault of the answer."""
    try:
        validator = Draft202012Validator(msgspec.json.decode(schema))
    except msgspec.DecodeError:
        return None
    try:
        validator.validate(msgspec.json.decode(value))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        return f"{where or 'value'}: {error.validator} is not met"
    except msgspec.DecodeError:
        return "not JSON"
    except SchemaError:
        return None
    return None
