"""Words that are asked for in each other come to lie together, and words that tell nothing come to count little."""

from random import Random
from typing import Any

TOPICS, WORDS, FILLERS, MOST = 120, 5, 20, 6
BASES = TOPICS * WORDS + FILLERS


def make_rows(random: Random, topics: list[int]) -> tuple[Any, Any]:
    """A word of each topic, and two others of it among words that stand everywhere."""
    import torch

    fillers = range(TOPICS * WORDS, BASES)
    asked, held = [], []
    for topic in topics:
        first, *others = random.sample(range(topic * WORDS, (topic + 1) * WORDS), 3)
        asked.append([first, *[BASES] * (MOST - 1)])
        held.append([*others, *random.sample(fillers, 3), BASES])
    return torch.tensor(asked), torch.tensor(held)


def test_a_text_is_matched_by_words_that_it_does_not_have() -> None:
    import torch
    from training.likeness import Likeness, Pairs, bag, learn_likeness

    torch.manual_seed(0)
    random = Random(0)
    told = Pairs(*make_rows(random, [random.randrange(TOPICS) for _ in range(4000)]))
    start = Likeness(torch.nn.functional.normalize(torch.randn(BASES, 24), dim=1), torch.zeros(BASES))
    learned = learn_likeness(told, told, start, steps=300, pairs=128)

    def count_right(likeness: Likeness) -> int:
        vectors = torch.cat((likeness.vectors, torch.zeros(1, 24)))
        weights = torch.cat((likeness.weights, torch.zeros(1)))
        asked, held = (bag(vectors, weights, rows) for rows in make_rows(Random(1), list(range(TOPICS))))
        return int(((asked @ held.T).argmax(1) == torch.arange(TOPICS)).sum())

    assert count_right(start) <= 10
    assert count_right(learned) >= 100
    assert learned.weights[-FILLERS:].max() < learned.weights[:-FILLERS].median()
    torch.testing.assert_close(learned.vectors.norm(dim=1), torch.ones(BASES))
