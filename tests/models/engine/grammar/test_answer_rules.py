"""Grammars, tried on a model that picks tokens almost at random: whatever comes must be what the schema accepts."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.models.engine.conftest import collect

from renga.errors import InvalidRequest
from renga.models.engine.client import EngineClient
from renga.models.engine.grammar.answer_rules import AnswerRules, ToolRule, build_answer_grammar
from renga.models.engine.ipc import GenerationRequest
from renga.models.engine.loading.model_loader import Model
from renga.models.engine.text.answer_parser import AnswerParser, AnswerShape, Piece, TextPiece, ToolArguments, ToolStart
from renga.models.engine.text.families import FAMILIES

Schema = dict[str, Any]
NAMES = ("a", "b", 'q"uote', "na me", "é")

_sizes = st.tuples(st.integers(0, 3), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def _numbers(kind: str) -> st.SearchStrategy[Schema]:
    bound = st.integers(-120, 120) if kind == "integer" else st.decimals(-9, 9, places=2).map(float)
    low = st.fixed_dictionaries({"type": st.just(kind)}, optional={"minimum": bound})
    high = st.fixed_dictionaries({"type": st.just(kind)}, optional={"exclusiveMaximum": bound})
    pair = st.tuples(bound, bound).map(lambda ends: {"type": kind, "minimum": min(ends), "maximum": max(ends)})
    return st.one_of(low, high, pair)


_strings = st.one_of(
    _sizes.map(lambda size: {"type": "string", "minLength": size[0], "maxLength": size[1]}),
    st.sampled_from(["date", "date-time", "time", "uuid", "email", "ipv4"]).map(
        lambda f: {"type": "string", "format": f}
    ),
    st.sampled_from([r"^[a-z]{2,5}$", r"^\d{3}-\d{2}$", "^(yes|no)$", r'^["\\/]\S{1,4}$', "^[^a-z]{3}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)
_scalars = st.one_of(
    _numbers("integer"),
    _numbers("number"),
    _strings,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"], "maxLength": 5}]),
    st.lists(st.sampled_from([1, "x", None, True, 2.5, "é\n", [1], {"k": "v"}]), min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
    st.sampled_from([{"const": {"deep": [1, 2]}}, {"type": "integer", "minimum": 0, "maximum": 50, "multipleOf": 7}]),
)


def _containers(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    objects = properties.flatmap(
        lambda declared: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(declared),
                "required": st.lists(st.sampled_from(sorted(declared)), unique=True) if declared else st.just([]),
                "additionalProperties": st.just(False),
            }
        )
    )
    arrays = st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
        lambda parts: {"type": "array", "items": parts[0], "minItems": parts[1], "maxItems": parts[1] + parts[2]}
    )
    tuples = st.lists(inner, min_size=1, max_size=3).map(lambda items: {"type": "array", "prefixItems": items})
    maps = inner.map(lambda value: {"type": "object", "additionalProperties": value, "maxProperties": 2})
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    wrapped = inner.map(lambda schema: {"$defs": {"it": schema}, "allOf": [{"$ref": "#/$defs/it"}]})
    return st.one_of(
        objects, arrays, tuples, maps, unions, wrapped.filter(lambda schema: "$ref" not in str(schema["$defs"]))
    )


schemas = st.recursive(_scalars, _containers, max_leaves=6)


async def write(client: EngineClient, model: Model, generation: GenerationRequest) -> str:
    answer = await collect(client, generation)
    assert answer.finish == "stop"
    return model.vocabulary.decode(answer.token_ids)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(schema=schemas, seed=st.integers(0, 2**31))
async def test_whatever_the_model_says_fits_the_schema(
    client: EngineClient, model: Model, schema: Schema, seed: int
) -> None:
    if "$ref" in str(schema) and "$defs" not in schema:
        return  # a reference moved away from its definition
    try:
        grammar = hold_to(schema)
    except InvalidRequest as error:
        assert error.path and error.path.startswith("schema")
        return
    text = await write(client, model, GenerationRequest([9, 10, 11], 3000, temperature=1.5, seed=seed, grammar=grammar))
    jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9}, "next": {"$ref": "#/$defs/node"}},
            "required": ["v"],
        }
    },
    "$ref": "#/$defs/node",
}
TAGGED = {
    "oneOf": [
        {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
        {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "boolean"}}, "required": ["kind", "y"]},
    ]
}
MERGED = {
    "allOf": [
        {"type": "object", "properties": {"n": {"type": "number", "minimum": 1}}, "required": ["n"]},
        {"properties": {"n": {"type": "number", "maximum": 2}, "m": {"type": "null"}}, "required": ["m"]},
    ]
}


@pytest.mark.parametrize("schema", [TREE, TAGGED, MERGED, {"type": "string", "minLength": 90, "maxLength": 130}])
async def test_schemas_that_refer_branch_and_merge(client: EngineClient, model: Model, schema: Schema) -> None:
    grammar = hold_to(schema)
    for seed in range(5):
        text = await write(client, model, GenerationRequest([9, 10], 3000, temperature=1.3, seed=seed, grammar=grammar))
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objekt"}, "s.type"),
        ({"type": "object", "properties": {"a": {"type": 7}}}, "s.properties.a.type"),
        ({"not": {}}, "s.not"),
        ({"properties": {"a": {"patternProperties": {}}}}, "s.properties.a.patternProperties"),
        ({"type": "array", "items": {"contains": {}}}, "s.items.contains"),
        ({"type": "array", "uniqueItems": True}, "s.uniqueItems"),
        ({"type": "string", "pattern": "(?=a)b"}, "s.pattern"),
        ({"type": "string", "pattern": "("}, "s.pattern"),
        ({"type": "string", "pattern": "^a*$", "minLength": 3}, "s.pattern"),
        ({"type": "number", "multipleOf": 0.1}, "s.multipleOf"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "s"),
        ({"$ref": "#/$defs/none"}, "s.$ref"),
        ({"$ref": "http://elsewhere/"}, "s.$ref"),
        ({"$ref": "#"}, "#.$ref"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "#.anyOf.1.$ref"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "s.oneOf.1"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "s.allOf.1.type"),
        ({"enum": [1, 2], "type": "string"}, "s"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "s.required"),
        ({"type": "object", "minProperties": 2}, "s.minProperties"),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_path(schema: Schema, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        hold_to(schema, path="s")
    assert caught.value.path == path


WEATHER = ToolRule(
    "get_weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["c", "f"]}},
        "required": ["city", "unit"],
    },
)
CLOCK = ToolRule("clock", {"type": "object", "properties": {}, "additionalProperties": False}, strict=True)


@pytest.mark.parametrize("family", ["hokku", "qwen", "llama3"])
async def test_a_forced_call_is_a_call(client: EngineClient, model: Model, family: str) -> None:
    rules = AnswerRules(FAMILIES[family], (WEATHER, CLOCK), "any", parallel=False)
    for seed in range(4):
        pieces = await parse(client, model, rules, GenerationRequest([9], 3000, seed=seed))
        (name,) = [piece.name for piece in pieces if isinstance(piece, ToolStart)]
        (arguments,) = [json.loads(piece.json) for piece in pieces if isinstance(piece, ToolArguments)]
        jsonschema.validate(arguments, (WEATHER if name == "get_weather" else CLOCK).schema)
        assert not any(isinstance(piece, TextPiece) for piece in pieces)


async def test_several_calls_may_stand_side_by_side(client: EngineClient, model: Model) -> None:
    rules = AnswerRules(FAMILIES["hokku"], (CLOCK,), "any")
    counts: set[int] = set()
    for seed in range(12):
        pieces = await parse(client, model, rules, GenerationRequest([9], 3000, temperature=2.0, seed=seed))
        counts.add(sum(isinstance(piece, ToolStart) for piece in pieces))
    assert max(counts) > 1


async def parse(client: EngineClient, model: Model, rules: AnswerRules, generation: GenerationRequest) -> list[Piece]:
    """What an answer under these rules means."""
    grammar = build_answer_grammar(rules)
    text = await write(client, model, msgspec.structs.replace(generation, grammar=grammar))
    names = frozenset(tool.name for tool in rules.tools)
    parser = AnswerParser(AnswerShape(rules.family, tool_names=names, thinking_open=rules.thinking_open))
    return parser.push(text) + parser.finish()


def hold_to(schema: Schema, *, path: str = "schema") -> str | None:
    """The grammar of an answer that must be JSON of a schema."""
    return build_answer_grammar(AnswerRules(FAMILIES["plain"], schema=schema, schema_path=path))
