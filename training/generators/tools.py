"""Tool calls: invented tools, tools made from public slot sets, real API calls, results read back."""

import functools
import re
from random import Random
from typing import Any

from renga.services.evals.suites.invented import InventedCall, InventedVocabulary, draw_call, draw_request
from renga.services.evals.suites.invented_vocabulary import TRAINING
from training.data.compact_encoding import render_json
from training.data.documents import Document, Tool, ToolCall, Turn
from training.data.sources import read_corpus, slot_names, slot_rows
from training.generators.extraction import RENAMED, slots_by_intent
from training.generators.fresh import draw_vocabulary

SYSTEMS = (
    "",
    "",
    "Use the tools to help the user.",
    "Call the tool that does what the user asks.",
    "You are an assistant with tools. Call exactly one of them.",
    "You help customers. Use a tool when one fits.",
)
FRESH_SHARE = 0.75
"""Share of the documents whose tools and parameters have names of their own."""
RIVALS_SHARE = 0.6
"""Share of those documents in which other tools have other fields of the same kinds: only the tool that is called tells
where a value belongs."""
NO_TOOL = (
    "None of my tools can do that. Shall I pass you on to a specialist?",
    "I have no tool for that, so this needs a specialist.",
)
DONE = ("Done. {facts}", "That worked: {facts}", "It is done. {facts}", "Here is what came back: {facts}")


def invented(random: Random) -> Document:
    """One to five invented tools and up to five requests; the right tool may be missing, a result may come back."""
    vocabulary, call = draw_apart(random, random.choice((1, 2, 3, 3, 4, 4, 5)))
    shape = random.choice(("full", "full", "bare", "open"))
    tools = [Tool(tool.name, tool.description, _shape(tool.schema(), shape)) for tool in call.tools]
    turns = [Turn("user", call.message)]
    if random.random() < 0.06 and len(tools) > 1:
        tools = [tool for tool in tools if tool.name != call.name]
        turns.append(Turn("assistant", random.choice(NO_TOOL)))
    else:
        turns.append(Turn("assistant", "", (ToolCall(call.name, call.arguments),)))
        for _ in range(random.choice((0, 0, 1, 2, 3, 4))):
            if random.random() < 0.3:
                turns += _result(call.arguments, random)
            call = draw_request(random, vocabulary, call.tools)
            turns += [Turn("user", call.message), Turn("assistant", "", (ToolCall(call.name, call.arguments),))]
    return Document(tuple(turns), random.choice(SYSTEMS), tuple(tools), "invented")


def draw_apart(random: Random, tool_count: int) -> tuple[InventedVocabulary, InventedCall]:
    """Tools and a first request. No tool has two fresh fields of a kind."""
    if random.random() >= FRESH_SHARE:
        return TRAINING, draw_call(random, TRAINING, tool_count=tool_count)
    vocabulary = draw_vocabulary(random, rivals=6 if random.random() < RIVALS_SHARE else 0)
    while True:
        call = draw_call(random, vocabulary, tool_count=tool_count)
        if all(len({part.kind for part in tool.parameters}) == len(tool.parameters) for tool in call.tools):
            return vocabulary, call


def _shape(schema: dict[str, Any], shape: str) -> dict[str, Any]:
    """Schemas as people write them: with everything, without closing the object, or with types only."""
    if shape == "full":
        return schema
    if shape == "open":
        return {"type": "object", "properties": schema["properties"]}
    return {"type": "object", "properties": {key: {"type": part["type"]} for key, part in schema["properties"].items()}}


def _result(arguments: dict[str, Any], random: Random) -> list[Turn]:
    """A tool result, and an answer that copies from it."""
    facts = dict(random.sample(sorted(arguments.items()), min(2, len(arguments))))
    facts = {"status": random.choice(("ok", "confirmed", "created", "pending")), **facts}
    said = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in facts.items())
    return [Turn("tool", render_json(facts)), Turn("assistant", random.choice(DONE).format(facts=said))]


