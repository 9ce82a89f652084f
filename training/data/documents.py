"""A training document: a conversation, and its rendering into tokens.

Owns:   the segmentation, and where what an answer writes stands in the prompt. Template pieces are encoded with the
        special tokens on, every content piece alone with them off: exactly what the engine does. tests/training
        compares it with the chat template's own rendering.
Knows:  nothing of where a document came from.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tokenizers import Tokenizer

from training.data.compact_encoding import render_json
from training.learning.attention_supervision import Pointer, PointerFinder, Span

ROLES = {f"<|{role}|>": role for role in ("system", "user", "assistant", "tool")}
"""The pieces of the template that begin a turn."""
PARTED_SHARE = 0.01
"""Of the values of objects. A model that takes a value for a number writes no quote; a grammar that wants a string then
forces one, and a model that has never seen that finds no end (training/log.md)."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool in a conversation that is trained on."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a conversation offers to the model."""

    name: str
    description: str
    parameters: dict[str, Any]
    "A JSON Schema object."


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of the parties says in a conversation that is trained on."""

    role: str
    "user, assistant or tool"
    text: str
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    learned: bool = True
    "False: an assistant turn that is context only (a guess without evidence, say)."


@dataclass(frozen=True, slots=True)
class Document:
    """A conversation that a generator made, before it is cut into tokens."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    family: str = ""
    "The generator that made it; for the mixture's counts only."


@dataclass(slots=True)
class Encoded:
    """A document as tokens, and what of it is learned."""

    tokens: list[int] = field(default_factory=list[int])
    learned: list[bool] = field(default_factory=list[bool])
    "Whether the loss counts the token in phase 2."
    pointers: list[Pointer] = field(default_factory=list[Pointer])


def render_tool(tool: Tool) -> str:
    """A tool as the chat template writes it into the system turn."""
    return render_json({"name": tool.name, "description": tool.description, "parameters": tool.parameters})


def render_call(call: ToolCall) -> str:
    """A call as the assistant writes it in its answer."""
    return render_json({"name": call.name, "arguments": call.arguments})


def segments(document: Document) -> list[tuple[str, bool, bool]]:
    """Cut a document into (text, is it template, is it learned) in order."""
    parts: list[tuple[str, bool, bool]] = []
    if document.system or document.tools:
        parts += [("<|system|>", True, False), (document.system, False, False)]
        if document.tools:
            parts.append(("\n<tools>\n", True, False))
            for tool in document.tools:
                parts += [(render_tool(tool), False, False), ("\n", True, False)]
            parts.append(("</tools>", True, False))
        parts.append(("<|end|>", True, False))
    for turn in document.turns:
        parts += _turn_segments(turn)
    return [part for part in parts if part[0]]


def _turn_segments(turn: Turn) -> list[tuple[str, bool, bool]]:
    if turn.role != "assistant":
        return [(f"<|{turn.role}|>", True, False), (turn.text, False, False), ("<|end|>", True, False)]
    learned = turn.learned
    parts = [("<|assistant|>", True, False)]
    if turn.reasoning:
        parts += [("<think>", True, learned), (turn.reasoning, False, learned), ("</think>", True, learned)]
    parts.append((turn.text, False, learned))
    for call in turn.calls:
        parts += [("<tool_call>", True, learned), (render_call(call), False, learned), ("</tool_call>", True, learned)]
    parts.append(("<|end|>", True, learned))
    return parts


def _joined_quotes(tokenizer: Tokenizer) -> dict[int, tuple[int, int]]:
    """Tokens that end a name and begin its value, and the two tokens that spell the same."""
    vocabulary = tokenizer.get_vocab()
    names = {token: name for name, token in vocabulary.items() if name.endswith(':"') and name[:-1] in vocabulary}
    return {token: (vocabulary[name[:-1]], vocabulary['"']) for token, name in names.items()}


class Encoder:
    """Turns documents into tokens; template pieces are looked up once."""

    def __init__(self, tokenizer: Tokenizer, random: Random | None = None) -> None:
        """With `random`, some values of objects begin with a quote of their own, as a grammar may force them to."""
        self._tokenizer = tokenizer
        self._random = random
        self._joined = _joined_quotes(tokenizer)
        self._finder = PointerFinder(tokenizer)
        self._pieces: dict[str, list[int]] = {}

    def encode(self, document: Document) -> Encoded:
        encoded, spans, role = Encoded(), list[Span](), ""
        for text, is_template, learned in segments(document):
            start = len(encoded.tokens)
            if is_template:
                ids, offsets = self._template(text), list[tuple[int, int]]()
                role = ROLES.get(text, role)
            else:
                encoding = self._tokenizer.encode(text)
                ids, offsets = encoding.ids, encoding.offsets if learned else []
                if self._random is not None and learned:
                    ids, offsets = self._part_quotes(ids, offsets, self._random)
            encoded.tokens += ids
            encoded.learned += [learned] * len(ids)
            if not is_template:
                spans.append(Span(text, start, len(encoded.tokens), role, learned, tuple(offsets)))
        encoded.pointers += self._finder.find(document.family, spans, encoded.tokens)
        return encoded

    def _part_quotes(
        self, ids: list[int], offsets: list[tuple[int, int]], random: Random
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Where a value begins, a token of name's end, colon and quote becomes two now and then."""
        parted: list[tuple[int, tuple[int, int]]] = []
        for token, (first, last) in zip(ids, offsets, strict=True):
            if token in self._joined and random.random() < PARTED_SHARE:
                colon, quote = self._joined[token]
                parted += [(colon, (first, last - 1)), (quote, (last - 1, last))]
            else:
                parted.append((token, (first, last)))
        return [token for token, _ in parted], [offset for _, offset in parted]

    def _template(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._tokenizer.encode_special_tokens = False
            self._pieces[text] = self._tokenizer.encode(text).ids
            self._tokenizer.encode_special_tokens = True
        return self._pieces[text]
