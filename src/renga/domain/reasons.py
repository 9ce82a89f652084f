"""Why a request was answered as it was: values, one way to write them down, and the way back.

Owns: the kinds of reasons and their words in the `renga-plan` header and in the ledger's column `why`.
Must never know: who decides, what a detail means.
Invariants: `parse_reasons(render_reasons(reasons)) == reasons`; a name inside a detail is never taken for a reason, so
a policy may be called `last_resort`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, cast

from msgspec import Struct

ReasonKind: TypeAlias = Literal[
    "auto",
    "tier",
    "target",
    "policy",
    "canary",
    "triage",
    "floor",
    "up",
    "nothing_above",
    "not_worth",
    "prewarm",
    "unchecked",
    "not_ready",
    "check",
    "kept",
    "escalated",
    "sent_kept",
    "sent_escalated",
    "last_resort",
    "cache",
]
"""What kinds there are. `sent_`: it was checked after the client had it. docs/concepts/routing.md explains each."""

_WORDS = {"sent_kept": "sent:kept", "sent_escalated": "sent:escalated"}
"""Kinds whose words are not their names."""
_KINDS = {words: kind for kind, words in _WORDS.items()}


class Reason(Struct, frozen=True, gc=False):
    """One reason: of which kind, and what it names, as a tier, a target or the findings of a check."""

    kind: ReasonKind
    detail: str = ""

    @property
    def text(self) -> str:
        """The reason in words, as `tier:haiku`. A semicolon in a name is escaped, for it parts reasons."""
        words = _WORDS.get(self.kind, self.kind)
        if not self.detail:
            return words
        detail = self.detail
        if ";" in detail or "%" in detail:
            detail = detail.replace("%", "%25").replace(";", "%3B")
        return f"{words}:{detail}"


Reasons: TypeAlias = tuple[Reason, ...]
"""In the order in which they came up: first what the name meant, last what became of the request."""


def render_reasons(reasons: Iterable[Reason]) -> str:
    """All reasons in words, as `policy:auto;triage:verify;kept`."""
    return ";".join([reason.text for reason in reasons])


def parse_reasons(text: str) -> Reasons:
    """The reasons that `render_reasons` wrote; a kind that this version does not know stays as it is written."""
    return tuple([_parse_reason(part) for part in text.split(";")]) if text else ()


def _parse_reason(text: str) -> Reason:
    words, _, detail = text.partition(":")
    if words == "sent":
        ending, _, rest = detail.partition(":")
        if f"sent:{ending}" in _KINDS:
            words, detail = _KINDS[f"sent:{ending}"], rest
    if "%" in detail:
        detail = detail.replace("%3B", ";").replace("%25", "%")
    return Reason(cast("ReasonKind", words), detail)
