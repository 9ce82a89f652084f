"""Labels whose meaning has to be found: words that stand near a text, and words that go with an intent.

A label list in the wild is new, and its words are often not in the message. So labels are made here of the words that
tell a class or a paragraph from the others, another choice in every document, and the word itself may be taken out of
the text: what remains is what words have to do with each other.
"""

import functools
import math
import re
from collections import Counter
from random import Random

from training.data.documents import Document
from training.data.sources import held_out_labels, label_sets, prose
from training.generators.labels import draw_message, lay_out

_WORD = re.compile(r"[a-z]{3,}")
_COMMON_SHARE = 0.02
"""A word of more than this share of the paragraphs names none of them."""
BOUNDARIES = ("_", "_", "_", " ", " ", "-", "")


def _barred() -> frozenset[str]:
    return frozenset(word for label in held_out_labels() for word in re.split(r"[_\W]+", label))


@functools.cache
def class_words() -> dict[str, dict[str, list[str]]]:
    """Set -> label -> the dozen words that tell its texts from the other labels' texts."""
    return {name: _telling_words(labels) for name, labels in label_sets().items()}


def _telling_words(labels: dict[str, list[str]]) -> dict[str, list[str]]:
    barred = _barred()
    counts = {
        label: Counter(word for text in texts for word in dict.fromkeys(_WORD.findall(text.lower())))
        for label, texts in labels.items()
    }
    spread = Counter(word for counted in counts.values() for word in counted)
    found: dict[str, list[str]] = {}
    for label, counted in counts.items():
        weights = {
            word: count * math.log((len(counts) + 1) / spread[word])
            for word, count in counted.items()
            if count > 1 and word not in barred
        }
        found[label] = sorted(weights, key=lambda word, weights=weights: -weights[word])[:12]
    return found


def keyword_classes(random: Random) -> Document:
    """Real messages under labels made of their class's own words; often from several sets at once."""
    sets = label_sets()
    names = random.choices(list(sets), weights=[5, 6, 5, 1, 2, 1], k=random.choice((1, 1, 2, 4)))
    pool = [
        (name, label) for name in dict.fromkeys(names) for label in sets[name] if len(class_words()[name][label]) > 2
    ]
    chosen = random.sample(pool, min(len(pool), random.choice((3, 4, 5, 5, 5, 6, 8, 10))))
    boundary = random.choice(BOUNDARIES)
    count, style = random.choice((1, 1, 2, 2, 3)), random.random()
    prefix = random.choice(_prefixes()) + boundary if random.random() < 0.15 else ""
    spelled: dict[tuple[str, str], str] = {}
    for name, label in chosen:
        words = random.sample(class_words()[name][label], min(count, len(class_words()[name][label])))
        if style < 0.3:
            words.append(random.choice(re.split(r"[_\W]+", label.rstrip("?"))).lower())
        text = prefix + boundary.join(words)
        spelled[name, label] = text.replace("_", " ").replace("-", " ").title() if style > 0.8 else text
    if len(set(spelled.values())) < len(spelled):
        return keyword_classes(random)
    turns = random.choice((2, 4, 6, 8, 10))
    items = [
        (draw_message(sets[name][label], random), spelled[name, label])
        for name, label in random.choices(chosen, k=turns)
    ]
    return lay_out(items, list(spelled.values()), random, "keywords")


@functools.cache
def _prefixes() -> list[str]:
    return sorted({label.split("_")[0] for labels in label_sets().values() for label in labels if "_" in label})


@functools.cache
def _paragraphs() -> list[tuple[str, list[str]]]:
    """(sentence or two, its rare words) of documentation and books."""
    texts: list[str] = []
    for _, text in prose()[::2]:
        for paragraph in text.split("\n\n")[1:24:3]:
            flat = " ".join(paragraph.split())
            if len(flat) > 80 and flat[0].isalpha():
                texts.append(flat[:260].rsplit(" ", 1)[0])
    spread: Counter[str] = Counter()
    for text in texts:
        spread.update(dict.fromkeys(_WORD.findall(text.lower()), 1))
    most, barred = len(texts) * _COMMON_SHARE, _barred()
    found: list[tuple[str, list[str]]] = []
    for text in texts:
        rare = [
            word
            for word in dict.fromkeys(_WORD.findall(text.lower()))
            if 12 <= spread[word] <= most and word not in barred
        ]
        if len(rare) >= 4:
            found.append((text, sorted(rare, key=lambda word: spread[word])[:8]))
    return found


def keyword_passages(random: Random) -> Document:
    """Labels are a rare word or two of each passage; in half of the documents the passage has lost them."""
    paragraphs = _paragraphs()
    picked = random.sample(paragraphs, random.choice((3, 4, 5, 5)))
    hidden, boundary, count = random.random() < 0.5, random.choice(BOUNDARIES[:-1]), random.choice((1, 2, 2))
    items: list[tuple[str, str]] = []
    for text, rare in picked:
        words = random.sample(rare, count)
        left = re.sub(r"\b(" + "|".join(words) + r")\w*\s?", "", text, flags=re.IGNORECASE) if hidden else text
        items.append((left if random.random() < 0.5 else left.lower(), boundary.join(words)))
    if len({label for _, label in items}) < len(items):
        return keyword_passages(random)
    random.shuffle(items)
    labels = [label for _, label in items]
    return lay_out(items[: random.choice((2, 3, 4))], labels, random, "keyword_passages")
