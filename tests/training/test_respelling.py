"""A network under another tokenizer keeps what both tokenizers spell alike."""

import pathlib


def test_tokens_that_both_know_keep_their_embedding_and_others_are_means(tmp_path: pathlib.Path) -> None:
    import torch
    from training.model import Hokku
    from training.respelling import respell
    from training.sizes import SIZES
    from training.tokenizer import load_tokenizer, piece_groups, train_tokenizer

    texts = ["Book a table in Brookneal", "a list of tables", "brook books"] * 20
    tokenizers = []
    for index, size in enumerate((300, 275)):
        path = tmp_path / f"{index}.json"
        train_tokenizer(texts, inner_tokens=size, spaced_tokens=8).save(str(path))
        tokenizers.append(load_tokenizer(path))
    new, old = tokenizers
    groups, flags = piece_groups(old)
    model = Hokku(SIZES["test"].shape(len(groups)), groups, flags)
    torch.nn.init.normal_(model.embedding.own, std=0.02)
    respelled = respell(model, old, new)
    before, after = model.embedding.table(), respelled.embedding.table()
    assert len(after) == new.get_vocab_size() > len(before)
    known = [
        (new.token_to_id(name), token) for name, token in old.get_vocab().items() if new.token_to_id(name) is not None
    ]
    assert len(known) > 250
    for token, held in known:
        torch.testing.assert_close(after[token], before[held])
    word = "Brookneal"
    (token,), pieces = new.encode(word).ids, old.encode(word).ids
    assert len(pieces) > 1
    torch.testing.assert_close(after[token], before[pieces].mean(0))
    assert torch.equal(respelled.blocks[0].gate.weight, model.blocks[0].gate.weight)
