"""Questions on lists of facts: FAQs, tables of keys and values, policies and prose in some thirty shapes.

Owns:   the shapes, and how a desk answers: with the fact, and nothing that the facts do not say. What no fact answers
        is not known; what only a person or a tool could do is not claimed to be done.
"""

import json
from collections.abc import Callable
from random import Random

from renga.services.evals.suites.values import draw_value
from training.data.documents import Document, Turn
from training.tuning.families.topics import REQUESTS, TOPICS, Fact, draw_company, draw_fact, draw_missing

UNKNOWN = "I do not know from these facts."
UNKNOWN_SHARE = 0.09
REQUEST_SHARE = 0.1

Shape = Callable[[list[Fact], Random], str]


def _each(form: str, joint: str = "\n") -> Shape:
    """A shape that writes every fact alike: {q} a question, {s} the statement, {k} the key, {v} the value, {n} the
    number.
    """

    def write(facts: list[Fact], random: Random) -> str:
        return joint.join(
            form.format(q=_asked(random, fact), s=fact.statement, k=fact.topic.key, K=_titled(fact), v=fact.value, n=n)
            for n, fact in enumerate(facts, 1)
        )

    return write


def _titled(fact: Fact) -> str:
    return fact.topic.key[0].upper() + fact.topic.key[1:]


def _asked(random: Random, fact: Fact) -> str:
    question = random.choice([one for one in fact.topic.questions if one.endswith("?")] or fact.topic.questions)
    return question[0].upper() + question[1:]


def _as_object(facts: list[Fact], random: Random) -> str:
    spelled = {fact.topic.key.replace(" ", random.choice(("_", "_", " "))): fact.value for fact in facts}
    return json.dumps(spelled, ensure_ascii=False, indent=random.choice((None, None, 2)))


def _as_pairs(facts: list[Fact], random: Random) -> str:
    pairs = [{"question": _asked(random, fact), "answer": fact.statement} for fact in facts]
    return json.dumps(pairs, ensure_ascii=False, indent=random.choice((None, None, 1)))


def _as_table(facts: list[Fact], random: Random) -> str:
    head = random.choice(("| Topic | Info |\n|---|---|\n", "| key | value |\n| --- | --- |\n", "Topic | Info\n"))
    return head + "\n".join(f"| {_titled(fact)} | {fact.value} |" for fact in facts)


def _as_sections(facts: list[Fact], random: Random) -> str:
    mark = random.choice(("#", "##", "###", "=="))
    return "\n\n".join(f"{mark} {_titled(fact)}\n{fact.statement}" for fact in facts)


def _as_xml(facts: list[Fact], random: Random) -> str:
    tag = random.choice(("faq", "facts", "context", "knowledge"))
    lines = "\n".join(f"<q>{_asked(random, fact)}</q><a>{fact.statement}</a>" for fact in facts)
    return f"<{tag}>\n{lines}\n</{tag}>"


def _as_letter(facts: list[Fact], random: Random) -> str:
    said = " ".join(fact.statement for fact in facts)
    return f"Dear team,\nplease use this when you answer customers. {said}\nBest, {draw_value(random, 'person').text}"


