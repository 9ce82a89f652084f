"""A network under another tokenizer keeps what both tokenizers spell alike."""

import pathlib
from random import Random
from typing import Any


def test_tokens_that_both_know_keep_their_embedding_and_others_are_means(tmp_path: pathlib.Path) -> None:
    import torch
    from training.data.tokenizer import load_tokenizer, piece_groups, train_tokenizer
    from training.network.matching_stream import grow
    from training.network.model import Hokku
    from training.network.sizes import SIZES
    from training.network.vocabulary_transfer import transfer_vocabulary

    texts = ["Book a table in Brookneal", "a list of tables", "brook books"] * 20
    tokenizers = []
    for index, (size, capitals) in enumerate(((300, 8), (268, 0))):
        path = tmp_path / f"{index}.json"
        train_tokenizer(texts, inner_tokens=size, capital_tokens=capitals, spaced_tokens=8).save(str(path))
        tokenizers.append(load_tokenizer(path))
    new, old = tokenizers
    groups, flags = piece_groups(old)
    torch.manual_seed(0)
    model = grow(Hokku(SIZES["test"].shape(len(groups)), groups, flags), _word_vectors(old))
    torch.nn.init.normal_(model.embedding.own, std=0.02)
    transferred = transfer_vocabulary(model, old, new, _word_vectors(new))
    before, after = model.embedding.table(), transferred.embedding.table()
    assert len(after) == new.get_vocab_size() > len(before)
    known = [
        (new.token_to_id(name), token) for name, token in old.get_vocab().items() if new.token_to_id(name) is not None
    ]
    assert len(known) > 250
    for token, held in known:
        torch.testing.assert_close(after[token], before[held])
    new_groups, new_flags = piece_groups(new)
    spoken = after - transferred.embedding.flag[torch.tensor(new_flags)]
    kept, spelled_otherwise = dict(known), 0
    for token in set(range(new.get_vocab_size())) - set(kept):
        same = [other for other, group in enumerate(new_groups) if group == new_groups[token]]
        heard = [other for other in same if other in kept] or same
        means = [
            before[old.encode(new.decode([other])).ids].mean(0) - model.embedding.flag[new_flags[other]]
            for other in heard
        ]
        torch.testing.assert_close(spoken[token], torch.stack(means).mean(0))
        spelled_otherwise += heard[0] in kept
    assert 0 < spelled_otherwise < new.get_vocab_size() - len(kept)
    assert torch.equal(transferred.blocks[0].gate.weight, model.blocks[0].gate.weight)
    assert transferred.matching is not None and model.matching is not None
    assert torch.equal(transferred.matching.choose.query.weight, model.matching.choose.query.weight)
    for token, held in known:
        assert torch.equal(transferred.matching.base[new_groups[token]], model.matching.base[groups[held]])
    assert transferred.matching.base[new_groups[new.encode("table").ids[-1]]].isfinite().all()
    assert transfer_vocabulary(model, old, new, None).matching is None


def _word_vectors(tokenizer: Any) -> Any:
    """WordVectors that the spelling of a group decides, so that two tokenizers agree."""
    import torch
    from training.data.tokenizer import piece_groups
    from training.network.matching_stream import WordVectors

    groups, _ = piece_groups(tokenizer)
    vectors = torch.zeros(max(groups) + 1, 64)
    for token, group in enumerate(groups):
        spelled = Random((tokenizer.id_to_token(token) or "").lower().lstrip("\u0120"))
        vectors[group] = torch.tensor([spelled.gauss(0, 1) for _ in range(64)])
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return WordVectors(vectors, torch.zeros(len(vectors)), {})