def _words(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ").lower()


def from_slots(random: Random) -> Document:
    """Real sentences with their slots as the arguments of tools named after the intents."""
    names = slot_names()
    row = random.choice(slot_rows())
    while not row[3] or (row[0], row[1]) not in names or (row[0] != "snips" and random.random() < 0.3):
        row = random.choice(slot_rows())
    name, intent = row[:2]
    others = [key for key in names if key[0] != "nlupp" and key != (name, intent)]
    picked = [(name, intent), *random.sample(others, random.choice((0, 1, 2, 3, 4)))]
    asked = [((name, intent), row[2], row[3])]
    for _ in range(random.choice((0, 1, 2, 3))):
        key = random.choice(picked)
        asked.append((key, *random.choice([pair for pair in slots_by_intent()[key] if pair[1]])))
    rename = {slot: random.choice(new) for slot, new in RENAMED.items()} if random.random() < 0.3 else {}
    camel, shape = random.random() < 0.3, random.choice(("full", "bare", "bare", "open"))
    tools: dict[tuple[str, str], Tool] = {}
    renamed: dict[tuple[str, str], dict[str, str]] = {}
    for key in picked:
        slots = dict.fromkeys(names[key][:8])
        slots.update(dict.fromkeys(slot for wanted, _, found in asked if wanted == key for slot in found))
        fields = [rename.get(slot, slot) for slot in slots]
        fields = fields if len(set(fields)) == len(fields) else list(slots)
        pairs = list(zip(slots, fields, strict=True))
        random.shuffle(pairs)
        tools[key] = _slot_tool(key[1], [field for _, field in pairs], camel=camel, shape=shape)
        renamed[key] = dict(pairs)
    turns: list[Turn] = []
    for key, text, found in asked:
        values = {field: found[slot] for slot, field in renamed[key].items() if slot in found}
        turns += [Turn("user", text), Turn("assistant", "", (ToolCall(tools[key].name, values),))]
    listed = list(tools.values())
    random.shuffle(listed)
    return Document(tuple(turns), random.choice(SYSTEMS), tuple(listed), "from_slots")


def _slot_tool(intent: str, slots: list[str], *, camel: bool, shape: str = "bare") -> Tool:
    words = _words(intent)
    name = "".join(word.title() for word in words.split()) if camel else words.replace(" ", "_")
    properties = {slot: {"type": "string", "description": _words(slot)} for slot in slots}
    parameters = {"type": "object", "properties": properties, "required": [], "additionalProperties": False}
    return Tool(name, words, _shape(parameters, shape))


@functools.cache
def _api_dialogues() -> list[list[dict[str, Any]]]:
    rows = read_corpus("taskmaster_tm4_reward") + read_corpus("taskmaster_tm3_reward")
    return [row["turns"] for row in rows if any("tool_call" in turn for turn in row["turns"])]


@functools.cache
def _api_signatures() -> dict[str, list[str]]:
    """Each API and the arguments it was ever called with."""
    found: dict[str, dict[str, None]] = {}
    for turns in _api_dialogues():
        for turn in turns:
            for api, arguments in turn.get("tool_call", {}).items():
                found.setdefault(api, {}).update(dict.fromkeys(arguments))
    return {api: list(arguments) for api, arguments in found.items()}


def api_dialogue(random: Random) -> Document:
    """A Taskmaster conversation with the calls a person made."""
    signatures = _api_signatures()
    turns: list[Turn] = []
    used: dict[str, None] = {}
    for turn in random.choice(_api_dialogues())[:10]:
        if turn["role"] == "api":
            turns.append(Turn("tool", render_json(turn["response"])[:500]))
        elif turn["role"] == "user":
            turns.append(Turn("user", turn["text"]))
        elif "tool_call" in turn:
            calls = tuple(ToolCall(api, _sorted(api, arguments)) for api, arguments in turn["tool_call"].items())
            used.update(dict.fromkeys(call.name for call in calls))
            turns.append(Turn("assistant", turn["text"], calls))
        else:
            turns.append(Turn("assistant", turn["text"], learned=bool(turns)))
    wanted = [*used, *random.sample(list(signatures), 2)]
    random.shuffle(wanted)
    tools = tuple(_slot_tool(api, signatures[api], camel=False) for api in dict.fromkeys(wanted))
    return Document(tuple(turns), "Use the tools to help the user.", tools, "api_dialogue")


def _sorted(api: str, arguments: dict[str, Any]) -> dict[str, Any]:
    order = _api_signatures()[api]
    return {key: arguments[key] for key in order if key in arguments}
