"""JSON from text: the slots of public sets under changing names, and invented records under invented schemas."""

import functools
import re
from random import Random
from typing import Any

from renga.services.evals.suites.invented import draw_record, fill_record
from renga.services.evals.suites.invented_vocabulary import TRAINING
from training.data.compact_encoding import render_json
from training.data.documents import Document, Turn
from training.data.sources import slot_names, slot_rows
from training.generators.copying import odd_name
from training.generators.fresh import draw_vocabulary

INSTRUCTIONS = (
    "Extract the fields from the message as compact JSON. Leave out fields that are not mentioned.\nFields: {fields}",
    "Return a JSON object with these fields if they are in the text: {fields}",
    "Fill in what the message says. Fields: {fields}. Reply with JSON only.",
    "Extract {fields} from the text below. Output JSON.",
    "You turn messages into JSON. Allowed keys: {fields}",
    "Read the request and write its details as a JSON object.\nKeys:\n{lines}",
    "Answer with JSON that follows this schema: {schema}",
)
NULLS = (" Use null for what is missing.", " Missing fields are null.", " Write null where the text says nothing.")
RENAMED = {
    "playlist_owner": ("owner", "belongs_to"),
    "party_size_number": ("guests", "people", "party_size"),
    "timeRange": ("when", "time", "date"),
    "music_item": ("item", "kind"),
    "object_name": ("title", "name", "work"),
    "object_type": ("type", "kind"),
    "rating_value": ("stars", "score", "rating"),
    "place_name": ("place", "where"),
    "artist_name": ("artist", "singer"),
    "person": ("who", "contact", "name"),
    "restaurant_name": ("restaurant", "venue"),
    "people": ("guests", "party_size"),
    "first_name": ("given_name", "name"),
    "last_name": ("surname", "family_name"),
}


def _key(slot: str, random: Random, *, rename: bool) -> str:
    if rename and slot in RENAMED and random.random() < 0.5:
        return random.choice(RENAMED[slot])
    if rename and random.random() < 0.3:
        words = re.sub(r"([a-z])([A-Z])", r"\1_\2", slot).lower().split("_")
        return words[0] + "".join(word.title() for word in words[1:])
    return slot


PLAIN_SHARE = 0.55
"""Share of the SNIPS documents with every slot of the intent, in order and under its own name."""
SWAPPED_SHARE = 0.5
"""Share of the sentences that are about other things than the set's: each value may be another of the same slot."""
ODD_SHARE = 0.06
"""Share of those other values that no set has, where a slot holds names: a copy once begun has to find its end."""
NAMED = re.compile("album|artist|track|playlist|city|poi|geographic_poi|(entity|object|movie|restaurant)_name")
MANY_SLOTS = {"BookRestaurant": 5, "GetWeather": 3, "PlayMusic": 3, "AddToPlaylist": 3}
"""How often intents with many slots are drawn; the others once."""


def slots(random: Random) -> Document:
    """One to eight messages of one intent, with a field list that also names absent fields."""
    name, intent, text, found = _draw_row(random)
    known = slot_names().get((name, intent), list(found))
    if name == "snips" and random.random() < PLAIN_SHARE:
        items = [(text, found), *_draw_more(random, name, intent, random.choice((0, 1, 3, 5, 7)))]
        head = _instruction(sorted(known), random, nulls=False)
        return _document(
            head,
            [one for one, _ in items],
            [_object({slot: values.get(slot) for slot in sorted(known)}, nulls=False) for _, values in items],
            random,
            "slots",
        )
    rename = random.random() < 0.35
    keys = {slot: _key(slot, random, rename=rename) for slot in known}
    fields = [slot for slot in known if slot in found or name == "snips" or random.random() < 0.8]
    if random.random() < 0.2 and len(fields) > 1:
        fields.remove(random.choice(fields))
    fields = list({keys[slot]: slot for slot in fields}.values())
    random.shuffle(fields)
    nulls = random.random() < 0.15
    items = [(text, found), *_draw_more(random, name, intent, random.choice((0, 1, 2, 3, 4)))]
    head = _instruction([keys[slot] for slot in fields], random, nulls=nulls)
    objects = [_object({keys[slot]: found.get(slot) for slot in fields}, nulls=nulls) for _, found in items]
    return _document(head, [text for text, _ in items], objects, random, "slots")


