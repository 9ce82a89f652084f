"""What attention does before anything is learned."""

from typing import Any


def look(model: Any, block: int, head: int, tokens: Any) -> Any:
    """One head's attention. Shapes: tokens (T,) -> (T, T)."""
    import torch
    from training.network.model import normalize, rotary_angles, rotate

    shape, part = model.shape, model.blocks[block].attention
    hidden = model.embedding.table()[tokens][None] * shape.d_model**0.5
    hidden = normalize(hidden, model.blocks[block].attention_norm)
    cos, sin = rotary_angles(torch.arange(len(tokens))[None], shape)

    def split(values: Any, heads: int) -> Any:
        return values.view(1, len(tokens), heads, shape.head_dim).transpose(1, 2)

    query = rotate(normalize(split(part.query(hidden), shape.heads), part.query_norm), cos, sin)[0, head]
    group = head * shape.kv_heads // shape.heads
    key = rotate(normalize(split(part.key(hidden), shape.kv_heads), part.key_norm), cos, sin)[0, group]
    scores = query @ key.T / shape.head_dim**0.5
    return scores.masked_fill(torch.ones_like(scores).triu(1) > 0, float("-inf")).softmax(-1)


def test_heads_look_one_token_back_from_the_start() -> None:
    import torch
    from training.network.initialization import initialize_copying
    from training.network.model import Hokku, Shape

    torch.manual_seed(0)
    model = Hokku(Shape(500), list(range(500)), [0] * 500)
    initialize_copying(model)
    with torch.no_grad():
        for head in (0, 2, 4):
            weights = look(model, 0, head, torch.randint(500, (120,)))
            assert float(weights.diagonal(-1)[1:].mean()) > 0.75


def test_the_smallest_size_can_be_taught() -> None:
    import torch
    from training.network.initialization import initialize_copying
    from training.network.model import Hokku
    from training.network.sizes import SIZES

    torch.manual_seed(0)
    model = Hokku(SIZES["test"].shape(300), list(range(300)), [0] * 300)
    initialize_copying(model)
    assert all(bool(value.isfinite().all()) for value in model.parameters())
