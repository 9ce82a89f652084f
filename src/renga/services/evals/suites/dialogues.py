"""Writes a desk's facts and the dialogue in which a customer asks.

Owns:   drawing companies, facts and follow-up turns. Used by the support suite and by training with other seeds,
        other questions and other values.
"""

import re
from dataclasses import dataclass
from random import Random

from renga.services.evals.suites.front_desk import PLACEHOLDERS, FrontDesk
from renga.services.evals.suites.values import draw_value, draw_word


@dataclass(frozen=True, slots=True)
class Said:
    """One earlier turn of a dialogue, before the question is asked."""

    role: str
    text: str


def draw_desk(random: Random) -> tuple[FrontDesk, list[str]]:
    """Draw a company with its facts, and the order in which the system text gives them."""
    company = draw_word(random, syllables=2).title()
    hours = f"{random.randint(6, 10)} am to {random.randint(4, 9)} pm"
    facts: dict[str, str] = {}
    for name, kind in PLACEHOLDERS.items():
        if kind == "site":
            facts[name] = f"{company.lower()}.{random.choice(('com', 'org', 'shop'))}"
        elif kind == "hours":
            facts[name] = hours
        else:
            facts[name] = draw_value(random, kind).text
    order = list(facts)
    random.shuffle(order)
    return FrontDesk(company, facts), order


OPENINGS = ("hello", "hi there", "good morning", "hey", "Hi, I have a question", "hello, are you there?")
GREETINGS = ("Hello! How can I help you?", "Hi! What can I do for you?", "Good day! How can I help?")
ORDER_SAID = ("my order number is {}", "it is about order {}", "order {}", "I have order {} with you")
ORDER_NOTED = ("Thank you. What about order {}?", "Thanks, I have found order {}. What do you need?")


def draw_prelude(random: Random, desk: FrontDesk, order: list[str]) -> list[Said]:
    """Turns before the question. In a third of the dialogues the customer gives the order number: `order` loses it."""
    said: list[Said] = []
    if random.random() < 0.3:
        said += [Said("user", random.choice(OPENINGS)), Said("assistant", random.choice(GREETINGS))]
    if random.random() < 0.33:
        order.remove("order")
        number = desk.facts["order"]
        said.append(Said("user", random.choice(ORDER_SAID).format(number)))
        said.append(Said("assistant", random.choice(ORDER_NOTED).format(number)))
    return said


def with_order(question: str, order: str) -> str:
    """Put this dialogue's order number where a question has another one."""
    return re.sub(r"\d{5,}", order, question)
