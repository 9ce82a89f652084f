"""The second stream finds the entry of a list that is like a message, and changes nothing until it has learned."""

import pathlib
from random import Random
from typing import Any

WORDS = 400
SYSTEM, USER, ASSISTANT, END, DASH = range(WORDS, WORDS + 5)


def make_word_vectors(bases: int, words: int) -> Any:
    """Random word vectors for the first bases, none for the rest."""
    import torch
    from training.network.matching_stream import WordVectors

    torch.manual_seed(0)
    vectors, rarity = torch.nn.functional.normalize(torch.randn(bases, 96), dim=1), torch.rand(bases)
    vectors[words:], rarity[words:] = 0.0, -2.0
    roles = {words + index: role for index, role in enumerate((-1.0, 1.0, 0.0))}
    return WordVectors(vectors, rarity, roles)


def make_model(d_model: int = 192) -> Any:
    from training.network.matching_stream import grow
    from training.network.model import Hokku
    from training.network.sizes import SIZES

    count = WORDS + 5
    plain = Hokku(SIZES["test"].shape(count), list(range(count)), [0] * count)
    return plain, grow(plain, make_word_vectors(count, WORDS), d_model=d_model)


def choices(matching: Any, tokens: Any) -> Any:
    """Where the last token would have the first stream read. Shapes: tokens (T,) -> (heads, T)."""
    import torch
    from training.network.model import normalize, rotate

    shape, part = matching.shape, matching.choose
    with torch.no_grad():
        hidden, cos, sin = matching(tokens[None], torch.arange(len(tokens))[None], None)

        def split(values: Any) -> Any:
            return values.view(1, len(tokens), shape.heads, shape.head_dim).transpose(1, 2)

        query = rotate(normalize(split(part.query(hidden)), part.query_norm), cos, sin)[0, :, -1:]
        key = rotate(normalize(split(part.key(hidden)), part.key_norm), cos, sin)[0]
    return (query @ key.transpose(1, 2) / shape.head_dim**0.5)[:, 0].softmax(-1)


def test_a_grown_network_says_what_it_said() -> None:
    import torch

    plain, grown = make_model()
    tokens = torch.randint(WORDS, (2, 60))
    assert torch.equal(plain.logits(tokens), grown.logits(tokens))


def test_the_entry_that_a_later_message_has_a_word_of_is_found() -> None:
    """From the answer by the whole message, and from the word itself, which is easier."""
    import torch

    _, model = make_model()
    random, found = Random(0), [0, 0]
    for _ in range(40):
        drawn, wanted = random.sample(range(WORDS), 24), random.randrange(5)
        entries, others = [drawn[2 * index : 2 * index + 2] for index in range(5)], drawn[10:]
        tokens = [SYSTEM]
        for entry in entries:
            tokens += [DASH, *entry]
        tokens += [END, USER, *others[:3], random.choice(entries[wanted])]
        whole = [*tokens, *others[3:6], END, ASSISTANT]
        for head, seen in enumerate((whole, tokens)):
            weights = choices(model.matching, torch.tensor(seen))[head]
            shares = [float(weights[2 + 3 * index : 4 + 3 * index].max()) for index in range(5)]
            found[head] += shares.index(max(shares)) == wanted
    assert found[0] >= 16 and found[1] >= 32, f"{found} of 40; chance would be 8"


def test_the_exported_graph_has_both_streams(tmp_path: pathlib.Path) -> None:
    import numpy
    import torch
    from training.export import compare_logits, write_folder
    from training.network.matching_stream import grow
    from training.network.optimizer import Optimizer
    from training.network.sizes import SIZES
    from training.train import Progress, Run, save_checkpoint

    from .tiny import make_corpora, make_tokenizer

    run = Run(tmp_path, SIZES["test"], make_corpora(make_tokenizer(tmp_path)), seed=1)
    bases = max(run.model.embedding.groups.tolist()) + 1
    model = grow(run.model, make_word_vectors(bases, bases - 3), d_model=96)
    torch.nn.init.normal_(model.matching.choose.output.weight, std=0.1)
    optimizer = Optimizer(model, matrix_rate=0.01, rest_rate=0.01, gain_rate=0.01, weight_decay=0.0)
    save_checkpoint(run.path, model, optimizer, Progress())
    tokens = numpy.random.default_rng(0).integers(12, model.shape.vocabulary, (2, 90))
    for bits in (8, 32):
        folder = tmp_path / str(bits)
        folder.mkdir()
        write_folder(run.path, folder, bits=bits)
        apart = compare_logits(model, folder, tokens)
        assert apart.mean() < 0.3 if bits == 8 else apart.max() < 1e-4
