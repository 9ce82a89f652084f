"""Two JSON schemas as one that accepts what both accept.

Owns: how `allOf` is taken apart.
Must never know: grammars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from renga.errors import InvalidRequest
from renga.models.engine.grammar.schema_keywords import ANNOTATIONS, TYPES, Schema

_TIGHTER: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "minProperties": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
    "maxProperties": min,
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "enum": lambda one, other: [value for value in one if value in other],
    "anyOf": lambda one, other: [{"allOf": [left, right]} for left in one for right in other],
    "allOf": lambda one, other: [*one, *other],
}
"""How two schemas' words on the same keyword become one that says both."""


def intersect(one: Schema, other: Any, path: str) -> Schema:
    """Write the schema that accepts what both accept.

    Raises: InvalidRequest naming the keyword on which they cannot be joined.
    """
    if not isinstance(other, dict):
        raise InvalidRequest("the schema `false` accepts nothing", path=path)
    merged = dict(one)
    for keyword, value in cast("Schema", other).items():
        if keyword in ANNOTATIONS or merged.get(keyword, value) == value:
            merged.setdefault(keyword, value)
        elif keyword == "type":
            merged["type"] = _intersect_types(merged["type"], value, path)
        elif keyword == "properties":
            merged["properties"] = _merge_properties(merged["properties"], value)
        elif keyword in ("items", "additionalProperties"):
            merged[keyword] = {"allOf": [merged[keyword], value]}
        elif keyword in _TIGHTER:
            merged[keyword] = _TIGHTER[keyword](merged[keyword], value)
        else:
            raise InvalidRequest(f"`{keyword}` differs between the parts of allOf", path=f"{path}.{keyword}")
    return merged


def _merge_properties(one: Schema, other: Schema) -> Schema:
    both = {name: {"allOf": [one[name], other[name]]} for name in one if name in other and one[name] != other[name]}
    return {**one, **other, **both}


def _intersect_types(one: str | list[str], other: str | list[str], path: str) -> list[str]:
    """The types that both allow; an integer is a number."""
    lists = [[names] if isinstance(names, str) else names for names in (one, other)]
    common = [
        name for name in TYPES if all(name in names or (name == "integer" and "number" in names) for names in lists)
    ]
    if "number" in common:
        common.remove("integer")
    if not common:
        raise InvalidRequest("the parts of allOf have no type in common", path=f"{path}.type")
    return common
