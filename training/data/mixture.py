"""The mixture: which generator makes how much of the corpus, and the corpus as arrays of tokens.

Owns:   the weights and the cache of encoded documents. A corpus is a pure function of its seed, size and weights.
"""

import hashlib
import multiprocessing
import pathlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy
from tqdm import tqdm

from training.data.documents import Document, Encoded, Encoder
from training.data.sources import label_sets, prose
from training.data.tokenizer import load_tokenizer
from training.generators import copying, extraction, fresh, grounded, keywords, labels, support, tools

Generator = Callable[[Random], Document]
MIXTURE: tuple[tuple[Generator, float], ...] = (
    (labels.classify, 17.0),
    (keywords.keyword_classes, 6.0),
    (keywords.keyword_passages, 4.0),
    (labels.topic, 4.0),
    (fresh.mention, 5.0),
    (labels.moderate, 7.0),
    (labels.toxicity, 0.3),
    (extraction.slots, 16.0),
    (extraction.records, 8.0),
    (tools.invented, 9.0),
    (tools.from_slots, 2.5),
    (tools.api_dialogue, 0.3),
    (support.desk, 4.0),
    (support.macros, 1.0),
    (support.hand_over, 1.0),
    (support.refusal, 0.3),
    (support.small_talk, 0.5),
    (support.arithmetic, 0.4),
    (support.recall, 2.0),
    (copying.copying, 3.0),
    (grounded.desk_passage, 3.0),
    (grounded.prose_passage, 2.0),
    (fresh.facts, 4.0),
)
"""Generator and how often it is drawn, beside the others."""


SKILLS: tuple[tuple[Generator, float], ...] = (
    (fresh.mention, 22.0),
    (keywords.keyword_passages, 6.0),
    (extraction.records, 27.0),
    (tools.invented, 27.0),
    (fresh.facts, 8.0),
    (support.recall, 4.0),
    (copying.copying, 6.0),
)
"""The second mixture, for the start of the run: finding what comes again and copying it, and nothing else."""
FOCUS: tuple[tuple[Generator, float], ...] = (
    (labels.classify, 9.0),
    (keywords.keyword_classes, 11.0),
    (keywords.keyword_passages, 5.0),
    (labels.topic, 4.0),
    (fresh.mention, 3.0),
    (labels.moderate, 10.0),
    (extraction.slots, 19.0),
    (extraction.records, 14.0),
    (tools.invented, 24.0),
    (tools.from_slots, 0.5),
    (support.desk, 2.4),
    (support.hand_over, 0.7),
    (support.refusal, 0.2),
    (support.small_talk, 0.4),
    (support.arithmetic, 0.2),
    (support.recall, 0.4),
    (copying.copying, 0.8),
    (grounded.desk_passage, 8.0),
    (fresh.facts, 4.5),
)
"""The third mixture: less of what only prepares, more of what a desk is asked and of what is not met yet."""
WEIGHTS = {"moderate": 4, "toxicity": 2, "classify": 2, "keywords": 2, "mention": 2, "topic": 2, "keyword_passages": 2}
"""How much a learned token of a family counts. A label is a decision in one or two tokens, an object is many that are
easy: unweighted, moderation made 1.5 % of the loss at 8 % of the tokens."""
LONGEST_TOKENS = 800
"""Longer documents are left out; five tools with their schemas and a few calls stay below."""
MIXTURES = {"main": MIXTURE, "skills": SKILLS, "focus": FOCUS}


@dataclass(slots=True)
class Corpus:
    """Documents end to end."""

    tokens: numpy.ndarray
    "uint16"
    learned: numpy.ndarray
    "uint8: how much the loss of phase 2 counts a token"
    ends: numpy.ndarray
    "int64: the end of each document"
    pointers: numpy.ndarray
    "Shapes: (P, 4) int64: target, start and end, counted over the whole corpus, and kind; targets ascend."


def draw_document(random: Random, mixture: str = "main") -> Document:
    """Draw a generator by weight, then a document."""
    generators = [generator for generator, _ in MIXTURES[mixture]]
    return random.choices(generators, weights=[share for _, share in MIXTURES[mixture]])[0](random)


def _encode_part(task: tuple[str, str, int, int, int]) -> tuple[Corpus, Counter[str]]:
    tokenizer_path, mixture, seed, token_budget, longest_tokens = task
    random = Random(seed)
    encoder = Encoder(load_tokenizer(pathlib.Path(tokenizer_path)), random)
    documents: list[tuple[Encoded, int]] = []
    families: Counter[str] = Counter()
    while families.total() < token_budget:
        document = draw_document(random, mixture)
        encoded = encoder.encode(document)
        if len(encoded.tokens) > longest_tokens:
            continue
        documents.append((encoded, WEIGHTS.get(document.family, 1)))
        families[document.family] += len(encoded.tokens)
    return pack_documents(documents), families


