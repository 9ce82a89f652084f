"""Option lists: pick one of the labels in the prompt.

Variety is the point: the sets, the number, order, spelling and layout of the options, the instruction and the answer's
form all change, so that what is learned is to read the list. Labels whose texts come from documentation pages are new
in nearly every document.
"""

import functools
import re
from random import Random

from training.data.compact_encoding import render_json
from training.data.documents import Document, Turn
from training.data.sources import label_sets, moderation_rows, out_of_scope_texts, prose, read_corpus
from training.generators.fresh import decorate

INSTRUCTIONS = (
    "Classify the customer's message into exactly one of these labels. Reply with the label only.",
    "Which of these intents fits the message? Answer with the intent only.",
    "You route messages. Pick one label from the list and reply with nothing else.",
    "Choose the category that best describes the text.",
    "Label the text with one of the options below.",
    "Assign the message to a queue. Reply with the name of the queue.",
    "Read the message and answer with the one label that applies.",
    "What is this message about? Answer with one of these topics.",
    "Select the best matching option. Output only the option.",
    "You are a classifier. Valid labels are listed below. Output exactly one.",
    "Sort the request into one of the following classes.",
    "Tag this with a single tag from the list.",
)
NUMBERED = ("Reply with the number only.", "Answer with the option's number.", "Give only the number.")
LETTERED = ("Reply with the letter only.", "Answer with the option's letter.", "Give only the letter.")
NONE_NAMES = ("none of these", "other", "out_of_scope", "something else", "none", "unknown", "not listed")
FRESH_SHARE = 0.35
"""Share of the documents whose labels have to be read, because no two documents spell them alike."""
LONG_SHARE = 0.05
"""Share of the documents with the longest lists: all 77 labels of Banking77, or 40 of another set."""
JOINED_SHARE = 0.12
"""Share of the messages that are several of one label: what is asked for has to be found in a longer text."""
MODERATION_NAMES = (
    ("hate", "offensive", "neither"),
    ("hate_speech", "offensive_language", "neither"),
    ("hate speech", "offensive language", "clean"),
    ("hateful", "offensive", "ok"),
)


def classify(random: Random) -> Document:
    """One option list, one to eight messages; sometimes no option fits."""
    sets = label_sets()
    name = random.choices(list(sets), weights=[8, 9, 4, 1, 3, 1])[0]
    labels = sets[name]
    count = min(random.choice((2, 3, 4, 5, 5, 6, 8, 10, 10, 10, 10, 12, 15, 20)), len(labels))
    long = random.random() < LONG_SHARE
    if long:
        name = random.choice(("banking77", "banking77", "banking77", "clinc150"))
        labels = sets[name]
        count = len(labels) if name == "banking77" else 40
    chosen = random.sample(sorted(labels), count)
    spelled = decorate(chosen, random) if random.random() < FRESH_SHARE and not long else _spell(chosen, random)
    turns = random.randint(10, 14) if long else min(2 + int(random.expovariate(0.25)), 12)
    items = [(draw_message(labels[label], random), spelled[label]) for label in random.choices(chosen, k=turns)]
    options = list(spelled.values())
    if random.random() < 0.1:
        none = random.choice(NONE_NAMES)
        options.append(none)
        items = [(_stranger(labels, chosen, random), none) if random.random() < 0.3 else item for item in items]
    elif random.random() < 0.1:
        # Nothing fits and no option says so: a random answer is the target, which teaches low confidence.
        items = [(_stranger(labels, chosen, random), random.choice(options))]
    return lay_out(items, options, random, "classify")


def draw_message(texts: list[str], random: Random) -> str:
    """One of a label's messages, now and then several in one."""
    if random.random() >= JOINED_SHARE:
        return random.choice(texts)
    picked = random.choices(texts, k=random.randint(2, 5))
    return " ".join(text if text.endswith((".", "?", "!")) else f"{text}." for text in picked)


def _stranger(labels: dict[str, list[str]], chosen: list[str], random: Random) -> str:
    """A message that none of the chosen labels fits."""
    rest = [label for label in labels if label not in chosen]
    if not rest or random.random() < 0.35:
        return random.choice(out_of_scope_texts())
    return random.choice(labels[random.choice(rest)])


def _spell(chosen: list[str], random: Random) -> dict[str, str]:
    words = {label: re.sub(r"([a-z])([A-Z])", r"\1 \2", label.replace("_", " ").rstrip("?")) for label in chosen}
    style = random.random()
    if style < 0.55:
        return {label: label for label in chosen}
    if style < 0.65:
        return {label: text.title() for label, text in words.items()}
    if style < 0.75:
        return {label: text.lower() for label, text in words.items()}
    if style < 0.82:
        return {label: text.lower().replace(" ", "-") for label, text in words.items()}
    if style < 0.9:
        return {label: text[0].upper() + text[1:].lower() for label, text in words.items()}
    return {label: text.title().replace(" ", "") for label, text in words.items()}


