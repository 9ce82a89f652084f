"""Invented tools and schemas, with a message that calls for one of them.

Owns:   two vocabularies that share no verb, no noun, no parameter name and no sentence frame: TRAINING and HELD_OUT.
        What a model shows on the second it cannot have memorised from the first.
Knows:  nothing of prompts or scores.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from renga.services.evals.suites.values import SurpriseValue, draw_value


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an invented tool, and how a person says it."""

    name: str
    kind: str
    "A kind of renga.services.evals.suites.values."
    description: str
    phrases: tuple[str, ...]
    '"to {}" and the like; {} is the value.'


@dataclass(frozen=True, slots=True)
class InventedVocabulary:
    """What one side of the split may be made of."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    frames: tuple[str, ...]
    "{act} is the verb and the noun, {details} the parameters' phrases."
    descriptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InventedTool:
    """A tool that exists in one prompt only."""

    name: str
    description: str
    act: str
    parameters: tuple[Parameter, ...]

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments; every parameter is optional in the message."""
        properties = {
            part.name: {"type": _json_type(part.kind), "description": part.description} for part in self.parameters
        }
        return {"type": "object", "properties": properties, "required": [], "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class InventedCall:
    """The tools in the prompt, the message and the one right call."""

    tools: tuple[InventedTool, ...]
    message: str
    name: str
    arguments: dict[str, Any]


def _json_type(kind: str) -> str:
    return {"count": "integer", "flag": "boolean"}.get(kind, "string")


def draw_tools(random: Random, vocabulary: InventedVocabulary, *, count: int) -> tuple[InventedTool, ...]:
    """Invent tools with distinct acts; half the time two of them share a noun or a verb."""
    tools: list[InventedTool] = []
    style = random.choice(("snake", "snake", "camel", "kebab", "pascal"))
    taken: set[tuple[str, str]] = set()
    while len(tools) < count:
        verb, noun = random.choice(vocabulary.verbs), random.choice(vocabulary.nouns)
        if tools and random.random() < 0.3:
            noun = tools[-1].act.split(" ", 1)[1]
        if (verb, noun) in taken:
            continue
        taken.add((verb, noun))
        parameters = tuple(random.sample(vocabulary.parameters, random.choice((1, 2, 2, 3, 3, 4))))
        description = random.choice(vocabulary.descriptions).format(verb=verb, noun=noun, act=f"{verb} {noun}")
        tools.append(InventedTool(_spell(f"{verb} {noun}", style), description, f"{verb} {noun}", parameters))
    return tuple(tools)


def _spell(act: str, style: str) -> str:
    words = act.split()
    if style == "kebab":
        return "-".join(words)
    if style == "pascal":
        return "".join(word.title() for word in words)
    if style == "camel":
        return words[0] + "".join(word.title() for word in words[1:])
    return "_".join(words)


def draw_call(random: Random, vocabulary: InventedVocabulary, *, tool_count: int) -> InventedCall:
    """Invent tools and a message that calls one of them."""
    return draw_request(random, vocabulary, draw_tools(random, vocabulary, count=tool_count))


def draw_request(random: Random, vocabulary: InventedVocabulary, tools: tuple[InventedTool, ...]) -> InventedCall:
    """Pick a tool and write the message that calls it; some parameters may go unsaid."""
    tool = random.choice(tools)
    said: list[tuple[Parameter, SurpriseValue]] = []
    for part in tool.parameters:
        if len(tool.parameters) == 1 or random.random() < 0.85:
            said.append((part, draw_value(random, part.kind)))
    if not said:
        said.append((tool.parameters[0], draw_value(random, tool.parameters[0].kind)))
    spoken = list(said)
    random.shuffle(spoken)
    details = " ".join(random.choice(part.phrases).format(value.text) for part, value in spoken)
    verb, noun = tool.act.split(" ", 1)
    act = f"{verb} {random.choice(('the', 'a', 'my', 'our', 'this'))} {noun}"
    message = random.choice(vocabulary.frames).format(act=act, details=details)
    arguments = {part.name: value.value for part, value in said}
    return InventedCall(tools, message[0].upper() + message[1:], tool.name, arguments)


@dataclass(frozen=True, slots=True)
class InventedRecord:
    """A schema's fields, a text that gives some of them, and the object to extract."""

    fields: tuple[Parameter, ...]
    text: str
    value: dict[str, Any]


def draw_record(random: Random, vocabulary: InventedVocabulary, *, count: int) -> InventedRecord:
    """Invent a schema and a text."""
    return fill_record(random, vocabulary, tuple(random.sample(vocabulary.parameters, count)))


def fill_record(random: Random, vocabulary: InventedVocabulary, fields: tuple[Parameter, ...]) -> InventedRecord:
    """Write a sentence, a form or short statements for a schema. A fifth of the fields go unsaid."""
    present = [part for part in fields if random.random() < 0.8] or [fields[0]]
    values = {part.name: draw_value(random, part.kind) for part in present}
    spoken = list(present)
    random.shuffle(spoken)
    layout = random.random()
    if layout < 0.4:
        details = ", ".join(random.choice(part.phrases).format(values[part.name].text) for part in spoken)
        text = random.choice(vocabulary.frames).format(act=f"{random.choice(vocabulary.verbs)} it", details=details)
    elif layout < 0.7:
        text = "\n".join(f"{part.name.replace('_', ' ').title()}: {values[part.name].text}" for part in spoken)
    else:
        text = ". ".join(f"The {part.description.lower()} is {values[part.name].text}" for part in spoken) + "."
    return InventedRecord(fields, text, {part.name: values[part.name].value for part in fields if part.name in values})
