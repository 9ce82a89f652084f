"""Names that are new in every document: labels, tools, fields and facts made of words drawn from prose.

A model that has seen two hundred labels and thirty field names knows them by heart and stops reading the prompt; asked
for a new one it writes an old one (training/log.md). Here nothing can be known by heart.
"""

import functools
import re
from collections import Counter
from random import Random

from renga.services.evals.suites.invented import InventedVocabulary, Parameter
from renga.services.evals.suites.invented_vocabulary import HELD_OUT, TRAINING
from renga.services.evals.suites.values import draw_value, draw_word
from training.data.documents import Document, Turn
from training.data.sources import held_out_labels, prose
from training.generators.kinds import KIND_PHRASES, KIND_WORDS, SCHEMA_WORDS

KINDS = ("person", "place", "date", "time", "code", "money", "thing", "title", "email", "phone", "count", "colour")
PHRASES = (
    "{name} {{}}",
    "with {name} {{}}",
    "{name}: {{}}",
    "the {name} is {{}}",
    "having {name} {{}}",
    "of {name} {{}}",
    "{{}} {name}",
    "with {{}} {name}",
    "in the {name} {{}}",
    "a {name} of {{}}",
    "{{}} as {name}",
    "{name} being {{}}",
    "({name} {{}})",
)
FRAMES = (
    "now {act} {details}",
    "{details}: {act}",
    "my manager asked me to {act} {details}",
    "today we {act} {details}",
    "is there a way to {act} {details}?",
    "after that, {act} {details}.",
    "the customer wants us to {act} {details}",
    "go ahead and {act} {details}!",
)
DESCRIBED = (
    "{verb} any {noun}",
    "Use this when the user wants to {verb} a {noun}.",
    "{noun}: {verb}",
    "This {verb}s {noun}s.",
    "A way to {verb} the {noun} of a customer",
    "Makes it possible to {verb} {noun}s",
    "Whenever some {noun} has to be {verb}ed",
)
"""What tools are for, in words that TRAINING does not use."""
DESCRIPTIONS = (
    "{name}",
    "{name}",
    "{name} of it",
    "{name} to use",
    "{name} of the {other}",
    "{name} for the {other}",
    "{other} {name}",
    "last {other} {name}",
    "{name} to {other}",
    "{name} that {other}s it",
    "{other} of the {name}",
    "{name}, the {kind} of the {other}",
    "{kind} of the {name}",
    "{kind} that {name}s it",
)
"""{other} is any word, {kind} one that fits the kind of value."""


@functools.cache
def words() -> list[str]:
    """Words of the prose, common and rare; no word of the held-out vocabulary or labels."""
    barred = {word for label in held_out_labels() for word in label.split("_")}
    barred |= {
        *HELD_OUT.verbs,
        *HELD_OUT.nouns,
        *(word for part in HELD_OUT.parameters for word in part.name.split("_")),
    }
    counts: Counter[str] = Counter()
    for _, text in prose()[::2]:
        counts.update(re.findall(r"\b[a-z]{3,10}\b", text[:4000]))
    return [word for word, count in counts.most_common(9000)[100:] if word not in barred]


def draw_name(random: Random) -> str:
    """One or two words, now and then made up."""
    known = words()
    if random.random() < 0.12:
        return draw_word(random, syllables=2)
    if random.random() < 0.03:
        return random.choice(SCHEMA_WORDS)
    return " ".join(random.sample(known, random.choice((1, 1, 1, 2, 2, 3))))


def _kind_parameter(random: Random, kind: str) -> Parameter:
    """A field named after its kind, which phrases need not name."""
    word = random.choice(KIND_WORDS[kind])
    other = random.choice(words())
    name = random.choice((word, word, word, f"{word}_of_{other}", f"{other}_{word}"))
    phrases = (
        *random.sample(KIND_PHRASES[kind], 3),
        *_naming(random, random.choice((name, word)).replace("_", " "), 2),
    )
    return Parameter(name, kind, _describe(random, word.replace("_", " "), kind), phrases)


def _fresh_parameter(random: Random, kind: str) -> Parameter:
    """A field with any name, which phrases say; its description may tell the kind of its values."""
    name = draw_name(random)
    return Parameter(name.replace(" ", "_"), kind, _describe(random, name, kind), _naming(random, name, 3))


