"""Rewriting by rule: case, lists, sorting, grammar, tone, short letters, one-sentence summaries."""

import json
import re
from random import Random

from renga.services.evals.suites.values import draw_value
from training.data.documents import Document, Turn
from training.tuning.families.topics import TOPICS, draw_fact, draw_topic_value

SYSTEMS = (
    "",
    "",
    "",
    "You are a helpful assistant.",
    "Reply with the result only.",
    "Do what is asked and nothing else.",
)

SUBJECTS = (("She", "he"), ("He", "she"), ("My sister", "it"), ("The manager", "they"), ("The dog", "it"))
GRAMMAR = (
    ("{s} go to {p} yesterday.", "{s} went to {p} yesterday."),
    ("{s} don't like the {t}.", "{s} doesn't like the {t}."),
    ("{s} have a {t}.", "{s} has a {t}."),
    ("{s} is more taller than {n}.", "{s} is taller than {n}."),
    ("{s} can to swim.", "{s} can swim."),
    ("There is many {t}s here.", "There are many {t}s here."),
    ("I has lost the {t}.", "I have lost the {t}."),
    ("We was in {p} on {d}.", "We were in {p} on {d}."),
    ("They goes to {p} every year.", "They go to {p} every year."),
    ("{n} and me are going to {p}.", "{n} and I are going to {p}."),
    ("{s} buyed a {t}.", "{s} bought a {t}."),
    ("I am agree with {n}.", "I agree with {n}."),
    ("its raining in {p}", "It's raining in {p}."),
    ("i lives in {p}", "I live in {p}."),
    ("{s} did not went to {p}.", "{s} did not go to {p}."),
    ("This {t} are broken.", "This {t} is broken."),
    ("How much {t}s do you have?", "How many {t}s do you have?"),
    ("{s} is waiting since two hours.", "{s} has been waiting for two hours."),
    ("We recieved the {t} on {d}.", "We received the {t} on {d}."),
    ("The {t} arived to late.", "The {t} arrived too late."),
    ("Your the best, {n}.", "You're the best, {n}."),
    ("I should of called {n}.", "I should have called {n}."),
)
TONES = (
    ("Send me the {t} now.", "Could you please send me the {t}?", "polite"),
    ("Where is my {t}?", "Could you please tell me where my {t} is?", "polite"),
    ("Call {n}.", "Could you please call {n}?", "polite"),
    ("You are late again.", "I noticed that you were late again.", "polite"),
    ("This {t} is rubbish.", "I am not satisfied with this {t}.", "polite"),
    ("I want my money back.", "I would like a refund, please.", "polite"),
    ("Your price is too high.", "The price is higher than we had expected.", "polite"),
    ("No, I can't come on {d}.", "Unfortunately I cannot come on {d}.", "polite"),
    ("hey, got the {t}, thx!", "Hello, I have received the {t}. Thank you.", "formal"),
    ("gonna be late, sorry", "I am going to be late. My apologies.", "formal"),
    ("can u send the {t} asap", "Could you please send the {t} as soon as possible?", "formal"),
    ("we can't do that, sorry.", "Unfortunately, we cannot do that.", "formal"),
    ("see ya on {d}", "I look forward to seeing you on {d}.", "formal"),
    ("I would like to inform you that the {t} has arrived.", "The {t} is here!", "casual"),
    ("We regret that we are unable to attend on {d}.", "Sorry, we can't make it on {d}.", "casual"),
    ("I look forward to meeting you in {p}.", "See you in {p}!", "casual"),
)
LETTERS = (
    (
        "Write a short email to {n}: the meeting is moved to {d}.",
        "Dear {n},\n\nthe meeting has been moved to {d}.\n\nBest regards",
    ),
    (
        "Write a short thank-you note to {n} for the {t}.",
        "Dear {n},\n\nthank you very much for the {t}.\n\nBest wishes",
    ),
    (
        "Write an email to {n} that order {c} is delayed until {d}.",
        "Dear {n},\n\nyour order {c} is delayed. We expect it on {d}. We are sorry for the wait.\n\nBest regards",
    ),
    ("Write a message to {n} that I am in {p} until {d}.", "Hi {n}, I am in {p} until {d}."),
    ("Invite {n} to lunch on {d}.", "Hi {n}, would you like to have lunch with me on {d}?"),
    ("Tell {n} politely that the {t} is sold out.", "Dear {n}, unfortunately the {t} is sold out. We are sorry."),
    ("Write a subject line for a mail about the {t}, due {d}.", "The {t}, due {d}"),
    (
        "Reply to this review: 'The {t} broke after a week.'",
        "We are sorry that the {t} broke so soon. Please write to us so that we can put it right.",
    ),
    ("Reply to this review: 'I love the {t}!'", "Thank you! We are glad that you like the {t}."),
    ("Write one sentence that advertises a {t} from {p}.", "Meet the {t} from {p}, made to be used every day."),
)
REVIEWS = (
    ("The {t} is wonderful, I use it every day.", "positive"),
    ("The {t} broke after two days.", "negative"),
    ("{n} was so kind and helped me at once.", "positive"),
    ("The food was cold and {n} was rude.", "negative"),
    ("Great price, fast delivery, I will come again.", "positive"),
    ("I waited for three weeks and nobody answered.", "negative"),
    ("The {t} came on {d}.", "neutral"),
    ("Best {t} I ever had!", "positive"),
    ("Do not buy this {t}.", "negative"),
    ("It is a {t}. It is what it says.", "neutral"),
    ("I am very happy with the {t}.", "positive"),
    ("What a waste of money.", "negative"),
    ("The room was clean and quiet.", "positive"),
    ("The screen flickers and the battery is dead by noon.", "negative"),
)


