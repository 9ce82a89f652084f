# ruff: noqa: E501 - tables
"""Questions that a rule makes of a sentence, as a person would ask them: by whom, when, where, what, how many.

Owns:   the patterns. A sentence that fits none has no question; the answer always stands in the sentence word for word.
"""

import re
from random import Random

_SUBJECT = r"(?P<s>(?:The|A|An|This|These|Some|All|Every|[A-Z][\w-]+)(?: (?!that|which|who|and|is|was|are|were|has|have)[\w'-]+){0,6}?)"
_PASSIVE = re.compile(
    rf"^{_SUBJECT} (?P<b>is|are|was|were) (?P<v>\w+ed|built|born|made|held|found|sold|sent|written|kept|known|given|taken) (?P<p>by|in|on|at|from|with|for|to|as) (?P<o>[^,;:().]{{3,70}})[,.;](?: |$)"
)
_COPULA = re.compile(
    rf"^{_SUBJECT} (?P<b>is|are|was|were) (?P<o>(?:the|a|an|one of|part of) [^,;:().]{{5,90}})[.;](?: |$)"
)
_ACTIVE = re.compile(
    rf"^{_SUBJECT} (?P<v>uses|contains|includes|provides|supports|requires|returns|shows|needs|creates|stores|holds|makes|allows|describes|offers|covers|controls|defines|sends|gives|reads|writes) (?P<o>[^,;:().]{{4,80}})[.;](?: |$)"
)
_MODAL = re.compile(
    rf"^{_SUBJECT} (?P<m>can|must|should|may|will) (?P<v>[a-z]+) (?P<o>(?:the|a|an|up to|at least|only|all|any|\d)[^,;:().]{{3,70}})[.;](?: |$)"
)
_COUNT = re.compile(
    r"\b(?P<n>\d[\d,]*|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|a hundred) (?P<o>[a-z]{3,}s)\b"
)
_YEAR = re.compile(
    rf"^{_SUBJECT} (?P<b>was|were) (?P<v>\w+ed|built|born|made|written|sold|found) (?P<r>[^,;:().]*?)\b[Ii]n (?P<y>1[5-9]\d\d|20\d\d)\b"
)
_PAST = re.compile(
    r"^(?P<s>[A-Z][a-z]+(?: [A-Z][a-z]+){0,2}) (?P<v>opened|founded|wrote|built|discovered|won|married|bought|sold|left|took|gave|found|made|told|asked|brought|created|designed|invented) (?P<o>[^,;:().]{4,60})[,.;](?: |$)"
)
_ENDS = re.compile(r"s$")
_BARE_VERBS = {"opened": "open", "founded": "found", "wrote": "write", "built": "build", "discovered": "discover", "won": "win", "married": "marry", "bought": "buy", "sold": "sell", "left": "leave", "took": "take", "gave": "give", "found": "find", "made": "make", "told": "tell", "asked": "ask", "brought": "bring", "created": "create", "designed": "design", "invented": "invent"}  # fmt: skip
_PREPOSITIONS = {
    "in": ("Where {b} {s} {v}?", "In what {b} {s} {v}?"),
    "at": ("Where {b} {s} {v}?", "At what {b} {s} {v}?"),
    "on": ("On what {b} {s} {v}?", "Where {b} {s} {v}?"),
    "by": ("By what or whom {b} {s} {v}?", "What {b} {s} {v} by?"),
    "from": ("Where {b} {s} {v} from?", "From what {b} {s} {v}?"),
    "with": ("What {b} {s} {v} with?", "With what {b} {s} {v}?"),
    "for": ("What {b} {s} {v} for?", "For what {b} {s} {v}?"),
    "to": ("What {b} {s} {v} to?", "To what {b} {s} {v}?"),
    "as": ("What {b} {s} {v} as?", "As what {b} {s} {v}?"),
}


