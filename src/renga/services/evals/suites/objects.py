"""Suites that answer with an object: SNIPS slots, invented schemas, invented tools."""

import functools
import json
from collections import defaultdict
from random import Random
from typing import Any

from renga.services.evals.baselines import nearest_object_baseline, tool_overlap_baseline
from renga.services.evals.cases import EvalAnswer, EvalCase, EvalSuite
from renga.services.evals.public_sets import plain_text, read_lines
from renga.services.evals.suites.invented import InventedTool, draw_call, draw_record
from renga.services.evals.suites.invented_vocabulary import HELD_OUT

EXTRACTION = (
    "Extract the fields from the message as compact JSON. Leave out fields that are not mentioned.\nFields: {fields}"
)


def parse_object(text: str) -> dict[str, Any] | None:
    """The object that an answer is, or None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]


def is_object(case: EvalCase, answer: EvalAnswer) -> float:
    """Whether the answer is exactly the object."""
    return float(parse_object(answer.text) == case.expected)


def is_valid(case: EvalCase, answer: EvalAnswer) -> bool:
    """Whether the answer is JSON of the schema: known keys, right types."""
    value = parse_object(answer.text)
    properties: dict[str, dict[str, str]] = (case.schema or {}).get("properties", {})
    kinds: dict[str, type] = {"string": str, "integer": int, "boolean": bool}
    return value is not None and all(
        key in properties and isinstance(item, kinds[properties[key]["type"]]) for key, item in value.items()
    )


def is_call(case: EvalCase, answer: EvalAnswer) -> float:
    """Score 1 when the answer calls the right tool with the right arguments."""
    tool, arguments = case.expected
    return float(answer.tool == tool and dict(answer.arguments) == arguments)


def _object_case(text: str, fields: dict[str, dict[str, str]], expected: dict[str, Any], *, group: str) -> EvalCase:
    schema: dict[str, Any] = {"type": "object", "properties": fields, "required": [], "additionalProperties": False}
    system = EXTRACTION.format(fields=", ".join(fields))
    return EvalCase((("user", text),), expected, system=system, schema=schema, max_tokens=160, group=group)


@functools.cache
def snips_rows(part: str) -> list[tuple[str, str, dict[str, str]]]:
    """(text, intent, slots) of SNIPS; a row that repeats a slot is left out."""
    rows: list[tuple[str, str, dict[str, str]]] = []
    for row in read_lines(f"corpus/snips_{part}-01.jsonl.gz"):
        output = json.loads(row["output"])
        pairs = [pair for slot in output["slots"] for pair in slot.items()]
        if len({key for key, _ in pairs}) == len(pairs):
            rows.append((row["input"].strip(), output["intent"], dict(pairs)))
    return rows


def draw_snips(random: Random, most: int) -> list[EvalCase]:
    """SNIPS' validation part; the schema has every slot that the intent has in the training part."""
    slots: dict[str, dict[str, None]] = defaultdict(dict)
    for _, intent, found in snips_rows("train"):
        slots[intent].update(dict.fromkeys(found))
    known = {plain_text(text) for text, _, _ in snips_rows("train")}
    rows = [row for row in snips_rows("validate") if plain_text(row[0]) not in known]
    cases: list[EvalCase] = []
    for text, intent, found in random.sample(rows, min(most, len(rows))):
        fields = {name: {"type": "string"} for name in sorted(slots[intent])}
        cases.append(_object_case(text, fields, found, group=intent))
    return cases


def draw_records(random: Random, most: int) -> list[EvalCase]:
    """Invented schemas of the held-out vocabulary."""
    cases: list[EvalCase] = []
    for _ in range(most):
        record = draw_record(random, HELD_OUT, count=random.choice((2, 3, 4, 5)))
        fields = {part.name: {"type": "integer" if part.kind == "count" else "string"} for part in record.fields}
        cases.append(_object_case(record.text, fields, record.value, group=f"{len(fields)} fields"))
    return cases


def describe_tool(tool: InventedTool) -> dict[str, Any]:
    """Describe an invented tool in the form of the Messages API."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.schema()}


def draw_tools(random: Random, most: int) -> list[EvalCase]:
    """Invented tools of the held-out vocabulary, 2 to 5 in the prompt."""
    cases: list[EvalCase] = []
    for _ in range(most):
        count = random.choice((2, 3, 4, 5))
        call = draw_call(random, HELD_OUT, tool_count=count)
        tools = tuple(describe_tool(tool) for tool in call.tools)
        expected = (call.name, call.arguments)
        cases.append(EvalCase((("user", call.message),), expected, tools=tools, max_tokens=200, group=f"{count} tools"))
    return cases


SUITES = (
    EvalSuite(
        "snips slots",
        "exact match",
        0.80,
        draw_snips,
        is_object,
        lambda cases: nearest_object_baseline(cases, [(text, found) for text, _, found in snips_rows("train")]),
    ),
    EvalSuite("invented schemas", "exact match", 0.70, draw_records, is_object),
    EvalSuite("invented tools", "exact match", 0.70, draw_tools, is_call, tool_overlap_baseline),
)