def _fill(random: Random, *forms: str) -> list[str]:
    words = {
        "s": random.choice(SUBJECTS)[0],
        "n": draw_value(random, "person").text.split()[0],
        "p": draw_value(random, "place").text,
        "t": random.choice(
            ("lamp", "jacket", "kettle", "printer", "chair", "tent", "report", "book", "phone", "parcel", "mug")
        ),
        "d": random.choice(("Monday", "Friday", "3 May", "12 June", "Tuesday", "the 21st", "next week")),
        "c": draw_value(random, "code").text,
    }
    return [form.format(**words) for form in forms]


def _grammar(random: Random) -> tuple[str, str]:
    wrong, right = _fill(random, *random.choice(GRAMMAR))
    ask = random.choice(
        (
            "Fix the grammar: {}",
            "Correct this sentence: {}",
            "Correct the mistakes.\n\n{}",
            "fix: {}",
            "Is this right? Correct it: {}",
        )
    )
    if random.random() < 0.15:
        wrong = right
    return ask.format(wrong), right


def _tone(random: Random) -> tuple[str, str]:
    plain, better, tone = random.choice(TONES)
    plain, better = _fill(random, plain, better)
    asks = {
        "polite": ("Make this more polite: {}", "Rewrite politely: {}", "Say this in a friendly way: {}"),
        "formal": ("Make this formal: {}", "Rewrite this in a formal tone: {}", "Write this professionally: {}"),
        "casual": ("Make this casual: {}", "Rewrite this in a relaxed tone: {}", "Say this more simply: {}"),
    }
    return random.choice(asks[tone]).format(plain), better


def _letter(random: Random) -> tuple[str, str]:
    asked, text = _fill(random, *random.choice(LETTERS))
    return asked, text


def _sentiment(random: Random) -> tuple[str, str]:
    form, label = random.choice(REVIEWS)
    (text,) = _fill(random, form)
    ask = random.choice(
        (
            "Is this review positive, negative or neutral? '{}'",
            "What is the sentiment of this text: positive, negative or neutral?\n\n{}",
            "Sentiment (positive/negative/neutral): {}",
        )
    )
    return ask.format(text), label


def _items(random: Random) -> list[str]:
    kind = random.choice(("thing", "place", "person", "title"))
    return list(dict.fromkeys(draw_value(random, kind).text for _ in range(random.randint(3, 7))))


def _list(random: Random) -> tuple[str, str]:
    items = _items(random)
    spoken = ", ".join(items[:-1]) + " and " + items[-1]
    style = random.randrange(7)
    if style == 0:
        return f"Make a bullet list: {spoken}", "\n".join(f"- {item}" for item in items)
    if style == 1:
        return f"Sort alphabetically: {', '.join(items)}", ", ".join(sorted(items, key=str.lower))
    if style == 2:
        return f"Number these: {spoken}", "\n".join(f"{n}. {item}" for n, item in enumerate(items, 1))
    if style == 3:
        return f"Make a JSON list of: {', '.join(items)}", json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    if style == 4:
        return f"How many items are in this list? {', '.join(items)}", str(len(items))
    if style == 5:
        listed = "\n".join(f"- {item}" for item in items)
        return f"Write this list as one sentence.\n{listed}", f"There are {spoken}."
    place = random.randrange(min(3, len(items)))
    return f"What is the {('first', 'second', 'third')[place]} item? {', '.join(items)}", items[place]


def _numbers(random: Random) -> tuple[str, str]:
    numbers = random.sample(range(1, random.choice((20, 100, 500))), random.randint(3, 6))
    shown = ", ".join(map(str, numbers))
    style = random.randrange(5)
    if style == 0:
        return f"Sort these numbers ascending: {shown}", ", ".join(map(str, sorted(numbers)))
    if style == 1:
        return f"Which is the largest: {shown}?", str(max(numbers))
    if style == 2:
        return f"Which is the smallest number? {shown}", str(min(numbers))
    left, right = random.randint(1, 40), random.randint(1, 20)
    sign, result = random.choice(
        (("plus", left + right), ("+", left + right), ("minus", left - right), ("-", left - right))
    )
    if style == 3:
        return f"What is {left} {sign} {right}?", str(result)
    left, right = random.randint(2, 12), random.randint(2, 12)
    return random.choice((f"What is {left} times {right}?", f"{left} * {right}")), str(left * right)


