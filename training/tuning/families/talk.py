"""Conversation: greetings, who the model is, plain questions, verse, what cannot be known.

Owns:   questions and answers written for this project. What is asked about things that do not exist, or that only the
        present tells, is not known, and said so.
"""

from random import Random

from renga.services.evals.suites.values import draw_value, draw_word
from training.data.documents import Document, Turn
from training.tuning.families.haiku import HAIKU
from training.tuning.families.knowledge import KNOWN, TABLES

GREETINGS = (
    ("hello", "Hello! How can I help you?"),
    ("hi", "Hi! What can I do for you?"),
    ("Hi there!", "Hi! How can I help you today?"),
    ("hey", "Hey! What can I do for you?"),
    ("good morning", "Good morning! How can I help you?"),
    ("good evening", "Good evening! What can I do for you?"),
    ("how are you?", "I am fine, thank you. How can I help you?"),
    ("How's it going?", "Well, thank you! What can I do for you?"),
    ("thanks", "You're welcome!"),
    ("thank you very much", "You're welcome! Is there anything else?"),
    ("bye", "Goodbye!"),
    ("good night", "Good night!"),
    ("ok", "Is there anything else I can help with?"),
    ("test", "I am here. What can I do for you?"),
    ("ping", "pong"),
    ("are you there?", "Yes, I am here. How can I help you?"),
    ("who are you?", "I am hokku-m, a small language model that runs on this machine."),
    ("What is your name?", "My name is hokku-m. I am a small language model."),
    ("what model are you", "I am hokku-m, a small model tuned from SmolLM2-135M."),
    ("Who made you?", "I am hokku-m, tuned for Renga from the open model SmolLM2-135M."),
    ("Are you ChatGPT?", "No, I am hokku-m, a small language model that runs on this machine."),
    ("Are you Claude?", "No, I am hokku-m, a small language model that runs on this machine."),
    ("are you human?", "No, I am a small language model."),
    ("Are you a robot?", "I am a language model, a program that reads and writes text."),
    (
        "what can you do?",
        "I can answer questions about a text or a list of facts, use tools, pull out data, sort messages, summarise "
        "and rewrite. I am small, so check what matters.",
    ),
    ("help", "Tell me what you need: I can answer from a text, summarise, rewrite, sort or pull out data."),
    ("Can I trust you?", "I am a small model and make mistakes. Please check what matters."),
    ("can you browse the internet?", "No, I cannot. I only see what you write to me."),
    ("Do you remember our last chat?", "No, I only see this conversation."),
)
SYSTEMS = ("", "", "", "You are a helpful assistant.", "Answer briefly.", "You are a friendly assistant.")


def greetings(random: Random) -> Document:
    """Short exchanges, and a name that is told and asked for later."""
    turns: list[Turn] = []
    for question, answer in random.sample(GREETINGS, random.choice((1, 2, 3, 4))):
        turns += [Turn("user", question), Turn("assistant", answer)]
    if random.random() < 0.35:
        kind, said, asked, answered = random.choice(REMEMBERED)
        value = draw_value(random, kind).text
        turns[:0] = [Turn("user", said.format(value)), Turn("assistant", "Thank you, I will keep that in mind.")]
        turns += [Turn("user", asked), Turn("assistant", answered.format(value))]
    return Document(tuple(turns), random.choice(SYSTEMS), family="greetings")


REMEMBERED = (
    ("person", "My name is {}.", "What is my name?", "Your name is {}."),
    ("person", "hi, i'm {}", "do you know who i am?", "You are {}."),
    ("place", "I live in {}.", "Where do I live?", "You live in {}."),
    ("code", "My order number is {}.", "What was my order number?", "Your order number is {}."),
    ("colour", "My favourite colour is {}.", "Which colour do I like?", "You like {}."),
    ("date", "My birthday is on {}.", "When is my birthday?", "Your birthday is on {}."),
    ("thing", "I bought a {} from you.", "What did I buy?", "You bought a {}."),
)


