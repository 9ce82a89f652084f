"""What attention does before anything is learned: it looks back, finds repetitions, and finds the entry of a list."""

from random import Random
from typing import Any

WORDS = 400
SYSTEM, USER, ASSISTANT, END, DASH = range(WORDS, WORDS + 5)


def attend(model: Any, place: int, tokens: Any) -> Any:
    """The attention of all heads of the block that attends in this place. Shapes: tokens (T,) -> (heads, T, T)."""
    import torch
    from training.model import normalize, rotary_angles, rotate

    shape, length = model.shape, len(tokens)
    hidden = model.embedding.table()[tokens][None] * shape.width**0.5
    cos, sin = rotary_angles(torch.arange(length)[None], shape)
    for index in range(shape.attending[place]):
        hidden = model.blocks[index](hidden, cos, sin, None)
    block = model.blocks[shape.attending[place]]
    part, hidden = block.attention, normalize(hidden, block.attention_norm)

    def split(values: Any, heads: int) -> Any:
        return values.view(1, length, heads, shape.head_width).transpose(1, 2)

    query = rotate(normalize(split(part.query(hidden), shape.heads), part.query_norm), cos, sin)[0]
    key = rotate(normalize(split(part.key(hidden), shape.value_heads), part.key_norm), cos, sin)[0]
    scores = query @ key.repeat_interleave(shape.heads // shape.value_heads, 0).transpose(1, 2)
    scores = scores / shape.head_width**0.5
    return scores.masked_fill(torch.ones(length, length).triu(1) > 0, float("-inf")).softmax(-1)


def new_model() -> Any:
    """An untrained model of the smallest real size, on words with random meanings."""
    import torch
    from training.induction import Meanings, teach_copying
    from training.model import Hokku
    from training.sizes import SIZES

    torch.manual_seed(0)
    count = WORDS + 5
    vectors, rarity = torch.nn.functional.normalize(torch.randn(count, 96), dim=1), torch.rand(count)
    vectors[WORDS:], rarity[WORDS:] = 0.0, -2.0
    model = Hokku(SIZES["xs"].shape(count), list(range(count)), [0] * count)
    teach_copying(model, Meanings(vectors, rarity, {SYSTEM: -1.0, USER: 1.0, ASSISTANT: 0.0}))
    return model


def test_a_head_looks_one_token_back() -> None:
    import torch

    model = new_model()
    with torch.no_grad():
        weights = attend(model, 0, torch.randint(WORDS, (120,)))[0]
    assert float(weights.diagonal(-1)[1:].mean()) > 0.7


def test_heads_find_what_stood_after_the_earlier_occurrence() -> None:
    import torch

    model = new_model()
    tokens = torch.randperm(WORDS)[:40].repeat(2)
    with torch.no_grad():
        weights = attend(model, 1, tokens)[:2]
    after = torch.stack([weights[:, place, place - 39] for place in range(41, 79)])
    assert float((after > 0.5).float().mean()) > 0.9


def test_the_entry_that_a_later_message_has_a_word_of_gets_more_attention() -> None:
    import torch

    model, random = new_model(), Random(0)
    wanted_share, usual_share = 0.0, 0.0
    for _ in range(40):
        drawn, wanted = random.sample(range(WORDS), 24), random.randrange(5)
        entries, others = [drawn[2 * index : 2 * index + 2] for index in range(5)], drawn[10:]
        tokens = [SYSTEM]
        for entry in entries:
            tokens += [DASH, *entry]
        tokens += [END, USER, *others[:3], random.choice(entries[wanted]), *others[3:6], END, ASSISTANT]
        with torch.no_grad():
            weights = attend(model, 2, torch.tensor(tokens))[:2, -1].sum(0)
        shares = [float(weights[2 + 3 * index : 4 + 3 * index].sum()) for index in range(5)]
        wanted_share += shares[wanted]
        usual_share += sum(shares) / 5
    assert wanted_share > 1.25 * usual_share


def test_the_smallest_size_can_be_taught() -> None:
    import torch
    from training.induction import teach_copying
    from training.model import Hokku
    from training.sizes import SIZES

    torch.manual_seed(0)
    model = Hokku(SIZES["test"].shape(300), list(range(300)), [0] * 300)
    teach_copying(model)
    assert all(bool(value.isfinite().all()) for value in model.parameters())