def _naming(random: Random, name: str, count: int) -> tuple[str, ...]:
    return tuple(phrase.format(name=name) for phrase in random.sample(PHRASES, count))


def _describe(random: Random, name: str, kind: str) -> str:
    word = random.choice(KIND_WORDS[kind]).replace("_", " ")
    return random.choice(DESCRIPTIONS).format(name=name, kind=word, other=random.choice(words()))


def draw_vocabulary(random: Random, *, rivals: int = 0) -> InventedVocabulary:
    """Verbs, nouns and parameters of fresh names; one field of a kind, as two could not be told apart, and so many
    more, which may stand in other tools.
    """
    known = words()
    kinds = random.sample(list(KIND_WORDS), 10)
    kinds += random.sample(kinds, rivals)
    draws = (_kind_parameter, _kind_parameter, _fresh_parameter)
    parameters = [random.choice(draws)(random, kind) for kind in kinds]
    unique = {part.name: part for part in parameters}
    verbs = (*random.sample(known, 4), *random.sample(TRAINING.verbs, 4))
    nouns = (*random.sample(known, 6), *random.sample(TRAINING.nouns, 2))
    frames = (*TRAINING.frames, *FRAMES)
    descriptions = (*random.sample(DESCRIBED, 3), *random.sample(TRAINING.descriptions, 2))
    return InventedVocabulary(verbs, nouns, tuple(unique.values()), frames, descriptions)


def decorate(labels: list[str], random: Random) -> dict[str, str]:
    """Spell known labels in a way that has to be read: words added, dropped or in another order."""
    spelled: dict[str, str] = {}
    style = random.choice(("add", "add", "order", "code", "drop"))
    for label in labels:
        parts = label.rstrip("?").replace("-", "_").split("_")
        if style == "add":
            parts.insert(random.choice((0, len(parts))), random.choice(words()))
        elif style == "order":
            random.shuffle(parts)
        elif style == "drop" and len(parts) > 2:
            parts.remove(random.choice(parts))
        elif style == "code":
            parts.insert(0, random.choice("abcdefghkmnpqrstuvwxyz") + str(random.randint(1, 99)))
        spelled[label] = random.choice(("_", "_", " ")).join(parts)
    return spelled if len(set(spelled.values())) == len(labels) else {label: label for label in labels}


MENTIONS = (
    "I have a question about {}",
    "{}?",
    "can you help me with {}",
    "tell me about {} please",
    "there is something wrong with {}",
    "i want to know more on {} and how it works",
    "what about {} {filler}",
    "{filler} {}",
    "we need {} {filler}",
)


ENDINGS = ("", "", "", "", "s", "ed", "ing", "er")


def _inflected(word: str, random: Random) -> str:
    ending = random.choice(ENDINGS)
    return (word[:-1] if word.endswith("e") and ending[:1] in "aei" and ending else word) + ending


@functools.cache
def _prose_lines() -> list[str]:
    lines = [" ".join(line.split()) for _, text in prose()[::7] for line in text[300:3000].split("\n")]
    return [line for line in lines if len(line) > 40 and line[0].isalpha()]


def _fragment(random: Random) -> str:
    """A few words of prose, as they stand there."""
    parts = random.choice(_prose_lines()).lower().split()
    start = random.randrange(len(parts))
    return " ".join(parts[start : start + random.randint(3, 12)])


def mention(random: Random) -> Document:
    """Fresh labels; the message has a label's words, inflected, in another order or among others."""
    from training.generators.labels import lay_out

    names = list(dict.fromkeys(draw_name(random) for _ in range(random.choice((3, 4, 5, 5, 6, 8, 10)))))
    if random.random() < 0.3:
        first = random.choice(words())
        names = [f"{first} {name}" for name in names]
    mark = random.choice(("_", "_", " ", "-", ""))
    spelled = {name: name.title() if mark == " " and random.random() < 0.5 else name for name in names}
    names = list(spelled.values())
    items: list[tuple[str, str]] = []
    for name in random.sample(names, min(len(names), random.choice((2, 4, 6, 8)))):
        parts = name.lower().split()
        parts = parts[1:] if len(parts) > 1 and all(other.lower().startswith(parts[0]) for other in names) else parts
        kept = [random.choice(parts)] if random.random() < 0.4 else random.sample(parts, len(parts))
        shown = random.choice((" ", " of ", " for the ")).join(_inflected(part, random) for part in kept)
        filler = " ".join(random.sample(words(), random.randint(2, 6))) if random.random() < 0.5 else _fragment(random)
        items.append((random.choice(MENTIONS).format(shown, filler=filler), name.replace(" ", mark)))
    return lay_out(items, [name.replace(" ", mark) for name in names], random, "mention")


