"""Help-desk passages with invented facts, and questions that only the passage answers.

Owns:   two lists of fact frames, TRAINING_FACTS and HELD_OUT_FACTS, that share no frame.
"""

from dataclasses import dataclass
from random import Random

from renga.services.evals.suites.values import draw_value, draw_word


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence with one value, and ways to ask for it."""

    sentence: str
    "{subject} and {value}"
    questions: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class FactPassage:
    """A passage, and questions whose answers stand in it word for word."""

    text: str
    asked: tuple[tuple[str, str], ...]
    "(question, answer) for every fact, in random order"


def _facts(table: str) -> tuple[Fact, ...]:
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return tuple(Fact(row[1], tuple(part.strip() for part in row[2].split(";")), row[0]) for row in rows)


TRAINING_FACTS = _facts(
    """
    place | The head office of {subject} is in {value}. | Where is the head office of {subject}? ; In which city is {subject}?
    person | {subject} was founded by {value}. | Who founded {subject}? ; By whom was {subject} founded?
    date | {subject} opens again on {value}. | When does {subject} open again? ; On what day does {subject} open?
    money | A yearly pass for {subject} costs {value}. | How much is a yearly pass for {subject}? ; What does a pass cost?
    count | {subject} has {value} branches. | How many branches does {subject} have?
    email | Complaints about {subject} go to {value}. | Where do complaints about {subject} go? ; What is the address for complaints?
    phone | The hotline of {subject} is {value}. | What is the hotline of {subject}? ; Which number do I call?
    thing | The best-selling product of {subject} is the {value}. | What is the best-selling product of {subject}? ; What sells best?
    person | The director of {subject} is {value}. | Who is the director of {subject}? ; Who leads {subject}?
    time | On weekdays {subject} closes at {value}. | When does {subject} close on weekdays? ; At what time does {subject} close?
    code | Use the voucher {value} for a discount at {subject}. | Which voucher gives a discount at {subject}?
    date | {subject} was sold on {value}. | When was {subject} sold?
    count | Every customer of {subject} may borrow {value} items. | How many items may a customer of {subject} borrow?
    place | Parcels of {subject} are shipped from {value}. | Where are parcels of {subject} shipped from? ; Where do parcels come from?
    title | The magazine of {subject} is called {value}. | What is the magazine of {subject} called?
    money | The fine for late returns at {subject} is {value}. | How high is the fine at {subject}? ; What is the fine for late returns?
    """  # noqa: E501
)
HELD_OUT_FACTS = _facts(
    """
    place | The yearly fair of {subject} takes place in {value}. | Where does the yearly fair of {subject} take place?
    person | {value} designed the logo of {subject}. | Who designed the logo of {subject}?
    date | Members of {subject} vote on {value}. | When do members of {subject} vote?
    money | Repairs at {subject} start at {value}. | What do repairs at {subject} start at?
    count | The warehouse of {subject} holds {value} pallets. | How many pallets does the warehouse of {subject} hold?
    email | Job applications for {subject} reach the team at {value}. | Where do I send a job application for {subject}?
    thing | {subject} gives every new member a {value}. | What does {subject} give every new member?
    code | The form for returns at {subject} is number {value}. | What is the number of the form for returns at {subject}?
    time | Guided tours of {subject} begin at {value}. | At what time do guided tours of {subject} begin?
    title | The first film about {subject} was {value}. | What was the first film about {subject}?
    """  # noqa: E501
)
FILLERS = (
    "Customers come from all over the region.",
    "The rooms were renovated and are bright now.",
    "Most visitors come back within a year.",
    "Please bring your card, since the staff may ask for it.",
    "The team answers within two working days.",
    "Children are welcome if an adult is with them.",
    "All prices include tax.",
    "There is a car park behind the building.",
    "Old goods can be left at the entrance.",
    "In winter the hours may change.",
)
"""Sentences without an answer."""


def draw_passage(random: Random, facts: tuple[Fact, ...], *, sentences: int) -> FactPassage:
    """Mix facts about one or two subjects with fillers, and ask for each of them."""
    subjects = [
        f"{draw_word(random, syllables=2).title()}{random.choice((' Store', ' Library', '', ' Group', ' Club'))}"
    ]
    if random.random() < 0.4:
        subjects.append(draw_word(random, syllables=2).title())
    chosen = random.sample(facts, min(len(facts), max(2, sentences * 2 // 3)))
    lines: list[str] = random.sample(FILLERS, min(len(FILLERS), max(1, sentences - len(chosen))))
    asked: list[tuple[str, str]] = []
    for fact in chosen:
        subject = random.choice(subjects)
        value = draw_value(random, fact.kind).text
        lines.append(fact.sentence.format(subject=subject, value=value))
        asked.append((random.choice(fact.questions).format(subject=subject), value))
    random.shuffle(lines)
    return FactPassage(" ".join(lines), tuple(asked))