@functools.cache
def slots_by_intent() -> dict[tuple[str, str], list[tuple[str, dict[str, str]]]]:
    """(set, intent) -> its (text, slots)."""
    found: dict[tuple[str, str], list[tuple[str, dict[str, str]]]] = {}
    for name, intent, text, slots in slot_rows():
        found.setdefault((name, intent), []).append((text, slots))
    return found


@functools.cache
def _slot_values() -> dict[tuple[str, str], list[str]]:
    """(set, slot) -> every value of it, once."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for name, _, _, slots in slot_rows():
        for slot, value in slots.items():
            found.setdefault((name, slot), {})[value] = None
    return {key: list(values) for key, values in found.items()}


@functools.cache
def _other_rows() -> list[tuple[str, str, str, dict[str, str]]]:
    return [row for row in slot_rows() if row[0] != "snips"]


def _draw_row(random: Random) -> tuple[str, str, str, dict[str, str]]:
    if random.random() < 0.15:
        return random.choice(_other_rows())
    intents = [intent for name, intent in slots_by_intent() if name == "snips"]
    intent = random.choices(intents, weights=[MANY_SLOTS.get(intent, 1) for intent in intents])[0]
    return "snips", intent, *_draw_more(random, "snips", intent, 1)[0]


def _draw_more(random: Random, name: str, intent: str, count: int) -> list[tuple[str, dict[str, str]]]:
    """Sentences of one intent with their slots."""
    return [_swapped(random, name, *pair) for pair in random.choices(slots_by_intent()[name, intent], k=count)]


def _swapped(random: Random, name: str, text: str, found: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The same sentence, now and then about other things: what the set's other sentences have in the same slots."""
    if random.random() >= SWAPPED_SHARE:
        return text, found
    swapped = dict(found)
    for slot, value in found.items():
        whole = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
        within = any(value in other for key, other in swapped.items() if key != slot)
        if random.random() < 0.6 and not within and len(whole.findall(text)) == 1:
            odd = NAMED.fullmatch(slot) is not None and random.random() < ODD_SHARE
            swapped[slot] = odd_name(random) if odd else random.choice(_slot_values()[name, slot])
            text = whole.sub(swapped[slot].replace("\\", r"\\"), text)
    return text, swapped


def _object(values: dict[str, Any], *, nulls: bool) -> str:
    return render_json({key: value for key, value in values.items() if nulls or value is not None})


def _instruction(fields: list[str], random: Random, *, nulls: bool) -> str:
    form = INSTRUCTIONS[0] if random.random() < 0.45 else random.choice(INSTRUCTIONS)
    properties = {field: {"type": "string"} for field in fields}
    head = form.format(
        fields=", ".join(fields),
        lines="\n".join(fields),
        schema=render_json({"type": "object", "properties": properties}),
    )
    return head + random.choice(NULLS) if nulls else head


def _document(head: str, texts: list[str], objects: list[str], random: Random, family: str) -> Document:
    in_system = random.random() < 0.75
    turns: list[Turn] = []
    for index, (text, answer) in enumerate(zip(texts, objects, strict=True)):
        shown = text if in_system or index else f"{head}\n\n{text}"
        turns += [Turn("user", shown), Turn("assistant", answer)]
    return Document(tuple(turns), system=head if in_system else "", family=family)


def records(random: Random) -> Document:
    """One to five invented texts under one invented schema; integers stay integers."""
    vocabulary = draw_vocabulary(random) if random.random() < 0.75 else TRAINING
    record = draw_record(random, vocabulary, count=random.choice((2, 3, 3, 4, 5, 6)))
    filled = [record, *(fill_record(random, vocabulary, record.fields) for _ in range(random.choice((0, 1, 2, 3, 4))))]
    names = [part.name for part in record.fields]
    nulls = random.random() < 0.2
    head = _instruction(names, random, nulls=nulls)
    objects = [_object({name: one.value.get(name) for name in names}, nulls=nulls) for one in filled]
    return _document(head, [one.text for one in filled], objects, random, "records")
