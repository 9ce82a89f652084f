"""What the keywords of JSON schemas say, one schema at a time.

Owns: which keywords are refused or passed over, and reading types, bounds and listed values off a schema.
Must never know: grammars.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

from renga.errors import InvalidRequest

Schema = dict[str, Any]

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
REFUSED = {
    "not": "",
    "if": "write the cases as anyOf",
    "then": "write the cases as anyOf",
    "else": "write the cases as anyOf",
    "patternProperties": "declare the properties",
    "dependentRequired": "write the cases as anyOf",
    "dependentSchemas": "write the cases as anyOf",
    "dependencies": "write the cases as anyOf",
    "contains": "",
    "minContains": "",
    "maxContains": "",
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}
"""Keywords that no context-free grammar of reasonable size holds, and what to write instead."""
ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment"}
    | {"contentEncoding", "contentMediaType", "$id", "$schema", "$defs", "definitions", "$anchor", "$vocabulary"}
)
"""Keywords that say nothing of a value, or only where definitions are."""


def check_schema(schema: Any, path: str) -> None:
    """Refuse what is no JSON schema.

    Raises: InvalidRequest naming the JSON path.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        at = ".".join([path, *map(str, error.absolute_path)])
        raise InvalidRequest(f"not a valid JSON schema: {error.message}", path=at) from None


_KEYWORD_TYPES: dict[str, str] = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "pattern": "string",
    "minLength": "string",
    "maxLength": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}


def guess_types(schema: Schema) -> list[str]:
    """What a schema without `type` is about: the types whose keywords it uses, or all."""
    named = list(dict.fromkeys(kind for keyword, kind in _KEYWORD_TYPES.items() if keyword in schema))
    return named or [name for name in TYPES if name != "integer"]


def without(schema: Schema, keyword: str) -> Schema:
    """What a schema says besides one keyword and annotations."""
    return {key: value for key, value in schema.items() if key != keyword and key not in ANNOTATIONS}


def dump(value: Any) -> str:
    """A value as JSON without spaces, as a grammar writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_bounds(schema: Schema, *, step: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Read the bounds of a number; an exclusive one moves by `step`, the smallest difference that is written."""

    def read(keyword: str) -> Decimal | None:
        value = schema.get(keyword)
        return None if value is None or isinstance(value, bool) else Decimal(str(value))

    def move(bound: Decimal | None, by: Decimal) -> Decimal | None:
        if bound is None:
            return None
        whole = by.copy_abs() == 1 and bound != bound.to_integral_value()
        return bound if whole else bound + by

    lows = [low for low in (read("minimum"), move(read("exclusiveMinimum"), step)) if low is not None]
    highs = [high for high in (read("maximum"), move(read("exclusiveMaximum"), -step)) if high is not None]
    return max(lows, default=None), min(highs, default=None)


def are_disjoint(one: Any, other: Any) -> bool:
    """Whether no value can match both schemas, as far as their types, listed values and tags show."""
    if one is False or other is False or not _types_of(one) & _types_of(other):
        return True
    values, others = _values_of(one), _values_of(other)
    if values is not None and others is not None and not values & others:
        return True
    shared = set(one.get("required", [])) & set(other.get("required", []))
    properties, theirs = one.get("properties", {}), other.get("properties", {})
    return any(
        name in properties and name in theirs and are_disjoint(properties[name], theirs[name]) for name in shared
    )


def _types_of(schema: Schema) -> set[str]:
    declared = schema.get("type", list(TYPES))
    names = {declared} if isinstance(declared, str) else set(cast("list[str]", declared))
    return names | {"integer"} if "number" in names else names


def _values_of(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {dump(schema["const"])}
    return {dump(value) for value in schema["enum"]} if "enum" in schema else None
