"""ChatML: a conversation as the tokens that the served model sees.

Owns:   the chat template (template.jinja, which goes into the model's file) and the same in segments. The engine
        encodes what the template writes and what a client wrote apart; so does this. tests/training/tuning compares
        the two token for token.
Knows:  nothing of where a document came from.
"""

import json
import pathlib
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from training.data.compact_encoding import render_json
from training.data.documents import Document, Turn, render_tool

TEMPLATE = pathlib.Path(__file__).with_name("template.jinja")
DEFAULT_SYSTEM = "You are a helpful assistant."
"""What the template says where neither a system prompt nor tools are given."""
END = "<|im_end|>"
"""Ends every turn; the model stops after it."""

Segment = tuple[str, bool, bool]
"""(text, did the template write it, is it learned)"""


@dataclass(slots=True)
class Encoded:
    """A conversation as tokens, and which of them are learned."""

    tokens: list[int] = field(default_factory=list[int])
    learned: list[bool] = field(default_factory=list[bool])


def segments(document: Document) -> list[Segment]:
    """Cut a document where the engine cuts it."""
    parts: list[Segment] = [("<|im_start|>system\n", True, False)]
    if document.system:
        parts.append((document.system, False, False))
    elif not document.tools:
        parts.append((DEFAULT_SYSTEM, True, False))
    if document.tools:
        parts.append(("\n<tools>\n", True, False))
        for tool in document.tools:
            parts += [(render_tool(tool), False, False), ("\n", True, False)]
        parts.append(("</tools>", True, False))
    parts.append((f"{END}\n", True, False))
    for turn in document.turns:
        parts += _turn_segments(turn)
    return _joined([part for part in parts if part[0]])


def _turn_segments(turn: Turn) -> list[Segment]:
    if turn.role != "assistant":
        return [(f"<|im_start|>{turn.role}\n", True, False), (turn.text, False, False), (f"{END}\n", True, False)]
    learned = turn.learned
    parts: list[Segment] = [("<|im_start|>assistant\n", True, False), (turn.text, False, learned)]
    for index, call in enumerate(turn.calls):
        newline = "\n" if index or turn.text else ""
        parts += [
            (f'{newline}<tool_call>\n{{"name": ', True, learned),
            (json.dumps(call.name, ensure_ascii=False), False, learned),
            (', "arguments": ', True, learned),
            (render_json(call.arguments), False, learned),
            ("}\n</tool_call>", True, learned),
        ]
    return [*parts, (END, True, learned), ("\n", True, False)]


def _joined(parts: list[Segment]) -> list[Segment]:
    """What the template writes between two texts of a client is encoded as one; a cut for `learned` stays, and falls
    beside a control token, so that it changes no token.
    """
    joined: list[Segment] = []
    for text, is_template, learned in parts:
        if joined and is_template and joined[-1][1] and joined[-1][2] == learned:
            joined[-1] = (joined[-1][0] + text, True, learned)
        else:
            joined.append((text, is_template, learned))
    return joined


class Encoder:
    """Turns documents into tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}

    def encode(self, document: Document) -> Encoded:
        encoded = Encoded()
        for text, is_template, learned in segments(document):
            ids = self._template(text) if is_template else self._content(text)
            encoded.tokens += ids
            encoded.learned += [learned] * len(ids)
        return encoded

    def prompt(self, document: Document) -> list[int]:
        """A document that an answer is to follow."""
        parts = [*segments(document), ("<|im_start|>assistant\n", True, False)]
        return [
            token
            for text, is_template, _ in _joined(parts)
            for token in (self._template(text) if is_template else self._content(text))
        ]

    def _content(self, text: str) -> list[int]:
        self._tokenizer.encode_special_tokens = True  # a client's `<|im_end|>` is text
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _template(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._tokenizer.encode_special_tokens = False
            self._pieces[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._pieces[text]


def load_tokenizer(gguf: pathlib.Path) -> Tokenizer:
    """The tokenizer of a GGUF, cached beside it: the one that the engine builds from the same file."""
    from renga.models.engine.loading.gguf import build_tokenizer_json, read_metadata

    path = gguf.with_name("tokenizer.json")
    if not path.exists():
        path.write_text(build_tokenizer_json(read_metadata(gguf)), encoding="utf-8")
    return Tokenizer.from_file(str(path))
