"""Weights that copy before anything is learned: heads that look one token back, and heads that find a repetition.

Owns:   the start of attention in the first two attention blocks. What a prompt's repetition is worth ("A B ... A" calls
        for B) is otherwise found late: a run of ten million tokens was a fifth over before it copied (training/log.md).
How:    a vector that all embeddings share makes constant queries and keys, whose rotary phase peaks at a distance;
        the next block compares a token with what stood before each earlier one, and writes what stood there.
Source: Olsson et al. 2022, "In-context Learning and Induction Heads"; Trockman and Kolter 2023 (mimetic starts).
"""

import torch
from torch import Tensor

from training.network.model import Attention, Hokku

PHASE_SHARES = (0.5, 0.22, 0.13, 0.09, 0.06)
"""How much of the score each of the fastest rotary pairs makes; together they repeat only after hundreds of tokens."""
PHASE_GAIN = 1.75
"""Gain of queries and keys there: the neighbours of the wanted distance get e^-4 of its weight."""
MATCH_GAIN = 1.4
COMMON = 0.5
"""Share of the shared vector in a normalized embedding, as a share of its length."""


@torch.no_grad()
def initialize_copying(model: Hokku) -> None:
    """Overwrite the start of the first two attention blocks and of the embedding's shared vectors."""
    shape = model.shape
    first, second = (model.blocks[index].attention for index in shape.attention_layers[:2])
    assert isinstance(first, Attention) and isinstance(second, Attention)
    common = torch.randn(shape.d_model)
    common /= common.norm()
    model.embedding.flag += COMMON * 0.02 * shape.d_model**0.5 * common
    carriers = max(1, shape.kv_heads - 1)
    before = _look_back(first, common, carriers=carriers)
    _find_repetition(second, first, before)


def _look_back(attention: Attention, common: Tensor, *, carriers: int) -> Tensor:
    """Let the first heads attend one token back, their pairs two or three. Shapes: -> values (carried, d_model)."""
    shape = attention.shape
    head_dim, half = shape.head_dim, shape.head_dim // 2
    shares = torch.tensor(PHASE_SHARES[:half])
    turns = shape.rope_base ** -(torch.arange(0, head_dim, 2).float() / head_dim)[: len(shares)]
    repeats = shape.heads // shape.kv_heads
    for index in range(len(shares)):
        for gain in (attention.query_norm, attention.key_norm):
            gain[index] = gain[index + half] = PHASE_GAIN
    values = orthogonal(carriers * head_dim, shape.d_model)
    values -= torch.outer(values @ common, common)
    attention.value.weight[: carriers * head_dim] = values
    for carrier in range(carriers):
        key = torch.zeros(head_dim)
        key[: len(shares)] = shares.sqrt()
        attention.key.weight[carrier * head_dim : (carrier + 1) * head_dim] = torch.outer(key, common)
        for pair in range(repeats):
            distance = 1 if pair == 0 else 2 + carrier % 2
            query = torch.zeros(head_dim)
            query[: len(shares)] = shares.sqrt() * (distance * turns).cos()
            query[half : half + len(shares)] = -shares.sqrt() * (distance * turns).sin()
            head = carrier * repeats + pair
            attention.query.weight[head * head_dim : (head + 1) * head_dim] = torch.outer(query, common)
    return values


def _find_repetition(attention: Attention, first: Attention, before: Tensor) -> None:
    """Compare each token with what stood before the earlier ones, and copy what stands there."""
    shape = attention.shape
    head_dim, half = shape.head_dim, shape.head_dim // 2
    repeats = shape.heads // shape.kv_heads
    carried = len(before)
    places = orthogonal(carried, shape.d_model)
    for carrier in range(carried // head_dim):
        head = carrier * repeats
        part = slice(carrier * head_dim, (carrier + 1) * head_dim)
        first.output.weight[:, head * head_dim : (head + 1) * head_dim] = places[part].T
    slow = [*range(half // 2, half), *range(half + half // 2, head_dim)]
    attention.query_norm.fill_(MATCH_GAIN)
    attention.key_norm.fill_(MATCH_GAIN)
    copied = orthogonal(shape.kv_heads * head_dim, shape.d_model)
    attention.value.weight.copy_(copied)
    for group in range(shape.kv_heads):
        mixing = orthogonal(len(slow), carried)
        head = group * repeats
        query, key = torch.zeros(head_dim, shape.d_model), torch.zeros(head_dim, shape.d_model)
        query[slow], key[slow] = mixing @ before, mixing @ places
        attention.query.weight[head * head_dim : (head + 1) * head_dim] = query
        attention.key.weight[group * head_dim : (group + 1) * head_dim] = key
        attention.output.weight[:, head * head_dim : (head + 1) * head_dim] = copied[
            group * head_dim : (group + 1) * head_dim
        ].T


def orthogonal(rows: int, columns: int) -> Tensor:
    """Orthogonal rows of length one. Shapes: -> (rows, columns), rows <= columns."""
    matrix = torch.empty(rows, columns)
    torch.nn.init.orthogonal_(matrix)
    return matrix