FACTS = (
    ("The {a} of {s} is {v}.", "What is the {a} of {s}?"),
    ("{s} has its {a} in {v}.", "Where does {s} have its {a}?"),
    ("The {a} of {s} begins at {v}.", "When does the {a} of {s} begin?"),
    ("{v} made the {a} of {s}.", "Who made the {a} of {s}?"),
    ("For the {a}, {s} asks {v}.", "What does {s} ask for the {a}?"),
    ("{s} sends every {a} to {v}.", "Where does {s} send every {a}?"),
    ("The {a} is kept by {v}.", "By whom is the {a} kept?"),
    ("{s} counts {v} as its {a}.", "What does {s} count as its {a}?"),
    ("All {a} at {s} end on {v}.", "When do all {a} at {s} end?"),
    ("The {a} of {s} can {b} {v}.", "How much can the {a} of {s} {b}?"),
    ("{s} will {b} the {a} with {v}.", "With what will {s} {b} the {a}?"),
    ("Any {a} must {b} {v}.", "What must any {a} {b}?"),
    ("In {s} the {a} is {v}.", "What is the {a} in {s}?"),
    ("The {a} and the {b} of {s} were {v}.", "What were the {a} and the {b} of {s}?"),
    ("{v} {b} the {a} at {s}.", "Who {b} the {a} at {s}?"),
    ("The {s} {a} {b} at {v}.", "At what does the {s} {a} {b}?"),
    ("Every {a} of {s} {b} until {v}.", "Until when does every {a} of {s} {b}?"),
    ("{s} shows {v} on its {a}.", "What does {s} show on its {a}?"),
    ("The number of the {a} is {v}.", "What is the number of the {a}?"),
    ("Those who {b} at {s} get {v}.", "What do those who {b} at {s} get?"),
    ("The first {a} of {s} came from {v}.", "Where did the first {a} of {s} come from?"),
    ("To {b}, {s} takes {v}.", "What does {s} take to {b}?"),
    ("The {a} holds {v}.", "How much does the {a} hold?"),
    ("With {v} the {a} of {s} is {b}.", "With what is the {a} of {s} {b}?"),
    ("{s} opened a {a} in {v}.", "Where did {s} open a {a}?"),
    ("Write to {v} about the {a}.", "Where do I write about the {a}?"),
)


def facts(random: Random) -> Document:
    """A passage of fresh facts, and questions on some of them."""
    subjects = [draw_word(random, syllables=2).title() for _ in range(random.choice((1, 1, 2)))]
    lines: list[str] = []
    asked: list[tuple[str, str]] = []
    for _ in range(random.choice((3, 6, 8, 10, 12))):
        parts = {"a": draw_name(random), "b": random.choice(words()), "s": random.choice(subjects)}
        value = draw_value(random, random.choice(KINDS)).text
        sentence, question = random.choice(FACTS)
        line = sentence.format(v=value, **parts)
        lines.append(line[0].upper() + line[1:])
        asked.append((question.format(**parts), value))
    random.shuffle(asked)
    for _ in range(random.choice((0, 0, 1, 2, 3))):
        filler = random.choice(_prose_lines())[:120].rsplit(" ", 1)[0]
        lines.insert(random.randrange(len(lines) + 1), filler.rstrip(",;:. ") + ".")
    turns: list[Turn] = []
    passage = " ".join(lines)
    for question, value in asked[: random.choice((2, 4, 6))]:
        shown = question if turns else f"{passage}\n\n{question}"
        turns += [Turn("user", shown), Turn("assistant", value)]
    return Document(tuple(turns), "Answer from the passage, as briefly as possible.", family="facts")
