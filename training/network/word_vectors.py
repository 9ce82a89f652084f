"""What words have to do with each other, counted before anything is learned: the start of the embeddings.

Owns:   counting which pieces stand near each other in prose, and the vectors that follow.
        A list's word and a message's word that mean the same then look alike from the first step, which is what picking
        an option needs; a run of ten million tokens is too short to find it out (training/log.md).
Source: Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization": positive pointwise mutual
        information, smoothed by 0.75, then a truncated singular value decomposition.
"""

import pathlib

import numpy
import scipy.sparse.linalg
import torch

from training.data.sources import prose
from training.data.tokenizer import SPACE, load_tokenizer, piece_groups
from training.network.matching_stream import WordVectors

DISTANCES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)
"""How far pieces may stand from each other that count as near; near ones count more."""
PAGES = 2000
"""So many at a time."""
DIMENSIONS = 96
RARELY = 20
"""A base that was counted less often has no meaning."""
ROLES = {"<|user|>": 1.0, "<|tool|>": 1.0, "<|system|>": -1.0, "<|assistant|>": 0.0}


def count_neighbours(tokenizer_path: pathlib.Path) -> numpy.ndarray:
    """How often two bases of words stand near each other. Shapes: -> (bases, bases) float32."""
    tokenizer = load_tokenizer(tokenizer_path)
    groups = numpy.array(piece_groups(tokenizer)[0])
    bases = int(groups.max()) + 1
    worded = numpy.zeros(bases, bool)
    for token, group in enumerate(groups):
        name = (tokenizer.id_to_token(token) or "").lstrip(SPACE)
        worded[group] |= name.isalpha() and name.isascii()
    counts = numpy.zeros(bases * bases, numpy.float32)
    pages = prose()
    for first in range(0, len(pages), PAGES):
        encodings = tokenizer.encode_batch_fast([text for _, text in pages[first : first + PAGES]])
        rows = [groups[numpy.array(encoding.ids, int)] for encoding in encodings]
        kept = numpy.concatenate([row[worded[row]] for row in rows])
        page = numpy.repeat(numpy.arange(len(rows)), [worded[row].sum() for row in rows])
        for distance in DISTANCES:
            same = page[:-distance] == page[distance:]
            pairs = (kept[:-distance] * bases + kept[distance:])[same]
            counts += numpy.bincount(pairs, minlength=len(counts)) / distance**0.5
    square = counts.reshape(bases, bases)
    return square + square.T


def factorize_counts(counts: numpy.ndarray) -> numpy.ndarray:
    """Vectors of length one, zero for what was never seen. Shapes: (groups, groups) -> (groups, DIMENSIONS)."""
    seen = counts.sum(axis=1)
    smoothed = seen**0.75
    smoothed /= smoothed.sum()
    with numpy.errstate(divide="ignore", invalid="ignore"):
        information = numpy.log(counts / (seen[:, None] * smoothed[None]))
    information = numpy.where(numpy.isfinite(information), numpy.maximum(information, 0.0), 0.0).astype(numpy.float32)
    start = numpy.random.default_rng(0).standard_normal(len(counts)).astype(numpy.float32)
    left, values, _ = scipy.sparse.linalg.svds(information, k=DIMENSIONS + 1, v0=start)
    assert left is not None  # it is asked for
    order = numpy.argsort(-values)[1:]
    vectors = left[:, order] * values[order] ** 0.5
    vectors /= numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors * (seen > RARELY)[:, None]


def _rarity(seen: numpy.ndarray) -> numpy.ndarray:
    """A standard score, at most 1; -2 for what is no word. Shapes: (bases,) -> the same."""
    known = seen > RARELY
    score = -numpy.log(seen + 30)
    score = (score - score[known].mean()) / score[known].std() + 0.5
    return numpy.where(known, numpy.clip(score, -2.0, 1.0), -2.0)


def load_word_vectors(folder: pathlib.Path) -> WordVectors:
    """Count once a folder; the folder's tokenizer says what the bases are."""
    path, tokenizer_path = folder / "word_vectors.npz", folder / "tokenizer.json"
    if not path.exists():
        counts = count_neighbours(tokenizer_path)
        numpy.savez(path, vectors=factorize_counts(counts).astype(numpy.float32), rarity=_rarity(counts.sum(axis=1)))
    tokenizer = load_tokenizer(tokenizer_path)
    groups = piece_groups(tokenizer)[0]
    ids = {name: tokenizer.token_to_id(name) for name in ROLES}
    marks = {groups[token]: ROLES[name] for name, token in ids.items() if token is not None}
    with numpy.load(path) as arrays:
        return WordVectors(torch.from_numpy(arrays["vectors"]), torch.from_numpy(arrays["rarity"]).float(), marks)
