"""A trained network under another tokenizer.

Owns:   the new embedding: a token that the old tokenizer cut into pieces starts as their mean. Blocks stay as they are,
        and a second stream is left out, since its start is counted under the new tokenizer.
Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression" (EMNLP, industry track).
"""

from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.model import Hokku
from training.tokenizer import piece_groups


@torch.no_grad()
def respell(model: Hokku, old: Tokenizer, new: Tokenizer) -> Hokku:
    """The same blocks, with the new tokenizer's embedding."""
    groups, flags = piece_groups(new)
    respelled = Hokku(replace(model.shape, vocabulary=len(groups), matching=0), groups, flags)
    blocks = {
        name: value for name, value in model.state_dict().items() if not name.startswith(("embedding", "matching"))
    }
    respelled.load_state_dict(blocks, strict=False)
    embedding = respelled.embedding
    embedding.flag.copy_(model.embedding.flag)
    rows = _rows(model.embedding.table(), old, new) - embedding.flag[embedding.flags]
    counts = torch.zeros(len(embedding.base)).index_add_(0, embedding.groups, torch.ones(len(groups)))
    sums = torch.zeros_like(embedding.base).index_add_(0, embedding.groups, rows)
    embedding.base.copy_(sums / counts[:, None])
    embedding.own.copy_(rows - embedding.base[embedding.groups])
    return respelled


def _rows(table: Tensor, old: Tokenizer, new: Tokenizer) -> Tensor:
    """What the old table says of each new token. Shapes: -> (vocabulary, width)."""
    rows: list[Tensor] = []
    for token in range(new.get_vocab_size()):
        name = new.id_to_token(token) or ""
        known = old.token_to_id(name)
        pieces = [known] if known is not None else old.encode(new.decode([token])).ids
        rows.append(table[pieces].mean(0) if pieces else table.mean(0))
    return torch.stack(rows)
