"""Train hokku's byte-level BPE tokenizer.

Owns:   the pre-tokenizer, the merges and the token ids. Knows nothing of the model.
Keeps:  a word is cut into the same pieces with and without a space before it. Merges inside words are learned first;
        "space + piece" is merged only afterwards, so copying " Brookneal" into "\"Brookneal" needs no respelling.
        Digits always stand alone.
"""

import json
import pathlib
from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
"""Never text: a content piece that spells one is encoded as ordinary characters."""
MARKER_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tools>", "</tools>")
"""Added but not special, so that a grammar can match their text."""

PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Source: GPT-2's pattern (openai/gpt-2 encoder.py) with digits split one by one."""
INNER_PATTERN = r"'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+|\s"
SPACE = "\u0120"
"""The byte-level spelling of a space. Source: GPT-2's byte table."""


def train_tokenizer(texts: Iterable[str], *, inner_tokens: int, spaced_tokens: int) -> Tokenizer:
    """Learn merges inside words, then one "space + piece" merge for the pieces that most often start a word."""
    kept = list(texts)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = _pre_tokenizer(INNER_PATTERN)
    trainer = trainers.BpeTrainer(
        vocab_size=inner_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=16,
    )
    inner.train_from_iterator(kept, trainer)
    starts: Counter[str] = Counter()
    for encoding in inner.encode_batch(kept):
        previous = ""
        for piece in encoding.tokens:
            if previous == SPACE and SPACE not in piece and not piece.isdigit():
                starts[piece] += 1
            previous = piece
    model = json.loads(inner.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    merges.extend((SPACE, piece) for piece, _ in starts.most_common(spaced_tokens))
    pieces = sorted(model["vocab"], key=lambda piece: model["vocab"][piece])
    pieces.extend(left + right for left, right in merges if left + right not in model["vocab"])
    merges.extend([(SPACE, SPACE), ("\u010a", "\u010a")])
    pieces.extend([SPACE * 2, "\u010a\u010a"])
    return _assemble(pieces, merges)


def _assemble(pieces: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    named = [*SPECIAL_TOKENS, *MARKER_TOKENS]
    vocabulary = {piece: index for index, piece in enumerate([*named, *dict.fromkeys(pieces)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKER_TOKENS])
    return tokenizer


def _pre_tokenizer(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def load_tokenizer(path: pathlib.Path) -> Tokenizer:
    """Read a tokenizer.json; content pieces are encoded without looking for special tokens."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def piece_groups(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """For every token: the group it shares an embedding base with, and its flags (1 = space before, 2 = capital).

    " Brook", "Brook" and "brook" are one group; the model learns one base for it and one vector for each flag.
    """
    size = tokenizer.get_vocab_size()
    names = [tokenizer.id_to_token(index) or "" for index in range(size)]
    first: dict[str, int] = {}
    groups: list[int] = []
    flags: list[int] = []
    for name in names:
        bare = name[1:] if name.startswith(SPACE) and len(name) > 1 and name[1] != SPACE else name
        spaced = int(bare != name)
        plain = name in SPECIAL_TOKENS or name in MARKER_TOKENS or not bare.isascii()
        key = name if plain else bare.lower()
        capital = 2 * int(not plain and bare != bare.lower())
        groups.append(first.setdefault(key, len(first)))
        flags.append((0 if plain else spaced) + capital)
    return groups, flags
