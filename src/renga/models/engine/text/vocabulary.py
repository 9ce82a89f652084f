"""Text to token ids and back.

Owns: a model's vocabulary, read from the Hugging Face `tokenizer.json` beside the model, and the bytes of each token.
Must never know: chat templates, requests, the engine process.
Invariants: `encode(..., parse_special=False)` never yields an added token, whatever the text says; a `Decoder` never
emits part of a character, and the concatenation of what it emits is the decoded text.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from renga.errors import ConfigError

_META = "▁"


def _byte_of_char() -> dict[str, int]:
    """Build the table from the printable characters of byte-level BPE to the bytes they stand for.

    Source: GPT-2, encoder.py `bytes_to_unicode`: printable Latin-1 stands for itself, the rest moves above U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(moved)}


_BYTE_OF_CHAR = _byte_of_char()


class Vocabulary:
    """One model's tokens. Cheap to share: everything but the memo of token bytes is fixed when it is made."""

    def __init__(self, tokenizer_json: str) -> None:
        """Build from the text of a `tokenizer.json`.

        Raises: ConfigError if its decoder is neither byte-level nor sentencepiece-like.
        Cost:   about 1 us a token of the vocabulary.
        """
        definition = json.loads(tokenizer_json)
        _drop_prefix_space(definition)
        added = definition["added_tokens"]
        self.added_token_ids: dict[str, int] = {token["content"]: token["id"] for token in added}
        """Every token that is not made by merging: the control tokens."""
        self._special_ids = {token["id"] for token in added if token["special"]}
        self._parsing = Tokenizer.from_str(json.dumps(definition))
        self._plain = Tokenizer.from_str(json.dumps(definition | {"added_tokens": [], "post_processor": None}))
        self._added_ids = frozenset(self.added_token_ids.values())
        self._is_byte_level = _is_byte_level(definition)
        self._bytes: list[bytes | None] = [None] * self._parsing.get_vocab_size(with_added_tokens=True)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a vocabulary from a `tokenizer.json` on disk."""
        return cls(path.read_text(encoding="utf-8"))

    @property
    def size(self) -> int:
        """Number of token ids, added ones included."""
        return len(self._bytes)

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Encode text; only with `parse_special` may a control token come out.

        Cost: 0.2 us a byte.
        """
        if not text:
            return []
        if parse_special:
            return self._parsing.encode(text, add_special_tokens=False).ids
        token_ids = self._plain.encode(text, add_special_tokens=False).ids
        if self._added_ids.isdisjoint(token_ids):
            return token_ids
        return [piece for token_id in token_ids for piece in self._spell(token_id)]

    def _spell(self, token_id: int) -> list[int]:
        """Write a control token that plain text happened to hit out of other tokens, one character at a time."""
        if token_id not in self._added_ids:
            return [token_id]
        text = self.token_bytes(token_id).decode()
        pieces = [piece for char in text for piece in self._plain.encode(char, add_special_tokens=False).ids]
        return [piece for piece in pieces if piece not in self._added_ids]

    def token_id(self, content: str) -> int | None:
        """Look up one token by its exact content."""
        return self._parsing.token_to_id(content)

    def is_special(self, token_id: int) -> bool:
        """Whether the token is hidden from text."""
        return token_id in self._special_ids

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one token stands for. A special token gives its content.

        Cost: 1 us the first time, 0.1 us after.
        """
        if token_id >= len(self._bytes):  # models pad their logits
            return b""
        known = self._bytes[token_id]
        if known is None:
            known = self._bytes[token_id] = self._compute_bytes(token_id)
        return known

    def _compute_bytes(self, token_id: int) -> bytes:
        content = self._parsing.id_to_token(token_id)
        if content is None:  # a hole: ids need not be dense
            return b""
        if token_id in self._added_ids:
            return content.encode()
        if self._is_byte_level:
            return bytes(_BYTE_OF_CHAR[char] for char in content)
        if len(content) == 6 and content.startswith("<0x"):
            return bytes.fromhex(content[3:5])
        return content.replace(_META, " ").encode()

    def decoder(self, *, visible: frozenset[str] = frozenset()) -> Decoder:
        """Make an incremental decoder that shows the special tokens named in `visible` and hides the others."""
        shown = {self.added_token_ids[content] for content in visible if content in self.added_token_ids}
        return Decoder(self, hidden=frozenset(self._special_ids - shown), strip_first_space=not self._is_byte_level)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode all at once; special tokens are hidden."""
        decoder = self.decoder()
        return decoder.push(token_ids) + decoder.finish()


class Decoder:
    """Turns the token ids of one answer into text as they arrive."""

    def __init__(self, vocabulary: Vocabulary, *, hidden: frozenset[int], strip_first_space: bool) -> None:
        self._vocabulary = vocabulary
        self._hidden = hidden
        self._strip = strip_first_space
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_ids: Iterable[int]) -> str:
        """Take more tokens and give the text that is complete by now.

        Cost: 0.4 us a token.
        """
        data = b"".join(self._vocabulary.token_bytes(token) for token in token_ids if token not in self._hidden)
        return self._strip_first(self._utf8.decode(data))

    def finish(self) -> str:
        """Give what was held back: a character cut short by the end becomes U+FFFD."""
        return self._strip_first(self._utf8.decode(b"", final=True))

    def _strip_first(self, text: str) -> str:
        """Drop the space that sentencepiece puts before the first word."""
        if self._strip and text:
            self._strip = False
            return text.removeprefix(" ")
        return text


def _drop_prefix_space(definition: dict[str, Any]) -> None:
    """Make pieces of one text encode as they would inside it: nothing is put in front of a piece.

    Chats are encoded piece by piece, template and content apart, and sentencepiece-like definitions would put a space
    before each.
    """
    for part, inner in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        whole: dict[str, Any] = definition.get(part) or {inner: []}
        steps: list[dict[str, Any]] = whole.get(inner, [whole])
        kept = [step | _WITHOUT_PREFIX.get(step["type"], {}) for step in steps if step["type"] != "Prepend"]
        definition[part] = {"type": "Sequence", inner: kept} if kept else None


_WITHOUT_PREFIX: dict[str, dict[str, Any]] = {
    "Metaspace": {"prepend_scheme": "never"},
    "ByteLevel": {"add_prefix_space": False},
}
"""What to change in the steps that put a space before a text."""


def _is_byte_level(definition: dict[str, Any]) -> bool:
    """Whether tokens are spelled in byte-level characters, or in sentencepiece's with `<0xNN>` for single bytes.

    Raises: ConfigError if neither.
    """
    decoder = cast("dict[str, Any]", definition.get("decoder") or {})
    kinds = {decoder.get("type"), *(step["type"] for step in decoder.get("decoders", []))}
    if "ByteLevel" in kinds:
        return True
    if kinds & {"Metaspace", "Replace", "ByteFallback"}:
        return False
    raise ConfigError(
        f"the tokenizer's decoder is {decoder.get('type')!r}, which Renga cannot stream",
        hint="models of the llama and qwen families have byte-level or sentencepiece tokenizers",
    )
