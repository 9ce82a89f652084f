"""A tokenizer and corpora so small that a test can train on them."""

import pathlib
from random import Random

import numpy
from training.documents import Document, Encoder, Turn
from training.generators.support import arithmetic
from training.mixture import Corpus
from training.tokenizer import load_tokenizer, train_tokenizer
from training.train import Corpora


def make_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    random = Random(0)
    texts = [turn.text for _ in range(300) for turn in arithmetic(random).turns]
    texts += ["Book a table in Brookneal", '{"city":"Brookneal","seats":12}', "Wäre schön"] * 20
    path = folder / "tokenizer.json"
    train_tokenizer(texts, inner_tokens=330, spaced_tokens=30).save(str(path))
    return path


def make_corpora(tokenizer_path: pathlib.Path) -> Corpora:
    encoder = Encoder(load_tokenizer(tokenizer_path))
    random = Random(1)
    documents = [arithmetic(random) for _ in range(200)]
    documents.append(Document((Turn("user", "hi"), Turn("assistant", "hello")), "Be brief."))
    tokens: list[int] = []
    learned: list[bool] = []
    ends: list[int] = []
    for document in documents:
        encoded = encoder.encode(document)
        tokens += encoded.tokens
        learned += encoded.learned
        ends.append(len(tokens))
    corpus = Corpus(
        numpy.array(tokens, numpy.uint16), numpy.array(learned, numpy.uint8), numpy.array(ends, numpy.int64)
    )
    return Corpora(corpus, corpus, corpus, corpus, corpus)