def lay_out(items: list[tuple[str, str]], options: list[str], random: Random, family: str) -> Document:
    """Lay the options out, and put the instruction in the system text or before the first message."""
    random.shuffle(options)
    instruction = INSTRUCTIONS[0] if random.random() < 0.2 else random.choice(INSTRUCTIONS)
    style = random.choices(("dash", "plain", "comma", "json", "number", "letter", "object"), (9, 2, 2, 1, 0.5, 0.5, 4))[
        0
    ]
    if style == "letter" and len(options) > 20:
        style = "number"
    answers = {option: option for option in options}
    if style == "number":
        instruction += " " + random.choice(NUMBERED)
        answers = {option: str(index) for index, option in enumerate(options, 1)}
        listing = "\n".join(f"{answers[option]}. {option}" for option in options)
    elif style == "letter":
        instruction += " " + random.choice(LETTERED)
        answers = {option: chr(ord("A") + index) for index, option in enumerate(options)}
        listing = "\n".join(f"{answers[option]}) {option}" for option in options)
    elif style == "object":
        key = random.choice(("label", "label", "label", "intent", "category", "topic"))
        instruction += f' Reply as JSON: {{"{key}": ...}}'
        answers = {option: render_json({key: option}) for option in options}
        listing = "\n".join(f"- {option}" for option in options)
    else:
        layouts = {"dash": "- " + "\n- ".join(options), "plain": "\n".join(options), "comma": ", ".join(options)}
        listing = layouts.get(style) or render_json(options)
    head = f"{instruction}\n{listing}"
    in_system = random.random() < 0.7
    turns: list[Turn] = []
    for index, (text, option) in enumerate(items):
        shown = text if in_system or index else f"{head}\n\n{random.choice(('', 'Message: ', 'Text: '))}{text}"
        turns += [Turn("user", shown), Turn("assistant", answers[option])]
    return Document(tuple(turns), system=head if in_system else "", family=family)


@functools.cache
def _topics() -> list[tuple[str, str]]:
    """(title, one sentence below it) of documentation pages."""
    found: list[tuple[str, str]] = []
    for title, text in prose():
        short = re.sub(r"[^\w\s/-]", "", title).strip()
        for paragraph in text.split("\n\n")[1:4]:
            sentence = re.split(r"(?<=[.?!])\s", paragraph.strip())[0]
            if 1 < len(short.split()) < 7 and 40 < len(sentence) < 260 and sentence[0].isalpha():
                found.append((short, sentence.replace("\n", " ")))
                break
    return found


def topic(random: Random) -> Document:
    """Options that are page titles; the message is a sentence of one of the pages."""
    topics = _topics()
    start = random.randrange(len(topics))
    near = random.random() < 0.5
    count = random.choice((3, 4, 5, 5, 6))
    pool = topics[start : start + 40] if near else topics
    picked = dict(random.sample(pool, min(count, len(pool))))
    style = random.random()
    names = {title: title if style < 0.4 else title.lower() for title in picked}
    if style > 0.6:
        names = {title: "_".join(name.split()) for title, name in names.items()}
    items = [(sentence, names[title]) for title, sentence in picked.items()]
    random.shuffle(items)
    return lay_out(items[: random.choice((1, 2, 3))], list(names.values()), random, "topic")


@functools.cache
def _moderation_classes() -> list[list[str]]:
    classes: list[list[str]] = [[], [], []]
    for text, label in moderation_rows():
        classes[label].append(text)
    return classes


MODERATION_INSTRUCTIONS = (
    "Moderate the message. Reply with one label: {options}.",
    "You are a content moderator. Answer with exactly one of: {options}.",
    "Is this post {options}? Answer with the label only.",
    "Label the post for moderation.\n{lines}",
)


def moderate(random: Random) -> Document:
    """Three classes; hate is shown twice as often as it is found, since macro-F1 counts it as much."""
    classes = _moderation_classes()
    names = random.choices(MODERATION_NAMES, weights=(6, 1, 1, 1))[0]
    order = list(names)
    random.shuffle(order)
    options = ", ".join(order[:-1]) + " or " + order[-1] if random.random() < 0.5 else ", ".join(order)
    system = random.choice(MODERATION_INSTRUCTIONS).format(options=options, lines="\n".join(order))
    key = random.choice(("label", "label", "label", "class", "verdict")) if random.random() < 0.3 else ""
    if key:
        first, _, rest = system.partition("\n")
        system = f'{first} Reply as JSON: {{"{key}": ...}}' + (f"\n{rest}" if rest else "")
    turns: list[Turn] = []
    for _ in range(random.choice((1, 2, 4, 6, 8, 10))):
        label = random.choices((0, 1, 2), weights=(14, 62, 24))[0]
        answer = render_json({key: names[label]}) if key else names[label]
        turns += [Turn("user", random.choice(classes[label])), Turn("assistant", answer)]
    return Document(tuple(turns), system=system, family="moderate")


@functools.cache
def _toxicity() -> list[tuple[str, str]]:
    return [(row["input"], row["output"]) for row in read_corpus("mod_surge_toxicity")]


def toxicity(random: Random) -> Document:
    """Two classes, from another set."""
    names = random.choice((("toxic", "not toxic"), ("Toxic", "Not Toxic"), ("flag", "allow")))
    turns: list[Turn] = []
    for text, label in random.sample(_toxicity(), 3):
        turns += [Turn("user", text[:400]), Turn("assistant", names[int(label != "Toxic")])]
    system = f"Moderate the message. Reply with one label: {names[0]} or {names[1]}."
    return Document(tuple(turns), system=system, family="toxicity")
