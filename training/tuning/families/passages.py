"""Passages and questions on them, a part of which they do not answer; papers as text recognition reads them."""

import functools
import re
from dataclasses import replace
from random import Random

from renga.evals.passages import TRAINING_FACTS, draw_passage
from renga.evals.values import draw_value, draw_word
from training.documents import Document, Turn
from training.generators import fresh, grounded
from training.sources import prose
from training.tuning.families.asking import ask
from training.tuning.families.faq import HEADS, UNKNOWN, place, shape_facts
from training.tuning.families.topics import TOPICS, draw_company, draw_fact, draw_missing

ABSENT = (UNKNOWN, UNKNOWN, UNKNOWN, "The passage does not say.")
"""How a question without an answer is answered, unless the prompt says how."""
SYSTEMS = (
    "Answer from the passage, as briefly as possible.",
    "Answer the question with words from the passage.",
    "Use only the text below. Reply with the shortest answer.",
    "Copy the answer from the passage.",
    "Answer from the text. If it does not say, say that you do not know.",
    "Answer the question from the context.",
    "Read the text and answer.",
    "",
)


def _turns(pairs: list[tuple[str, str]]) -> list[Turn]:
    return [turn for question, answer in pairs for turn in (Turn("user", question), Turn("assistant", answer))]


def lay_out(text: str, pairs: list[tuple[str, str]], random: Random, family: str) -> Document:
    turns = _turns(pairs)
    system = random.choice(SYSTEMS)
    style = random.random()
    if style < 0.3:
        return place(system or "Answer the question.", text, turns, random, family)
    forms = ("{t}\n\n{q}", "{t}\n\nQuestion: {q}", "Passage: {t}\nQuestion: {q}", "{q}\n\n{t}", "Context:\n{t}\n\n{q}")
    turns[0] = Turn("user", random.choice(forms).format(t=text, q=turns[0].text))
    return Document(tuple(turns), system, family=family)


def desk_passage(random: Random) -> Document:
    """Invented facts about an organisation; a fifth of the questions are about what is not said."""
    passage = draw_passage(random, TRAINING_FACTS, sentences=random.choice((4, 6, 8, 10, 12, 14)))
    pairs = list(passage.asked[: random.choice((2, 4, 6, 9))])
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, 2)]
    absent = random.choice(ABSENT)
    for index in range(len(pairs)):
        if random.random() < 0.2:
            pairs[index] = (draw_missing(random, facts), absent)
    return lay_out(passage.text, pairs, random, "desk_passage")


def business_passage(random: Random) -> Document:
    """The facts of a business as prose, asked for the shortest answer."""
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, random.choice((3, 5, 8, 12)))]
    text = f"{draw_company(random)}. " + " ".join(fact.statement for fact in facts)
    pairs: list[tuple[str, str]] = []
    absent = random.choice(ABSENT)
    for fact in random.sample(facts, min(len(facts), random.choice((2, 4, 6)))):
        answer = fact.value if len(fact.parts) == 1 else fact.statement
        pairs.append((random.choice(fact.topic.questions), answer))
        if random.random() < 0.25:
            pairs.append((draw_missing(random, facts), absent))
    return lay_out(text, pairs, random, "business_passage")


def facts(random: Random) -> Document:
    """Fresh facts of the recipe from nothing, with one question more that belongs to another passage."""
    document = fresh.facts(random)
    if random.random() < 0.3:
        other = fresh.facts(random).turns[2:]
        if len(other) >= 2:
            stray = (Turn("user", other[0].text), Turn("assistant", UNKNOWN))
            document = replace(document, turns=document.turns + stray)
    return document


