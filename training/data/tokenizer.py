r"""Train hokku's byte-level BPE tokenizer.

Owns:   the pre-tokenizer, the merges and the token ids. Knows nothing of the model.
Keeps:  a word is cut into the same pieces with and without a space before it and with and without a capital, so copying
        " brookneal" into "\"Brookneal" needs no respelling, and `bookHotel` is cut as `book_hotel` is. Merges inside
        words are learned from small letters and repeated for a capital in front; "space + piece" is merged only
        afterwards. Digits always stand alone.
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


def train_tokenizer(texts: Iterable[str], *, inner_tokens: int, capital_tokens: int, spaced_tokens: int) -> Tokenizer:
    """Learn merges inside words, repeat those that most often start a word for a capital, then "space + piece"."""
    kept = list(texts)
    small = [text.lower() for text in kept]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = _pre_tokenizer(INNER_PATTERN)
    trainer = trainers.BpeTrainer(
        vocab_size=inner_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=16,
    )
    inner.train_from_iterator(small, trainer)
    model = json.loads(inner.to_str())["model"]
    pieces = sorted(model["vocab"], key=lambda piece: model["vocab"][piece])
    starts = _count_starts(inner, small)
    merges = _with_capitals([(left, right) for left, right in model["merges"]], starts, capital_tokens)
    inner.model = models.BPE(vocab=_vocabulary(pieces, merges), merges=merges)
    starts = _count_starts(inner, kept)
    merges.extend((SPACE, piece) for piece, _ in starts.most_common(spaced_tokens))
    merges.extend([(SPACE, SPACE), ("\u010a", "\u010a")])
    return _assemble(pieces, merges)


def _count_starts(inner: Tokenizer, texts: list[str]) -> Counter[str]:
    """How often each piece follows a space."""
    starts: Counter[str] = Counter()
    for encoding in inner.encode_batch(texts):
        previous = ""
        for piece in encoding.tokens:
            if previous == SPACE and SPACE not in piece and not piece.isdigit():
                starts[piece] += 1
            previous = piece
    return starts


def _with_capitals(merges: list[tuple[str, str]], starts: Counter[str], most: int) -> list[tuple[str, str]]:
    """Each merge, and behind it the same one with a capital if it leads to one of the pieces that most often start."""
    lefts = {left + right: left for left, right in merges}
    wanted: set[str] = set()
    for piece, _ in starts.most_common():
        part: str | None = piece
        while len(wanted) < most and part in lefts and part not in wanted and "a" <= part[0] <= "z":
            wanted.add(part)
            part = lefts[part]
    found: list[tuple[str, str]] = []
    for left, right in merges:
        found.append((left, right))
        if left + right in wanted:
            found.append((left[0].upper() + left[1:], right))
    return found


def _vocabulary(pieces: list[str], merges: list[tuple[str, str]]) -> dict[str, int]:
    names = dict.fromkeys([*pieces, *(left + right for left, right in merges)])
    return {piece: index for index, piece in enumerate(names)}


def _assemble(pieces: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    named = [*SPECIAL_TOKENS, *MARKER_TOKENS]
    vocabulary = _vocabulary([*named, *pieces], merges)
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
