"""Is an answer in the language of its question? Only where both are certain.

Owns: scripts and the commonest words of a few languages.
Must never know: requests, models.
Invariant: silence is the default: short texts, code, mixed texts and questions that name a language are never judged.
"""

from __future__ import annotations

import re
from collections import Counter

WORDS_MIN = 12
LEAD_MIN = 4
"""Common words that the first language must have more of than the second."""
SCRIPT_SHARE_MIN = 0.6
CHARACTERS_MAX = 2_000
"""Looked at: a text does not change its language later."""

_WORD = re.compile(r"[^\W\d_]+", re.U)
_NAMED = re.compile(
    r"translat|übersetz|tradu|перевед|翻译|翻訳"
    r"|\bin (?:english|german|french|spanish|italian|portuguese|dutch|polish|swedish"
    r"|turkish|russian|chinese|japanese|korean|arabic|hindi|greek|hebrew)\b"
    r"|\b(?:english|german|french|spanish|italian|portuguese|dutch|chinese|japanese|russian)\b|auf (?:deutsch|englisch)"
    r"|en (?:français|anglais|español|inglés)",
    re.I,
)
_COMMON = {
    "en": "the of and to in is that it for was with as are this be at by from have or not but you they which",
    "de": "der die und das ist nicht ein eine zu den von mit sich auf für im dem auch es wird sind bei aus wie",
    "fr": "le la les des et est un une que dans qui pour pas sur au avec ce il par sont plus du cette ou",
    "es": "el la los las que y en un una es por con para del se no su al lo como más pero sus este",
    "it": "il che di è la per un una non sono con del le si da dei nel più anche alla come ma gli della",
    "pt": "o que de e do da em um uma para com não os se na por mais as dos como ao foi mas são",
    "nl": "de het een van en in is dat op te voor met niet zijn aan er ook als bij maar om door naar wordt",
}
_LANGUAGES: dict[str, tuple[str, ...]] = {}
for _language, _words in _COMMON.items():
    for _word in _words.split():
        _LANGUAGES[_word] = (*_LANGUAGES.get(_word, ()), _language)

_SCRIPTS = (
    ("cyrillic", 0x0400, 0x052F),
    ("greek", 0x0370, 0x03FF),
    ("hebrew", 0x0590, 0x05FF),
    ("arabic", 0x0600, 0x06FF),
    ("devanagari", 0x0900, 0x097F),
    ("thai", 0x0E00, 0x0E7F),
    ("kana", 0x3040, 0x30FF),
    ("han", 0x4E00, 0x9FFF),
    ("hangul", 0xAC00, 0xD7AF),
)
_EAST_ASIAN = {"kana", "han"}


def differs(question: str, answer: str) -> str | None:
    """`en, not de` where the answer's language is certainly not the question's; None otherwise."""
    if "```" in answer:
        return None
    answered = guess_language(answer)
    asked = None if answered is None else guess_language(question)
    if answered is None or asked is None or asked == answered or {asked, answered} <= _EAST_ASIAN:
        return None
    # The dearest look, and seldom needed.
    return None if _NAMED.search(question) else f"{answered}, not {asked}"


def guess_language(text: str) -> str | None:
    """A language or script, where it is certain.

    Cost: 0.1 ms for CHARACTERS_MAX of them.
    """
    sample = text[:CHARACTERS_MAX]
    script, count = ("latin", len(sample)) if sample.isascii() else _commonest_script(sample)
    if script is None:
        return None
    if script != "latin":
        return script if count >= WORDS_MIN else None
    words = _WORD.findall(sample.casefold())
    if len(words) < WORDS_MIN:
        return None
    votes = Counter(language for word in words for language in _LANGUAGES.get(word, ()))
    ranked = [*votes.most_common(2), ("", 0), ("", 0)]
    return ranked[0][0] if ranked[0][1] - ranked[1][1] >= LEAD_MIN and ranked[0][1] * 10 >= len(words) else None


def _commonest_script(sample: str) -> tuple[str | None, int]:
    """The script of most of the letters, and how many they are; None where there is none."""
    scripts: Counter[str] = Counter()
    for letter, count in Counter(sample).items():
        if letter.isalpha():
            scripts[_script(ord(letter))] += count
    ranked = scripts.most_common(1)
    if not ranked or ranked[0][1] < SCRIPT_SHARE_MIN * scripts.total():
        return None, 0
    return ranked[0]


def _script(point: int) -> str:
    if point < 0x0370:
        return "latin"
    for name, first, last in _SCRIPTS:
        if first <= point <= last:
            return name
    return "other"
