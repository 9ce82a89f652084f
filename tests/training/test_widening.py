"""A wider second stream finds the entry whose words are asked for in a message, and keeps what the narrow one knew."""

import pathlib
from random import Random
from typing import Any

from .test_matching import ASSISTANT, DASH, END, SYSTEM, USER, WORDS, choices, make_model

MARKS = {USER: 1.0, WORDS + 5: 1.0, SYSTEM: -1.0, ASSISTANT: 0.0}


def make_prompt(random: Random) -> tuple[list[int], int]:
    """Five entries of two words and a message with the even words' odd partners; and which entry is meant."""
    drawn, wanted = [2 * index for index in random.sample(range(WORDS // 2), 20)], random.randrange(5)
    tokens = [SYSTEM]
    for index in range(5):
        tokens += [DASH, *drawn[2 * index : 2 * index + 2]]
    partners = [word + 1 for word in drawn]
    said = [*partners[10:13], *partners[2 * wanted : 2 * wanted + 2], partners[13]]
    return [*tokens, END, USER, *said, END, ASSISTANT], wanted


def make_wide(model: Any, random: Random) -> Any:
    """An even word and the odd one after it are alike."""
    import torch
    from training.likeness import DIMENSIONS, Likeness
    from training.widening import widen

    count = len(model.embedding.groups)
    vectors = torch.nn.functional.normalize(torch.randn(count, DIMENSIONS), dim=1)
    vectors[1:WORDS:2] = vectors[0:WORDS:2]
    weights = torch.where(torch.arange(count) < WORDS, 1.0, -10.0)
    vectors[WORDS:] = 0.0
    documents = [torch.tensor(make_prompt(random)[0]) for _ in range(20)]
    return widen(model, Likeness(vectors, weights), MARKS, documents)


def test_an_entry_is_found_by_words_that_it_does_not_have() -> None:
    import torch

    narrow = make_model(spare=1)[1]
    wide = make_wide(narrow, Random(1))
    found = {"narrow": 0, "wide": 0}
    random = Random(0)
    for _ in range(40):
        tokens, wanted = make_prompt(random)
        for name, model in (("narrow", narrow), ("wide", wide)):
            weights = choices(model.matching, torch.tensor(tokens))[0]
            shares = [float(weights[2 + 3 * index : 5 + 3 * index].sum()) for index in range(5)]
            found[name] += shares.index(max(shares)) == wanted
    assert found["wide"] >= 34 and found["narrow"] <= 16, f"{found} of 40; chance would be 8"


def test_what_a_word_speaks_of_is_still_found() -> None:
    """The head that compares single words is not among those that are written anew."""
    import torch

    model = make_wide(make_model(spare=1)[1], Random(1))
    random, found = Random(0), 0
    for _ in range(40):
        tokens, wanted = make_prompt(random)
        spoken = tokens[2 + 3 * wanted]
        weights = choices(model.matching, torch.tensor([*tokens[:20], spoken]))[1]
        shares = [float(weights[2 + 3 * index : 4 + 3 * index].sum()) for index in range(5)]
        found += shares.index(max(shares)) == wanted
    assert found >= 32, f"{found} of 40; chance would be 8"


def test_what_gathers_learned_words_is_held() -> None:
    """Everything else of the second stream learns on."""
    import torch
    from training.widening import hold

    matching = make_wide(make_model(spare=1)[1], Random(1)).matching
    tokens = torch.tensor(make_prompt(Random(0))[0])[None]
    hidden, _, _ = matching(tokens, torch.arange(tokens.shape[1])[None], None)
    (hidden * torch.randn_like(hidden)).sum().backward()
    hold(matching)
    width = matching.base.shape[1]
    for part, learns, held in ((matching.look, (0, 64), (64, 192)), (matching.gather, (0, 64), (64, 128))):
        for layer in (part.query, part.key, part.value):
            assert not layer.weight.grad[slice(*held)].any() and layer.weight.grad[slice(*learns)].any()
        assert part.output.weight.grad[:width, slice(*learns)].any()
        assert not part.output.weight.grad[width:].any() and not part.output.weight.grad[:, slice(*held)].any()
    assert (
        matching.base.grad.any() and matching.norms[0].grad[:width].any() and not matching.norms[0].grad[width:].any()
    )


def test_the_exported_graph_has_the_wide_stream(tmp_path: pathlib.Path) -> None:
    import numpy
    import torch
    from training.export import compare_logits, write_folder
    from training.optimizer import Optimizer
    from training.train import Progress, load_model, save_checkpoint

    from .tiny import make_tokenizer

    make_tokenizer(tmp_path)
    model = make_wide(make_model(spare=1)[1], Random(1))
    torch.nn.init.normal_(model.matching.choose.output.weight, std=0.1)
    optimizer = Optimizer(model, matrix_rate=0.01, rest_rate=0.01, gain_rate=0.01, weight_decay=0.0)
    save_checkpoint(tmp_path / "checkpoint.pt", model, optimizer, Progress())
    tokens = numpy.random.default_rng(0).integers(12, WORDS, (2, 90))
    again, _ = load_model(tmp_path / "checkpoint.pt")
    assert torch.equal(again.logits(torch.from_numpy(tokens)), model.logits(torch.from_numpy(tokens)))
    write_folder(tmp_path / "checkpoint.pt", tmp_path, bits=32)
    assert compare_logits(model, tmp_path, tokens).max() < 1e-4


def test_a_run_widens_once(tmp_path: pathlib.Path) -> None:
    import torch
    from training.likeness import DIMENSIONS, Likeness
    from training.sizes import SIZES
    from training.tokenizer import load_tokenizer, piece_groups
    from training.train import Beginning, Run

    from .test_matching import make_meanings
    from .tiny import make_corpora, make_tokenizer

    path = make_tokenizer(tmp_path)
    groups, _ = piece_groups(load_tokenizer(path))
    bases = max(groups) + 1
    meanings = make_meanings(bases, bases - 4, roles=(1.0, 1.0, -1.0, 0.0))
    likeness = Likeness(torch.nn.functional.normalize(torch.randn(bases, DIMENSIONS), dim=1), torch.randn(bases))
    beginning = Beginning(meanings=meanings, likeness=likeness)
    run = Run(tmp_path, SIZES["test"], make_corpora(path), seed=1, beginning=beginning)
    assert run.model.matching is not None
    table = run.model.matching.table().detach()
    assert "matching.likeness" not in dict(run.model.named_parameters())
    run.save()
    again = Run(tmp_path, SIZES["test"], make_corpora(path), seed=1, beginning=beginning)
    assert again.model.matching is not None
    assert torch.equal(again.model.matching.table(), table)
