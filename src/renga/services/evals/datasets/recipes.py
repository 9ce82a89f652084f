"""How files that evaluations read are made of what their origins publish.

Every recipe gives JSON lines of `source, licence, split, task, input, output`. White space in texts is folded, and rows
that say the same twice are written once. The catalogue has the hash of each result, so a recipe that drifts is noticed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

Recipe = Callable[[str, list[tuple[str, bytes]]], bytes]
"""From the name of what is made, and the names and contents of what it is made of, in order."""


def make_banking77(target: str, inputs: list[tuple[str, bytes]]) -> bytes:
    """The questions of one part with their intents."""
    rows = csv.DictReader(io.StringIO(inputs[0][1].decode(), newline=""))
    head = ("PolyAI-LDN/task-specific-datasets", "CC-BY-4.0", _part(target), "bank intent")
    return _lines(head, ((_fold(row["text"]), row["category"]) for row in rows))


def make_snips(target: str, inputs: list[tuple[str, bytes]]) -> bytes:
    """The commands of one part with intent and slots. One of the origin's files is in Latin 1, the others in UTF-8."""
    rows: list[tuple[str, str]] = []
    for name, content in inputs:
        intent = PurePath(name).parts[-2]
        for query in json.loads(_decode(content))[intent]:
            pieces: list[dict[str, str]] = query["data"]
            slots = [{piece["entity"]: piece["text"].strip()} for piece in pieces if "entity" in piece]
            rows.append((_fold("".join(piece["text"] for piece in pieces)), _dump({"intent": intent, "slots": slots})))
    return _lines(("sonos/nlu-benchmark", "CC0-1.0", _part(target), "intent+slots"), rows)


def make_hwu64(target: str, inputs: list[tuple[str, bytes]]) -> bytes:
    """The commands of the first fold's training part with intent and slots."""
    examples: list[dict[str, Any]] = json.loads(inputs[0][1])["rasa_nlu_data"]["common_examples"]
    rows = (
        (
            _fold(example["text"]),
            _dump(
                {
                    "intent": example["intent"],
                    "slots": [{slot["entity"]: slot["value"]} for slot in example["entities"]],
                }
            ),
        )
        for example in examples
    )
    head = ("xliuhw/NLU-Evaluation-Data", "CC-BY-4.0", _part(target), "intent+slots (home assistant)")
    return _lines(head, rows)


RECIPES: dict[str, Recipe] = {"banking77": make_banking77, "snips": make_snips, "hwu64": make_hwu64}


def _part(target: str) -> str:
    """The split that a name such as `corpus/snips_train-01.jsonl.gz` ends in."""
    return PurePath(target).name.partition("-")[0].rpartition("_")[2]


def _fold(text: str) -> str:
    return " ".join(text.split())


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(head: tuple[str, str, str, str], rows: Iterable[tuple[str, str]]) -> bytes:
    source, licence, split, task = head
    fixed = {"source": source, "licence": licence, "split": split, "task": task}
    return "".join(
        _dump({**fixed, "input": text, "output": output}) + "\n" for text, output in dict.fromkeys(rows)
    ).encode()