_NO_SUBJECTS = frozenset(
    [
        "Whenever",
        "Here",
        "It",
        "You",
        "Your",
        "If",
        "When",
        "There",
        "They",
        "He",
        "She",
        "We",
        "I",
        "No",
        "Then",
        "Once",
        "While",
        "What",
        "Which",
        "How",
        "Why",
        "Where",
        "Who",
        "Since",
        "But",
        "And",
        "Or",
        "So",
        "As",
        "In",
        "On",
        "At",
        "For",
        "From",
        "To",
        "By",
        "With",
        "After",
        "Before",
        "Because",
        "Although",
        "Though",
        "Unless",
        "Until",
        "That",
        "Its",
        "His",
        "Her",
        "Their",
        "My",
        "Our",
        "Note",
        "Not",
        "See",
        "Use",
        "Also",
        "Only",
        "Each",
        "Both",
        "Any",
        "Such",
        "Other",
        "Another",
        "Next",
        "Now",
        "Yes",
        "Please",
        "Because",
    ]
)


def ask(sentence: str, random: Random) -> tuple[str, str] | None:
    """A question and its answer, or None."""
    if sentence.split(" ", 1)[0] in _NO_SUBJECTS or re.match(
        r"(This|These|Some|All) (is|are|was|were|can|must|will|may) ", sentence
    ):
        return None
    makers = [_ask_passive, _ask_copula, _ask_active, _ask_modal, _ask_past, _ask_year, _ask_count]
    for make in makers if random.random() < 0.6 else makers[::-1]:
        if (
            (pair := make(sentence, random))
            and 2 < len(pair[1]) < 90
            and not re.search(r"[`*_<>|\[\]{}]", "".join(pair))
        ):
            return pair
    return None


def _lower(subject: str) -> str:
    first = subject.split()[0]
    return (
        subject[0].lower() + subject[1:]
        if first in ("The", "A", "An", "This", "These", "Some", "All", "Every")
        else subject
    )


def _ask_passive(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _PASSIVE.match(sentence)):
        return None
    year = re.fullmatch(r"(?:[A-Z][a-z]+ )?(?:1[5-9]|20)\d\d", match["o"])
    form = "When {b} {s} {v}?" if year and match["p"] in ("in", "on") else random.choice(_PREPOSITIONS[match["p"]])
    return form.format(b=match["b"], s=_lower(match["s"]), v=match["v"]), match["o"].strip()


def _ask_copula(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _COPULA.match(sentence)):
        return None
    who = re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+", match["s"]) and match["b"] == "was"
    return f"{'Who' if who else 'What'} {match['b']} {_lower(match['s'])}?", match["o"].strip()


def _ask_active(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _ACTIVE.match(sentence)):
        return None
    return f"What does {_lower(match['s'])} {_ENDS.sub('', match['v'])}?", match["o"].strip()


def _ask_modal(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _MODAL.match(sentence)) or match["v"] in ("be", "have", "also", "not", "only"):
        return None
    return f"What {match['m']} {_lower(match['s'])} {match['v']}?", match["o"].strip()


def _ask_past(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _PAST.match(sentence)):
        return None
    if random.random() < 0.5:
        return f"Who {match['v']} {match['o'].strip()}?", match["s"]
    return f"What did {match['s']} {_BARE_VERBS[match['v']]}?", match["o"].strip()


def _ask_year(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _YEAR.match(sentence)):
        return None
    rest = f" {match['r'].strip()}" if match["r"].strip() else ""
    return f"{random.choice(('When', 'In what year'))} {match['b']} {_lower(match['s'])} {match['v']}{rest}?", match[
        "y"
    ]


def _ask_count(sentence: str, random: Random) -> tuple[str, str] | None:
    if not (match := _COUNT.search(sentence)):
        return None
    before = re.match(
        rf"^{_SUBJECT} (?P<v>has|have|had|contains|includes|needs|offers|supports|covers|holds) ", sentence
    )
    if before and before.end() == match.start():
        verb, subject = before["v"], _lower(before["s"])
        helper = "did" if verb == "had" else "do" if verb == "have" else "does"
        bare = "have" if verb in ("has", "have", "had") else _ENDS.sub("", verb)
        return f"How many {match['o']} {helper} {subject} {bare}?", match["n"]
    there = re.match(r"^There (?P<b>are|were) (?:about |only )?", sentence)
    if there and there.end() == match.start():
        rest = re.split(r"[,;:.(]", sentence[match.end() :])[0]
        return f"How many {match['o']} {there['b']} there{rest}?", match["n"]
    return None
