"""A tokenizer and corpora so small that a test can train on them."""

import pathlib
from random import Random

from training.data.documents import Document, Encoder, Turn
from training.data.mixture import pack_documents
from training.data.tokenizer import load_tokenizer, train_tokenizer
from training.generators.support import arithmetic, recall
from training.train import Corpora


def make_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    random = Random(0)
    texts = [turn.text for _ in range(300) for turn in arithmetic(random).turns]
    texts += ["Book a table in Brookneal", '{"city":"Brookneal","seats":12}', "Wäre schön", "the city seats"] * 20
    texts += ['{"city":{"type":"string"},"seats":{"type":"string"}}'] * 20
    path = folder / "tokenizer.json"
    train_tokenizer(texts, inner_tokens=350, capital_tokens=20, spaced_tokens=30).save(str(path))
    return path


def make_corpora(tokenizer_path: pathlib.Path) -> Corpora:
    encoder = Encoder(load_tokenizer(tokenizer_path))
    random = Random(1)
    documents = [arithmetic(random) for _ in range(200)]
    documents.append(Document((Turn("user", "hi"), Turn("assistant", "hello")), "Be brief."))
    documents += [recall(random) for _ in range(100)]
    corpus = pack_documents([(encoder.encode(document), 1) for document in documents])
    return dict.fromkeys(("main", "skills", "focus", "prose"), corpus)