def _as_paragraphs(facts: list[Fact], random: Random) -> str:
    cut = max(1, len(facts) // random.choice((2, 3)))
    groups = [facts[start : start + cut] for start in range(0, len(facts), cut)]
    return "\n\n".join(" ".join(fact.statement for fact in group) for group in groups)


SHAPES: tuple[Shape, ...] = (
    _each("Q: {q}\nA: {s}"),
    _each("Q: {q}\nA: {s}", "\n\n"),
    _each("Q: {q}\nA: {v}"),
    _each("Question: {q}\nAnswer: {s}", "\n\n"),
    _each("{q} {s}"),
    _each("**{q}**\n{s}", "\n\n"),
    _each("### {q}\n{s}", "\n\n"),
    _each("{n}. {q}\n   {s}"),
    _each("{n}. {s}"),
    _each("({n}) {s}", " "),
    _each("- {s}"),
    _each("* {K}: {v}"),
    _each("- **{K}**: {s}"),
    _each("{K}: {v}"),
    _each("{K}: {s}"),
    _each("{k} = {v}"),
    _each("{K} -> {v}"),
    _each("[{k}] {s}"),
    _each("{k}: {v}", "; "),
    _each("{k}\t{v}"),
    _each('"{q}","{s}"'),
    _each("{K}\n    {s}"),
    _each("If somebody asks about {k}: {s}"),
    _each("<dt>{K}</dt><dd>{v}</dd>"),
    _each("FACT {n}: {s}"),
    _each("{s}", " "),
    _as_object,
    _as_pairs,
    _as_table,
    _as_sections,
    _as_xml,
    _as_letter,
    _as_paragraphs,
)

HEADS = (
    "You answer customers of {company}. Use only these facts.",
    "You are the support assistant of {company}. Answer from the FAQ below.",
    "Answer questions about {company} with the information below. If it does not say, say that you do not know.",
    "You are a friendly front desk. Answer briefly, from the facts only.",
    "Here is what we know:",
    "FAQ of {company}",
    "Use the following facts to answer.",
    "You work for {company}. Never make anything up.",
    "Company information for {company}:",
    "Answer the customer in one sentence.",
    "Help the customer. Facts:",
)
OPENINGS = (
    "",
    "",
    "",
    "",
    "",
    "Hi! ",
    "Hello, ",
    "hey ",
    "Good morning. ",
    "Quick question: ",
    "Sorry to bother you. ",
)
THANKS = (
    ("thanks", "You're welcome!"),
    ("Thank you!", "You're welcome! Is there anything else I can help with?"),
    ("great, thank you", "You're welcome! Have a nice day."),
    ("ok", "Is there anything else I can help with?"),
    ("hi", "Hello! How can I help you?"),
    ("hello", "Hello! What would you like to know?"),
    ("bye", "Goodbye!"),
    ("That was all.", "Glad I could help. Have a nice day!"),
)
FALLBACKS = (
    "If you do not know, say: {}",
    'If the answer is not here, reply "{}"',
    'Say "{}" when the facts do not tell.',
)
FALLBACK_WORDS = (
    "Please call us.",
    "Let me ask a colleague.",
    "I am not sure about that.",
    "NOT FOUND",
    "Please write to us and we will find out.",
    "I don't have that information.",
)


def shape_facts(facts: list[Fact], random: Random) -> str:
    """Write facts in one of the shapes."""
    return random.choice(SHAPES)(facts, random)


def reply(fact: Fact, random: Random, *, terse: bool) -> str:
    """The desk's answer: the statement, or only its value."""
    return fact.value if terse else fact.statement


def faq(random: Random) -> Document:
    """A list of facts in any shape, and up to ten questions, some of which it does not answer."""
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, random.choice((3, 5, 6, 8, 10, 12, 16, 20)))]
    listing = shape_facts(facts, random)
    terse = random.random() < 0.12
    unknown, rule = UNKNOWN, ""
    if random.random() < 0.2:
        unknown = random.choice(FALLBACK_WORDS)
        rule = " " + random.choice(FALLBACKS).format(unknown)
    head = random.choice(HEADS).format(company=draw_company(random)) + rule
    head += " Reply with the shortest answer." if terse else ""
    turns: list[Turn] = []
    asked = random.sample(facts, min(len(facts), random.choice((3, 4, 6, 8, 10))))
    for fact in asked:
        pick = random.random()
        if pick < UNKNOWN_SHARE:
            question, answer = draw_missing(random, facts), unknown
        elif pick < UNKNOWN_SHARE + REQUEST_SHARE and not terse:
            question, answer = _request(facts, random)
        elif pick < UNKNOWN_SHARE + REQUEST_SHARE + 0.05:
            question, answer = random.choice(THANKS)
        else:
            question, answer = random.choice(fact.topic.questions), reply(fact, random, terse=terse)
            question = random.choice(OPENINGS) + question
        turns += [Turn("user", question), Turn("assistant", answer)]
    return place(head, listing, turns, random, "faq")


def _request(facts: list[Fact], random: Random) -> tuple[str, str]:
    """Somebody wants something done, and there is no tool: say so, and tell what helps."""
    key, form, act = random.choice(REQUESTS)
    kinds = ("code", "thing", "email", "count", "date", "place", "person", "phone", "money")
    question = form.format(**{kind: draw_value(random, kind).text for kind in kinds})
    helping = [fact.statement for fact in facts if fact.topic.key == key]
    helping += [fact.statement for fact in facts if fact.topic.key in ("support phone", "support email")][:1]
    said = random.choice((f"I cannot {act} myself.", f"I cannot {act} from here."))
    return question, " ".join([said, *dict.fromkeys(helping[:2])])


def place(head: str, listing: str, turns: list[Turn], random: Random, family: str) -> Document:
    """Put the facts into the system prompt, or before or behind the first question."""
    style = random.random()
    if style < 0.6:
        return Document(
            tuple(turns), f"{head}\n\n{listing}" if random.random() < 0.7 else f"{head}\n{listing}", family=family
        )
    first = turns[0]
    if style < 0.8:
        shown = f"{listing}\n\n{first.text}"
        return Document((Turn("user", shown), *turns[1:]), head, family=family)
    if style < 0.92:
        shown = f"{head}\n\n{listing}\n\n{random.choice(('Question: ', 'Customer: ', ''))}{first.text}"
    else:
        shown = f"{first.text}\n\n{head}\n{listing}"
    return Document((Turn("user", shown), *turns[1:]), family=family)