def pack_documents(documents: list[tuple[Encoded, int]]) -> Corpus:
    """Lay documents end to end; each comes with how much its learned tokens count."""
    ends = numpy.cumsum([len(encoded.tokens) for encoded, _ in documents])
    pointers = [
        (start + one.target, start + one.start, start + one.end, one.kind)
        for start, (encoded, _) in zip([0, *ends[:-1]], documents, strict=True)
        for one in encoded.pointers
    ]
    return Corpus(
        numpy.concatenate([numpy.array(encoded.tokens, numpy.uint16) for encoded, _ in documents]),
        numpy.concatenate([weight * numpy.array(encoded.learned, numpy.uint8) for encoded, weight in documents]),
        ends,
        numpy.array(pointers, numpy.int64).reshape(-1, 4),
    )


def build_corpus(
    tokenizer_path: pathlib.Path, *, mixture: str, seed: int, token_budget: int, longest_tokens: int
) -> Corpus:
    """Draw documents until the budget is full, on all cores; the result does not depend on their number."""
    parts = 16
    budget = token_budget // parts
    tasks = [(str(tokenizer_path), mixture, seed * 1000 + part, budget, longest_tokens) for part in range(parts)]
    for generator, _ in MIXTURES[mixture]:
        generator(Random(0))  # reads the sets once, before the processes part
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = list(tqdm(pool.imap(_encode_part, tasks), total=parts, desc="corpus"))
    families: Counter[str] = Counter()
    offset = 0
    for part, counted in results:
        part.ends += offset
        part.pointers[:, :3] += offset
        offset += len(part.tokens)
        families.update(counted)
    for family, count in families.most_common():
        print(f"  {family:16s} {count / offset:6.1%}")
    built = [part for part, _ in results]
    return Corpus(
        numpy.concatenate([part.tokens for part in built]),
        numpy.concatenate([part.learned for part in built]),
        numpy.concatenate([part.ends for part in built]),
        numpy.concatenate([part.pointers for part in built]),
    )


def load_corpus(
    folder: pathlib.Path, *, seed: int, token_budget: int, longest_tokens: int, mixture: str = "main"
) -> Corpus:
    """Read the cached corpus, or build it; the cache's name holds everything that it depends on."""
    tokenizer_path = folder / "tokenizer.json"
    here = pathlib.Path(__file__)
    sources = [*sorted(here.parent.glob("generators/*.py")), here, tokenizer_path]
    sources += [here.with_name(name) for name in ("documents.py", "supervision_weight.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:10]
    path = folder / f"{mixture}-{digest}-{seed}-{token_budget}-{longest_tokens}.npz"
    if not path.exists():
        corpus = build_corpus(
            tokenizer_path, mixture=mixture, seed=seed, token_budget=token_budget, longest_tokens=longest_tokens
        )
        numpy.savez(path, tokens=corpus.tokens, learned=corpus.learned, ends=corpus.ends, pointers=corpus.pointers)
    with numpy.load(path) as arrays:
        return Corpus(arrays["tokens"], arrays["learned"], arrays["ends"], arrays["pointers"])


def tokenizer_texts(seed: int, *, documents: int, pages: int) -> list[str]:
    """Texts that the tokenizer is trained on: prose and messages above all, so that words which no document happens to
    have stay whole, and some of the mixture's documents.
    """
    random = Random(seed)
    texts = [text for labels in label_sets().values() for messages in labels.values() for text in messages[:60]]
    for _ in range(documents):
        document = draw_document(random)
        texts += [document.system, *(turn.text for turn in document.turns)]
    for _, text in random.sample(prose(), pages):
        texts.append(text[:2000])
    for _, text in prose():
        texts += [text[start : start + 2000] for start in range(20_000, min(len(text), 400_000), 8000)]
    return texts


def load_prose(folder: pathlib.Path, *, token_budget: int, piece_tokens: int = 384) -> Corpus:
    """Documentation and books cut into pieces, every token learned; for phase 1."""
    path = folder / f"prose-{token_budget}-{piece_tokens}.npz"
    if not path.exists():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        pages = prose()
        Random(0).shuffle(pages)
        tokens: list[int] = []
        for start in range(0, len(pages), 256):
            encodings = tokenizer.encode_batch_fast([text[:6000] for _, text in pages[start : start + 256]])
            tokens += [token for encoding in encodings for token in encoding.ids]
            if len(tokens) >= token_budget:
                break
        whole = len(tokens) // piece_tokens * piece_tokens
        numpy.savez(path, tokens=numpy.array(tokens[:whole], numpy.uint16), piece_tokens=numpy.array(piece_tokens))
    with numpy.load(path) as arrays:
        array, piece = arrays["tokens"], int(arrays["piece_tokens"])
    ends = numpy.arange(piece, len(array) + 1, piece, dtype=numpy.int64)
    return Corpus(array, numpy.ones(len(array), numpy.uint8), ends, numpy.zeros((0, 4), numpy.int64))
