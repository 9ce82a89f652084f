"""JSON schemas as grammars of compact JSON.

Owns: which keywords can be held and how; what a schema without bounds is bounded by.
Must never know: tools, answers, models.
Invariants: every string of the grammar is JSON without spaces that the schema accepts. It may allow less than the
schema: objects have their declared properties, in their order, and no others. A keyword that cannot be held is refused
by its path, never dropped; annotations and keywords that no standard knows say nothing and are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from renga.errors import InvalidRequest
from renga.models.engine.grammar.ebnf import GrammarRules, invert_ranges, quote, repeat, write_json_chars
from renga.models.engine.grammar.number_ranges import write_decimal, write_integer
from renga.models.engine.grammar.regex_patterns import FORMATS, Unwritable, write_pattern
from renga.models.engine.grammar.schema_intersection import intersect
from renga.models.engine.grammar.schema_keywords import (
    ANNOTATIONS,
    REFUSED,
    TYPES,
    Schema,
    are_disjoint,
    check_schema,
    dump,
    guess_types,
    read_bounds,
    without,
)

STRING_CHARS = 4095
"""Longest string where the schema names no length: a weak model must come to an end."""
ARRAY_ITEMS = 1023
"""Longest array where the schema names no length."""
ANY_DEPTH = 4
"""How deep a value without a schema may nest."""
_REFERENCES = 32
"""At most so many references in a row."""
_MULTIPLES = 1000
"""At most so many values are written out for `multipleOf`."""


class SchemaWriter:
    """Writes the rules of one grammar; several schemas may share it."""

    def __init__(self, rules: GrammarRules, *, string_chars: int = STRING_CHARS) -> None:
        self.rules = rules
        self._string_chars = string_chars

    def write(self, schema: Any, path: str) -> str:
        """Write the rule of a schema and give its name.

        Raises: InvalidRequest naming the JSON path of what is wrong or cannot be held.
        """
        check_schema(schema, path)
        try:
            return _Document(self.rules, schema, self._string_chars).write(schema, path)
        except RecursionError:
            raise InvalidRequest("the schema never comes to an end", path=path) from None


class _Document:
    """One schema with its definitions, on its way into rules."""

    def __init__(self, rules: GrammarRules, root: Any, string_chars: int) -> None:
        self._rules = rules
        self._root = root
        self._string_chars = string_chars
        self._referenced: dict[str, str] = {}
        self._open: set[str] = set()
        """References on the way to the value that is being written: one that comes again would never end."""

    def write(self, schema: Any, path: str) -> str:
        """Write a schema; give a symbol or a bracketed expression."""
        if schema is True or schema == {}:
            return self._any(ANY_DEPTH)
        if schema is False:
            raise InvalidRequest("the schema `false` accepts nothing", path=path)
        for keyword, instead in REFUSED.items():
            if keyword in schema:
                raise InvalidRequest(f"`{keyword}` cannot be held", path=f"{path}.{keyword}", hint=instead or None)
        for keyword, write in _COMBINERS.items():
            if keyword in schema:
                return write(self, schema, path)
        return self._write_types(schema, path)

    # How schemas combine

    def _write_reference(self, schema: Schema, path: str) -> str:
        """One rule for each target, so that a schema may contain itself."""
        target: str = schema["$ref"]
        if siblings := without(schema, "$ref"):
            return self.write({"allOf": [{"$ref": target}], **siblings}, path)
        if target in self._open:
            raise InvalidRequest("the reference leads back to itself", path=f"{path}.$ref")
        if target not in self._referenced:
            name = self._referenced[target] = self._rules.reserve("ref")
            self._open.add(target)
            self._rules.define(name, self.write(self._find(target, path), target))
            self._open.discard(target)
        return self._referenced[target]

    def _write_inside(self, schema: Any, path: str) -> str:
        """Write a schema of a part of the value; a reference that comes again there is recursion, which is fine."""
        outside, self._open = self._open, set()
        written = self.write(schema, path)
        self._open = outside
        return written

    def _find(self, target: str, path: str) -> Any:
        """Follow a reference within the schema."""
        found: Any = self._root
        if not target.startswith("#") or (target != "#" and not target.startswith("#/")):
            raise InvalidRequest("only references within the schema (#/...) can be followed", path=f"{path}.$ref")
        for part in target[2:].split("/") if len(target) > 1 else []:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                found = cast("list[Any]", found)[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise InvalidRequest(f"there is no {target}", path=f"{path}.$ref") from None
        return found

    def _write_all(self, schema: Schema, path: str) -> str:
        """AllOf as one schema that says everything its parts say."""
        merged = without(schema, "allOf")
        for index, part in enumerate(schema["allOf"]):
            at = f"{path}.allOf.{index}"
            merged = intersect(merged, self._resolve(part, at), at)
        return self.write(merged, path)

    def _write_any(self, schema: Schema, path: str) -> str:
        base = without(schema, "anyOf")
        return self._write_branches(base, schema["anyOf"], f"{path}.anyOf")

    def _write_one(self, schema: Schema, path: str) -> str:
        """OneOf as anyOf, where no value can be in two branches."""
        base, branches = without(schema, "oneOf"), schema["oneOf"]
        shapes = [self._resolve(branch, f"{path}.oneOf") for branch in branches]
        for index, shape in enumerate(shapes):
            for earlier in shapes[:index]:
                if not are_disjoint(earlier, shape):
                    raise InvalidRequest(
                        "a value could match two branches", path=f"{path}.oneOf.{index}", hint="use anyOf"
                    )
        return self._write_branches(base, branches, f"{path}.oneOf")

    def _write_branches(self, base: Schema, branches: list[Any], path: str) -> str:
        schemas = [
            ({"allOf": [branch], **base} if base else branch, f"{path}.{index}")
            for index, branch in enumerate(branches)
        ]
        return self._choose([self.write(branch, at) for branch, at in schemas])

    def _resolve(self, schema: Any, path: str) -> Any:
        """Look through references, so that what they say can be seen beside what else is said."""
        for _ in range(_REFERENCES):
            if not isinstance(schema, dict):
                return {} if schema is True else schema
            said = cast("Schema", schema)
            if set(said) - ANNOTATIONS != {"$ref"}:
                return said
            schema = self._find(said["$ref"], path)
        raise InvalidRequest("the reference leads back to itself", path=path)

    def _write_enum(self, schema: Schema, path: str) -> str:
        """The listed values that the rest of the schema accepts."""
        from jsonschema import Draft202012Validator

        values: list[Any] = [schema["const"]] if "const" in schema else schema["enum"]
        definitions = {name: self._root[name] for name in ("$defs", "definitions") if name in self._root}
        rest = Draft202012Validator({**schema, **definitions})
        literals = [quote(dump(value)) for value in values if rest.is_valid(value)]
        if not literals:
            raise InvalidRequest("no listed value fits the rest of the schema", path=path)
        return self._choose(literals)

    def _choose(self, choices: list[str]) -> str:
        unique = list(dict.fromkeys(choices))
        return unique[0] if len(unique) == 1 else self._rules.add("choice", " | ".join(unique))

    # Types

    def _write_types(self, schema: Schema, path: str) -> str:
        declared: str | list[str] | None = schema.get("type")
        names = [declared] if isinstance(declared, str) else declared or guess_types(schema)
        return self._choose([_TYPE_WRITERS[name](self, schema, path) for name in names])

    def _write_null(self, schema: Schema, path: str) -> str:
        return '"null"'

    def _write_boolean(self, schema: Schema, path: str) -> str:
        return self._rules.add("boolean", '"true" | "false"')

    def _write_integer(self, schema: Schema, path: str) -> str:
        low, high = read_bounds(schema, step=Decimal(1))
        least = None if low is None else int(low.to_integral_value("ROUND_CEILING"))
        most = None if high is None else int(high.to_integral_value("ROUND_FLOOR"))
        if "multipleOf" in schema and schema["multipleOf"] != 1:
            return self._write_multiples(schema, path, (least, most))
        return self._number(write_integer(least, most), path)

    def _write_number(self, schema: Schema, path: str) -> str:
        if "multipleOf" in schema:
            step = Decimal(str(schema["multipleOf"]))
            if step != step.to_integral_value():
                raise InvalidRequest("a fraction cannot be held", path=f"{path}.multipleOf", hint="use an integer")
            return self._write_integer(schema, path)
        low, high = read_bounds(schema, step=Decimal("1e-9"))
        return self._number(write_decimal(low, high), path)

    def _write_multiples(self, schema: Schema, path: str, bounds: tuple[int | None, int | None]) -> str:
        """Multiples by their list, if bounds make it short."""
        step, (low, high) = schema["multipleOf"], bounds
        if step != int(step) or low is None or high is None or (high - low) / step > _MULTIPLES:
            raise InvalidRequest(
                "multiples can be held only if whole and few",
                path=f"{path}.multipleOf",
                hint="give minimum and maximum",
            )
        step = int(step)
        multiples = range(-(-low // step) * step, high + 1, step)
        return self._number(" | ".join(quote(str(value)) for value in multiples), path)

    def _number(self, body: str, path: str) -> str:
        if not body:
            raise InvalidRequest("no number lies between minimum and maximum", path=path)
        return self._rules.add("number", body)

    def _write_string(self, schema: Schema, path: str) -> str:
        least: int = schema.get("minLength", 0)
        most: int | None = schema.get("maxLength")
        if most is not None and least > most:
            raise InvalidRequest("minLength is above maxLength", path=path)
        if "pattern" in schema or schema.get("format") in FORMATS:
            return self._write_pattern(schema, path, (least, most))
        most = max(self._string_chars, least) if most is None else most
        return self._rules.add("string", f'"\\"" {repeat(self._rules, self._char(), least, most)} "\\""')

    def _write_pattern(self, schema: Schema, path: str, lengths: tuple[int, int | None]) -> str:
        keyword = "pattern" if "pattern" in schema else "format"
        if "pattern" in schema and schema.get("format") in FORMATS:
            raise InvalidRequest("pattern and format together cannot be held", path=f"{path}.pattern")
        try:
            written = write_pattern(
                self._rules, schema["pattern"] if keyword == "pattern" else FORMATS[schema["format"]]
            )
        except Unwritable as error:
            raise InvalidRequest(str(error), path=f"{path}.{keyword}") from None
        least, most = lengths
        fits_below = most is None or (written.most_chars is not None and written.most_chars <= most)
        if written.least_chars < least or not fits_below:
            raise InvalidRequest(
                f"{keyword} and a length together cannot be held",
                path=f"{path}.{keyword}",
                hint="put it into the pattern",
            )
        return self._rules.add("string", f'"\\"" {written.body} "\\""')

    def _char(self) -> str:
        return self._rules.add("char", write_json_chars(invert_ranges([])))

    # Containers

    def _write_array(self, schema: Schema, path: str) -> str:
        first: list[Any] = schema.get("prefixItems", [])
        items: Any = schema.get("items", True)
        at = f"{path}.prefixItems"
        if isinstance(items, list):  # as drafts before 2020 wrote prefixItems
            first, items, at = cast("list[Any]", items), schema.get("additionalItems", True), f"{path}.items"
        least: int = schema.get("minItems", 0)
        most: int = schema.get("maxItems", max(ARRAY_ITEMS, least))
        if schema.get("uniqueItems") and most > 1:
            raise InvalidRequest("uniqueItems cannot be held", path=f"{path}.uniqueItems")
        if items is False:
            most = min(most, len(first))
        if least > most:
            raise InvalidRequest("no array is that long and that short", path=path)
        written = [self._write_inside(item, f"{at}.{index}") for index, item in enumerate(first[:most])]
        room = most - len(written)
        if not room or (written and not least > len(written)):  # nothing beyond the declared items is needed
            return self._rules.add("array", " ".join(['"["', _COMMA.join(written), '"]"']))
        return self._write_items(
            written, self._write_inside(items, f"{path}.items"), (max(0, least - len(written)), room)
        )

    def _write_items(self, first: list[str], item: str, counts: tuple[int, int]) -> str:
        """Write an array of declared items followed by `counts` others."""
        least, most = counts
        more = self._rules.add("item", f'"," {item}')
        if first:
            others = repeat(self._rules, more, least, most)
            return self._rules.add("array", f'"[" {_COMMA.join(first)} {others} "]"')
        filled = f"{item} {repeat(self._rules, more, max(0, least - 1), most - 1)}"
        return self._rules.add("array", f'"[" {filled} "]"' if least else f'"[" ({filled})? "]"')

    def _write_object(self, schema: Schema, path: str) -> str:
        properties: Schema = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        extra = schema.get("additionalProperties", True)
        if not properties and extra is not False:
            return self._write_map(schema, path)
        if extra is False and (missing := [name for name in required if name not in properties]):
            raise InvalidRequest(f"{missing[0]!r} is required and not allowed", path=f"{path}.required")
        declared = {**properties, **{name: extra for name in required if name not in properties}}
        self._check_count(schema, path, (len(required), len(declared)))
        pairs = [
            (self._pair(name, self._write_inside(value, f"{path}.properties.{name}")), name in required)
            for name, value in declared.items()
            if value is not False or name in required
        ]
        return self._rules.add("object", f'"{{" {self._write_pairs(pairs)} "}}"')

    def _pair(self, name: str, value: str) -> str:
        return self._rules.add("pair", f"{quote(dump(name) + ':')} {value}")

    def _write_pairs(self, pairs: list[tuple[str, bool]]) -> str:
        """Write properties in their order, optional ones or not; a comma stands before all but the first written.

        From the last to the first, with two rules a property: for when something was written before it and when not.
        """
        after_none = after_some = '""'
        for pair, is_required in reversed(pairs):
            some = f'"," {pair} {after_some}'
            none = f"{pair} {after_some}"
            if not is_required:
                some, none = f"{some} | {after_some}", f"{none} | {after_none}"
            after_some, after_none = self._rules.add("more", some), self._rules.add("first", none)
        return after_none

    def _check_count(self, schema: Schema, path: str, counts: tuple[int, int]) -> None:
        """Refuse counts of properties that the declaration does not keep of itself."""
        least, most = counts
        for keyword, is_kept in (
            ("minProperties", schema.get("minProperties", 0) <= least),
            ("maxProperties", schema.get("maxProperties", most) >= most),
        ):
            if not is_kept:
                raise InvalidRequest(f"`{keyword}` cannot be held beside properties", path=f"{path}.{keyword}")

    def _write_map(self, schema: Schema, path: str) -> str:
        """An object without declared keys. Keys may repeat, so that they are counted as none, one or many."""
        extra = schema.get("additionalProperties", True)
        required: list[str] = schema.get("required", [])
        if required:
            return self._write_object({**schema, "properties": dict.fromkeys(required, extra)}, path)
        least, most = schema.get("minProperties", 0), schema.get("maxProperties", ARRAY_ITEMS)
        if least > 1:
            raise InvalidRequest("more than one unnamed property cannot be held", path=f"{path}.minProperties")
        if least > most:
            raise InvalidRequest("minProperties is above maxProperties", path=path)
        if not most:
            return '"{}"'
        names: Any = schema.get("propertyNames", True)
        key = self.write(
            {"type": "string", "maxLength": 64} if names is True else {"type": "string", **names},
            f"{path}.propertyNames",
        )
        pair = self._rules.add("pair", f'{key} ":" {self._write_inside(extra, f"{path}.additionalProperties")}')
        more = self._rules.add("item", f'"," {pair}')
        filled = f"{pair} {repeat(self._rules, more, 0, most - 1)}"
        return self._rules.add("map", f'"{{" {filled} "}}"' if least else f'"{{" ({filled})? "}}"')

    def _any(self, depth: int) -> str:
        """Write any JSON value that nests no deeper than `depth`."""
        scalars = [
            self._write_string({}, ""),
            self._write_number({}, ""),
            self._write_boolean({}, ""),
            self._write_null({}, ""),
        ]
        if not depth:
            return self._choose(scalars)
        inner = self._any(depth - 1)
        key = self._write_string({"maxLength": 64}, "")
        more_items = self._rules.add("item", f'"," {inner}')
        pair = self._rules.add("pair", f'{key} ":" {inner}')
        more_pairs = self._rules.add("item", f'"," {pair}')
        array = self._rules.add("array", f'"[" ({inner} {more_items}*)? "]"')
        return self._choose([*scalars, array, self._rules.add("map", f'"{{" ({pair} {more_pairs}*)? "}}"')])


_COMMA = ' "," '
_Write = Callable[[_Document, Schema, str], str]

_COMBINERS: dict[str, _Write] = {
    "$ref": _Document._write_reference,  # pyright: ignore[reportPrivateUsage]
    "allOf": _Document._write_all,  # pyright: ignore[reportPrivateUsage]
    "anyOf": _Document._write_any,  # pyright: ignore[reportPrivateUsage]
    "oneOf": _Document._write_one,  # pyright: ignore[reportPrivateUsage]
    "const": _Document._write_enum,  # pyright: ignore[reportPrivateUsage]
    "enum": _Document._write_enum,  # pyright: ignore[reportPrivateUsage]
}
"""In the order in which they are taken off a schema; what is left goes into each part."""

_TYPE_WRITERS: dict[str, _Write] = {name: getattr(_Document, f"_write_{name}") for name in TYPES}
