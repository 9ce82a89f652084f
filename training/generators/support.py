"""Support dialogues: facts, a customer, and the desk's answer with its placeholders filled; hand-overs and refusals."""

import functools
from random import Random

from renga.services.evals.suites.dialogues import draw_desk, draw_prelude, with_order
from renga.services.evals.suites.front_desk import ANSWERS, placeholders
from renga.services.evals.suites.values import draw_value
from training.data.documents import Document, Turn
from training.data.sources import label_sets, read_corpus

HAND_OVERS = (
    "This needs a specialist. I am handing you over.",
    "That is beyond what I can answer well, so I am passing it to a specialist.",
)
REFUSALS = ("I can't help with that.", "I won't help with that, but I am glad to help with something else.")
ASSISTANTS = (
    "",
    "You are a helpful assistant.",
    "You answer short questions and hand the rest over.",
    "You are the front desk. Hand over what you cannot answer.",
)


def desk(random: Random) -> Document:
    """A dialogue with one to three questions of different intents."""
    questions = label_sets()["bitext"]
    facts, order = draw_desk(random)
    turns = [Turn(said.role, said.text) for said in draw_prelude(random, facts, order)]
    for intent in random.sample(sorted(ANSWERS), random.choice((1, 2, 3, 4, 5))):
        question = with_order(random.choice(questions[intent]), facts.facts["order"])
        turns += [Turn("user", question), Turn("assistant", facts.answer(intent))]
    return Document(tuple(turns), facts.system(order), family="desk")


def macros(random: Random) -> Document:
    """The prompt lists reply templates; the right one is filled. Templates are read, not known by heart."""
    questions = label_sets()["bitext"]
    facts, _ = draw_desk(random)
    intents = random.sample(sorted(ANSWERS), random.choice((2, 3, 4, 5)))
    intent = random.choice(intents)
    listing = "\n".join(f"{name}: {ANSWERS[name][0]}" for name in intents)
    needed = placeholders(intent)
    spare = [name for name in facts.facts if name not in needed]
    shown = needed + random.sample(spare, 2)
    random.shuffle(shown)
    given = ", ".join(f"{name} {facts.facts[name]}" for name in shown)
    system = f"Answer with the fitting template and fill in its placeholders.\n{listing}\nFacts: {given}"
    question = with_order(random.choice(questions[intent]), facts.facts["order"])
    turns = (Turn("user", question), Turn("assistant", facts.answer(intent)))
    return Document(turns, system, family="macros")


@functools.cache
def _hard_questions() -> list[str]:
    questions = [row["output"] for row in read_corpus("disflqa_train")]
    return questions + [row["input"] for row in read_corpus("gsm8k_train")[:2500] if len(row["input"]) < 240]


def hand_over(random: Random) -> Document:
    """A question that a front desk cannot answer."""
    turns = (Turn("user", random.choice(_hard_questions())), Turn("assistant", HAND_OVERS[0]))
    if random.random() < 0.2:
        turns = (turns[0], Turn("assistant", HAND_OVERS[1]))
    return Document(turns, random.choice(ASSISTANTS), family="hand_over")


@functools.cache
def _abuse() -> list[str]:
    return [row["input"][:300] for row in read_corpus("mod_surge_toxicity") if row["output"] == "Toxic"]


def refusal(random: Random) -> Document:
    """Abuse sent to an assistant."""
    turns = (Turn("user", random.choice(_abuse())), Turn("assistant", random.choice(REFUSALS)))
    return Document(turns, random.choice(ASSISTANTS), family="refusal")


@functools.cache
def _small_talk() -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for row in read_corpus("chatterbot_english"):
        turns = row["turns"]
        if len(turns) == 2 and len(turns[1]["text"]) < 160:
            pairs.append((turns[0]["text"], turns[1]["text"]))
    return pairs


GREETINGS = (
    ("hello", "Hello! How can I help you?"),
    ("hi", "Hi! What can I do for you?"),
    ("thanks", "You're welcome!"),
    ("thank you very much", "You're welcome! Is there anything else?"),
    ("bye", "Goodbye!"),
    ("who are you?", "I am hokku, a small model for routine front-desk work."),
    ("what can you do?", "I classify, extract, call tools and answer short support questions. The rest I hand over."),
)


def small_talk(random: Random) -> Document:
    """Greetings and short exchanges."""
    question, answer = random.choice(GREETINGS) if random.random() < 0.5 else random.choice(_small_talk())
    return Document((Turn("user", question), Turn("assistant", answer)), random.choice(ASSISTANTS), family="small_talk")


def arithmetic(random: Random) -> Document:
    """Sums a desk meets: small additions, subtractions and products, sometimes thought through first."""
    turns: list[Turn] = []
    for _ in range(random.choice((1, 2, 3, 4))):
        left, right = random.randint(0, random.choice((9, 99, 99))), random.randint(0, random.choice((9, 20, 99)))
        sign = random.choice("+-*") if left < 13 and right < 13 else random.choice("+-")
        result = {"+": left + right, "-": left - right, "*": left * right}[sign]
        form = random.choice(("{} {} {}", "what is {} {} {}?", "compute {} {} {}", "{} {} {} ="))
        turns += [Turn("user", form.format(left, sign, right)), Turn("assistant", str(result))]
    return Document(tuple(turns), random.choice(("", "Answer with the number.")), family="arithmetic")


def recall(random: Random) -> Document:
    """A list of names and values, and questions about single ones: reading the prompt and nothing else."""
    kinds = ("person", "place", "date", "time", "code", "money", "thing", "title", "email", "phone", "count")
    names = [draw_value(random, random.choice(("title", "thing", "person"))).text for _ in range(random.randint(3, 8))]
    table = {name: draw_value(random, random.choice(kinds)).text for name in names}
    form = random.choice(("{}: {}", "{} = {}", "The value of {} is {}.", "- {}: {}", "{} | {}"))
    turns: list[Turn] = []
    for name in random.sample(sorted(table), min(random.choice((1, 3, 6)), len(table))):
        question = random.choice(("{}", "What is the value of {}?", "{}?", "look up {}"))
        turns += [Turn("user", question.format(name)), Turn("assistant", table[name])]
    listing = "\n".join(form.format(name, value) for name, value in table.items())
    return Document(tuple(turns), f"Look the value up.\n{listing}", family="recall")