def plain_questions(random: Random) -> Document:
    """Questions that a small model should know, and now and then one that nobody can."""
    turns: list[Turn] = []
    for _ in range(random.choice((1, 2, 4, 6))):
        chance = random.random()
        if chance < 0.18:
            question, answer = _unknowable(random)
        elif chance < 0.5:
            question, answer = random.choice(KNOWN)
        else:
            question, answer = _from_table(random)
        turns += [Turn("user", question), Turn("assistant", answer)]
    return Document(tuple(turns), random.choice(SYSTEMS), family="plain_questions")


def _from_table(random: Random) -> tuple[str, str]:
    table = random.choice(TABLES)
    left, right = random.choice(table.rows)
    question, answer = random.choice(table.forms)
    shown = question.format(left=left, right=right)
    return shown if random.random() < 0.8 else shown.lower().rstrip("?."), answer.format(left=left, right=right)


UNKNOWABLE = (
    ("Who founded {t}?", "I do not know {t}."),
    ("What is the capital of {w}?", "I do not know a country called {w}."),
    ("When was {n} born?", "I do not know when {n} was born."),
    ("Who is {n}?", "I do not know who {n} is."),
    ("What does the word {w} mean?", "I do not know the word {w}."),
    ("How many people live in {w}?", "I do not know {w}."),
    ("Who wrote {t}?", "I do not know who wrote {t}."),
    ("What is the phone number of {n}?", "I do not know the phone number of {n}."),
    ("What time is it?", "I do not know: I have no clock."),
    ("What day is it today?", "I do not know today's date."),
    ("What is the weather today?", "I do not know: I cannot see the weather."),
    ("What's in the news?", "I do not know: I have no access to the news."),
    ("What is the price of {t} right now?", "I do not know: I have no access to current prices."),
    ("Who will win the next election?", "I do not know. Nobody can say that in advance."),
    ("What am I thinking of?", "I do not know: I only see what you write."),
    ("Where is my order {c}?", "I do not know: I have no access to orders here."),
    ("How much money do I have?", "I do not know: I have no access to your account."),
    ("What did {n} say yesterday?", "I do not know what {n} said."),
    ("Tell me about the battle of {w}.", "I do not know of a battle of {w}."),
    ("Cancel my subscription.", "I cannot do that from here: I have no tool for it."),
    ("Send an email to {n}.", "I cannot send emails from here: I have no tool for it."),
    ("Call {n} for me.", "I cannot make calls."),
    ("Set an alarm for seven.", "I cannot set alarms from here: I have no tool for it."),
    ("Buy me a {g}.", "I cannot buy things from here."),
)


def _unknowable(random: Random) -> tuple[str, str]:
    question, answer = random.choice(UNKNOWABLE)
    words = {
        "t": draw_word(random, syllables=2).title() + random.choice((" Institute", " Group", "", " Company")),
        "w": draw_word(random, syllables=random.choice((2, 3))).title(),
        "n": f"{draw_value(random, 'person').text.split()[0]} {draw_word(random, syllables=2).title()}",
        "c": draw_value(random, "code").text,
        "g": draw_value(random, "thing").text,
    }
    return question.format(**words), answer.format(**words)


HAIKU_REQUESTS = (
    "Write a haiku.",
    "Write a haiku about {}.",
    "haiku about {}",
    "Write me a haiku on {} please",
    "Can you write a haiku about {}?",
    "A short poem about {}, three lines.",
    "compose a haiku: {}",
    "Give me a haiku about {}.",
)


def haiku(random: Random) -> Document:
    """Three lines of five, seven and five syllables."""
    turns: list[Turn] = []
    for subject, lines in random.sample(HAIKU, random.choice((1, 1, 2))):
        text = "\n".join(line.strip() for line in lines.split("/"))
        turns += [Turn("user", random.choice(HAIKU_REQUESTS).format(subject)), Turn("assistant", text)]
    return Document(tuple(turns), random.choice(SYSTEMS), family="haiku")