def _case(random: Random) -> tuple[str, str]:
    text = draw_fact(random, random.choice(TOPICS)).statement
    style = random.randrange(4)
    if style == 0:
        return f"Write this in capital letters: {text}", text.upper()
    if style == 1:
        return f"Write this in lower case: {text}", text.lower()
    if style == 2:
        return f"Repeat exactly: {text}", text
    word = random.choice(re.findall(r"[A-Za-z]{4,}", text))
    return f"Replace '{word}' with 'XXX': {text}", re.sub(rf"\b{word}\b", "XXX", text)


def _data(random: Random) -> tuple[str, str]:
    email, phone = draw_value(random, "email").text, draw_topic_value(random, "phone")
    person = draw_value(random, "person").text
    text = random.choice(
        (
            f"Hi, this is {person}. Write to {email} or call {phone}.",
            f"{person} ({email}), tel. {phone}",
            f"Please forward it to {email}. My number is {phone}. Regards, {person}",
        )
    )
    asked, answer = random.choice((("email address", email), ("phone number", phone), ("name", person)))
    return random.choice((f"Extract the {asked}: {text}", f"Which {asked} is in this text? {text}")), answer


KINDS = (_grammar, _grammar, _tone, _tone, _letter, _sentiment, _list, _list, _numbers, _numbers, _case, _data)


def rewriting(random: Random) -> Document:
    """One to three small tasks on texts."""
    turns: list[Turn] = []
    for _ in range(random.choice((1, 2, 2, 3))):
        asked, answer = random.choice(KINDS)(random)
        turns += [Turn("user", asked), Turn("assistant", answer)]
    return Document(tuple(turns), random.choice(SYSTEMS), family="rewriting")


SUMS = (
    "Summarise this in one sentence.",
    "Give a one-sentence summary.",
    "TL;DR",
    "Summarize the text below.",
    "Shorten this.",
    "What is the main point?",
)


def desk_summary(random: Random) -> Document:
    """A customer's message of several sentences, and what it comes to."""
    person, thing = (
        draw_value(random, "person").text,
        random.choice(("lamp", "jacket", "kettle", "printer", "chair", "tent")),
    )
    date, code = draw_value(random, "date").text, draw_value(random, "code").text
    place = draw_value(random, "place").text
    problem, wish = random.choice(PROBLEMS), random.choice(WISHES)
    fillers = random.sample(FILLERS, random.choice((1, 2, 3)))
    lines = [
        f"Hello, my name is {person} and I bought a {thing} on {date}, order {code}.",
        problem[0].format(t=thing, p=place),
    ]
    lines[1:1] = fillers[:1]
    lines += fillers[1:]
    lines.append(wish[0].format(p=place))
    summary = f"{person} {problem[1].format(t=thing, p=place)} (order {code}) and {wish[1].format(p=place)}."
    ask, text = random.choice(SUMS), " ".join(lines)
    if random.random() < 0.5:
        return Document((Turn("user", f"{ask}\n\n{text}"), Turn("assistant", summary)), family="desk_summary")
    return Document((Turn("user", text), Turn("assistant", summary)), ask, family="desk_summary")


PROBLEMS = (
    ("The {t} does not work at all.", "has a {t} that does not work"),
    ("It arrived with a broken handle.", "got a broken {t}"),
    ("I have not received the {t} so far.", "has not received the {t}"),
    ("You sent the wrong colour.", "got the {t} in the wrong colour"),
    ("I was charged twice for it.", "was charged twice for the {t}"),
    ("The parcel went to {p} where I no longer live.", "has a parcel with a {t} that went to {p}"),
    ("The {t} makes a terrible noise.", "has a {t} that makes a noise"),
    ("I am very happy with the {t}.", "is happy with the {t}"),
)
WISHES = (
    ("Please send me a new one.", "wants a new one"),
    ("I want my money back.", "wants the money back"),
    ("Could somebody call me?", "asks for a call"),
    ("Please send it to {p} instead.", "wants it sent to {p}"),
    ("What should I do now?", "asks what to do"),
    ("I would like to order a second one.", "wants to order another"),
    ("Can you repair it?", "asks for a repair"),
)
FILLERS = (
    "I have been your customer for many years.",
    "I must say that I am surprised.",
    "My neighbour has the same one and likes it.",
    "I tried to call you but the line was busy.",
    "The weather has been awful here.",
    "I read the manual twice.",
    "Normally I only buy from you.",
    "I hope that this reaches the right person.",
)
