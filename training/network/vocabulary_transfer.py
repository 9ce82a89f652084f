"""A trained network under another tokenizer.

Owns:   the new embeddings. A word that the old tokenizer had in another spelling starts as that one; one that it cut
        into pieces starts as their mean. In the second stream, which compares words by what they mean, that one starts
        where its meaning stands among the words that both have. Everything else stays as it is.
Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression" (EMNLP, industry track).
"""

from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.data.tokenizer import piece_groups
from training.network.matching_stream import WordVectors
from training.network.model import Hokku

BASE = "matching.base"


@torch.no_grad()
def transfer_vocabulary(model: Hokku, old: Tokenizer, new: Tokenizer, word_vectors: WordVectors | None) -> Hokku:
    """The same network with the new tokenizer's embeddings; `word_vectors` were counted under that one.

    Without them a second stream is left out.
    """
    groups, flags = piece_groups(new)
    matching_d_model = model.shape.matching_d_model if word_vectors is not None else 0
    transferred = Hokku(replace(model.shape, vocabulary=len(groups), matching_d_model=matching_d_model), groups, flags)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith(("embedding", BASE))}
    transferred.load_state_dict(kept, strict=False)
    embedding = transferred.embedding
    embedding.flag.copy_(model.embedding.flag)
    rows, known = _rows(model.embedding.table(), old, new)
    rows -= embedding.flag[embedding.flags]
    unknown_groups = ~torch.isin(embedding.groups, embedding.groups[known])
    embedding.base.copy_(_group_means(rows, embedding.groups, known | unknown_groups))
    embedding.own.copy_((rows - embedding.base[embedding.groups]) * known[:, None])
    if model.matching is not None and transferred.matching is not None and word_vectors is not None:
        same = _same_groups(old, new)
        transferred.matching.base.copy_(_translate(model.matching.base, same, word_vectors))
    return transferred


def _rows(table: Tensor, old: Tokenizer, new: Tokenizer) -> tuple[Tensor, Tensor]:
    """What the old table says of each new token, and whether that has it. Shapes: -> (tokens, d_model), (tokens,)."""
    rows: list[Tensor] = []
    known: list[bool] = []
    for token in range(new.get_vocab_size()):
        name = new.id_to_token(token) or ""
        same = old.token_to_id(name)
        pieces = [same] if same is not None else old.encode(new.decode([token])).ids
        rows.append(table[pieces].mean(0) if pieces else table.mean(0))
        known.append(same is not None)
    return torch.stack(rows), torch.tensor(known)


def _group_means(rows: Tensor, groups: Tensor, counted: Tensor) -> Tensor:
    """The mean of each group's counted rows.

    Shapes: (tokens, d_model), (tokens,), (tokens,) bool -> (groups, d_model).
    """
    size = int(groups.max()) + 1
    sums = torch.zeros(size, rows.shape[1]).index_add_(0, groups[counted], rows[counted])
    return sums / torch.bincount(groups[counted], minlength=size)[:, None]


def _same_groups(old: Tokenizer, new: Tokenizer) -> dict[int, int]:
    """The old group of each new group that has a token in common with one."""
    old_groups, new_groups = piece_groups(old)[0], piece_groups(new)[0]
    names = new.get_vocab()
    return {new_groups[names[name]]: old_groups[token] for name, token in old.get_vocab().items() if name in names}


def _translate(base: Tensor, same: dict[int, int], word_vectors: WordVectors) -> Tensor:
    """The second stream's base for new groups. Shapes: (old groups, d_model) -> (new groups, d_model)."""
    known = torch.cat(
        (word_vectors.vectors, word_vectors.rarity[:, None], torch.ones(len(word_vectors.rarity), 1)), dim=1
    )
    shared = torch.tensor(sorted(same))
    wanted = base[torch.tensor([same[int(group)] for group in shared])]
    translated = known @ torch.linalg.lstsq(known[shared], wanted).solution
    translated[shared] = wanted
    return translated