@functools.cache
def _asked_paragraphs() -> list[tuple[str, list[tuple[str, str]]]]:
    """Paragraphs of public prose with the questions that rules make of them."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    random = Random(0)
    for text in grounded._paragraphs():  # the same paragraphs as the recipe from nothing
        pairs = [pair for one in re.split(r"(?<=[.?!])\s+", text) if (pair := ask(one, random))]
        if pairs:
            found.append((text, pairs))
    return found


def prose_passage(random: Random) -> Document:
    """Public prose and questions that rules make; some belong to a paragraph that is not there."""
    picked = random.sample(_asked_paragraphs(), random.choice((1, 2, 2, 3)))
    pairs = [pair for _, asked in picked for pair in asked]
    absent = random.choice(ABSENT)
    random.shuffle(pairs)
    if random.random() < 0.6:
        question = random.choice(random.choice(_asked_paragraphs())[1])[0]
        pairs.insert(random.randrange(len(pairs) + 1), (question, absent))
    return lay_out("\n\n".join(text for text, _ in picked), pairs[:5], random, "prose_passage")


def needles(random: Random) -> Document:
    """Facts of a business lost in a few hundred words about other things."""
    texts = [text for text, _ in random.sample(_asked_paragraphs(), random.choice((2, 3, 4)))]
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, random.choice((2, 4, 6)))]
    pieces = [sentence for text in texts for sentence in re.split(r"(?<=[.?!])\s+", text)]
    for fact in facts:
        pieces.insert(random.randrange(len(pieces) + 1), fact.statement)
    pairs = [(random.choice(fact.topic.questions), fact.statement) for fact in facts]
    pairs.append((draw_missing(random, facts), UNKNOWN))
    random.shuffle(pairs)
    return place(
        random.choice(HEADS).format(company=draw_company(random)), " ".join(pieces), _turns(pairs), random, "needles"
    )


@functools.cache
def _sections() -> list[tuple[str, str]]:
    """(heading, first paragraph below it) of documentation."""
    found: list[tuple[str, str]] = []
    for _, text in prose():
        for match in re.finditer(r"^#+ ([^\n]{8,60})\n+([A-Z][^\n#|`<>\[\]{}]{80,500}[.])$", text[:8000], re.MULTILINE):
            found.append((re.sub(r"[*_`]", "", match[1]).strip(), match[2]))
    return found


def section(random: Random) -> Document:
    """Which of several sections tells about a heading: the heading is asked for, its first sentence is the answer."""
    picked = random.sample(_sections(), random.choice((2, 3, 4)))
    text = "\n\n".join(f"## {title}\n{body}" for title, body in picked)
    random.shuffle(picked)
    form = random.choice(("What does the text say about {}?", "{}", "Tell me about {}.", "Look up: {}"))
    lower = random.random() < 0.5
    pairs = [
        (form.format(title.lower() if lower else title), re.split(r"(?<=[.?!])\s+", body)[0]) for title, body in picked
    ]
    return lay_out(text, pairs, random, "section")


GOODS = [
    "milk",
    "bread",
    "eggs",
    "butter",
    "rice",
    "apples",
    "bananas",
    "tea",
    "coffee",
    "soap",
    "paper",
    "pens",
    "notebook",
    "stapler",
    "cable",
    "mouse",
    "lamp",
    "batteries",
    "toner",
    "tomatoes",
    "cheese",
    "yoghurt",
    "screws",
    "paint",
    "brushes",
    "oranges",
    "pasta",
    "flour",
    "sugar",
    "salt",
    "towels",
    "candles",
    "umbrella",
    "shampoo",
]


def paper(random: Random) -> Document:
    """A receipt, an invoice, a form, a table or a screen, with questions on single values."""
    text, pairs = random.choice((_receipt, _receipt, _table, _form, _screen, _listing))(random)
    random.shuffle(pairs)
    return lay_out(text, pairs[: random.choice((2, 4, 6, 8))], random, "paper")


def _amount(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _receipt(random: Random) -> tuple[str, list[tuple[str, str]]]:
    shop, number, date = draw_company(random), str(random.randint(10000, 999999)), draw_value(random, "date").text
    items = {name: random.randint(50, 9000) for name in random.sample(GOODS, random.randint(2, 6))}
    total = sum(items.values())
    tax_rate = random.choice((5, 7, 10, 19, 20, 21, 25))
    tax = round(total * tax_rate / (100 + tax_rate))
    paid = random.choice(("Card", "Cash", "VISA", "PayPal"))
    gap = random.choice(("  ", " ", "\t", "....", "   "))
    lines = [shop, random.choice((f"Receipt no. {number}", f"Invoice {number}", f"No: {number}")), f"Date{gap}{date}"]
    lines += [f"{name.title()}{gap}{_amount(cents)}" for name, cents in items.items()]
    lines += [f"Total{gap}{_amount(total)}", f"incl. VAT {tax_rate}%{gap}{_amount(tax)}", f"Paid by {paid}"]
    name = random.choice(list(items))
    pairs = [
        (random.choice(("What is the total?", "How much was paid?", "total amount")), _amount(total)),
        (random.choice(("What is the date?", "When was this?")), date),
        (random.choice(("What is the number?", "Which receipt number?")), number),
        (random.choice((f"How much did the {name} cost?", f"price of {name}")), _amount(items[name])),
        (random.choice(("How much VAT is in it?", "What is the VAT amount?")), _amount(tax)),
        (random.choice(("What is the VAT rate?", "At what rate is VAT?")), f"{tax_rate}%"),
        (random.choice(("Which shop is it from?", "Who sold this?")), shop),
        ("How was it paid?", paid),
        (random.choice(("Who was the cashier?", "What is the phone number?", "How much was the tip?")), UNKNOWN),
    ]
    return "\n".join(lines), pairs


def _table(random: Random) -> tuple[str, list[tuple[str, str]]]:
    rows = list(dict.fromkeys(random.choice((_region, _person))(random) for _ in range(random.randint(2, 6))))
    columns = random.choice(
        (("Q1", "Q2", "Q3", "Q4"), ("2023", "2024", "2025"), ("Jan", "Feb", "Mar"), ("Open", "Closed"))
    )
    cells = {(row, column): f"{random.randint(3, 9999):,}" for row in rows for column in columns}
    mark = random.choice((" | ", "  ", "\t", ", ", " ; "))
    lines = [mark.join(("Name", *columns))] + [mark.join((row, *(cells[row, c] for c in columns))) for row in rows]
    pairs = [
        (
            random.choice(
                (f"What is the value for {row} in {column}?", f"{row}, {column}?", f"How many had {row} in {column}?")
            ),
            cell,
        )
        for (row, column), cell in cells.items()
    ]
    row, column = random.choice(list(cells))
    if list(cells.values()).count(cells[row, column]) == 1:
        pairs.append((f"Who had {cells[row, column]}?", row))
    pairs.append((f"What is the value for {draw_word(random, syllables=2).title()} in {columns[0]}?", UNKNOWN))
    return "\n".join(lines), pairs


def _region(random: Random) -> str:
    return random.choice(("North", "South", "East", "West", "Team Alpha", "Team Bravo", "Centre", "Online"))


def _person(random: Random) -> str:
    return draw_value(random, "person").text


FORM_FIELDS = (
    ("Name", "person", "What is the name?"),
    ("Date", "date", "What is the date?"),
    ("Place", "place", "Which place is given?"),
    ("Reference", "code", "What is the reference?"),
    ("Phone", "phone", "What is the phone number?"),
    ("E-mail", "email", "What is the email address?"),
    ("Amount due", "money", "How much is due?"),
    ("Due date", "date", "When is it due?"),
    ("Contact", "person", "Who is the contact?"),
    ("Product", "thing", "Which product is it about?"),
    ("Quantity", "count", "What is the quantity?"),
    ("Start time", "time", "When does it start?"),
    ("Customer no.", "code", "What is the customer number?"),
    ("Delivery address", "place", "Where is it delivered?"),
)


def _form(random: Random) -> tuple[str, list[tuple[str, str]]]:
    fields = random.sample(FORM_FIELDS, random.randint(3, 9))
    values = {name: draw_value(random, kind).text for name, kind, _ in fields}
    gap = random.choice((": ", ":  ", "\n", " - ", "\t"))
    text = "\n".join(f"{name}{gap}{values[name]}" for name, _, _ in fields)
    title = random.choice(("", "INVOICE\n", "ORDER FORM\n", f"{draw_company(random)}\n", "Registration\n"))
    pairs = [(question, values[name]) for name, _, question in fields]
    absent = [question for name, _, question in FORM_FIELDS if name not in values and "date" not in name.lower()]
    related = {"Name", "Contact"} & set(values)
    absent = [question for question in absent if not (related and ("name" in question or "contact" in question))]
    if absent:
        pairs.append((random.choice(absent), UNKNOWN))
    return title + text, pairs


def _screen(random: Random) -> tuple[str, list[tuple[str, str]]]:
    code, port, version = (
        f"E-{random.randint(100, 9999)}",
        str(random.randint(1024, 65000)),
        ".".join(str(random.randint(0, 20)) for _ in range(3)),
    )
    user, date, path = (
        draw_word(random, syllables=2),
        draw_value(random, "date").text,
        f"/var/{draw_word(random, syllables=2)}/log",
    )
    lines = [
        random.choice((f"Error {code}: connection refused", f"ERROR [{code}] the request has failed")),
        random.choice((f"listening on port {port}", f"port={port}")),
        f"version {version}",
        f"user: {user}",
        f"Your plan renews on {date}",
        f"log file {path}",
    ]
    random.shuffle(lines)
    pairs = [
        ("What is the error code?", code),
        ("Which port is used?", port),
        ("Which version is it?", version),
        ("Who is the user?", user),
        ("When does the plan renew?", date),
        ("Where is the log file?", path),
        (random.choice(("What is the host name?", "How much memory is used?", "Which browser is it?")), UNKNOWN),
    ]
    return "\n".join(lines), pairs


def _listing(random: Random) -> tuple[str, list[tuple[str, str]]]:
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, random.choice((4, 7, 10)))]
    pairs = [(random.choice(fact.topic.questions), fact.value) for fact in facts if len(fact.parts) == 1]
    pairs.append((draw_missing(random, facts), UNKNOWN))
    return shape_facts(facts, random), pairs
