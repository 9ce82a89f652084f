"""Triage: before anything is generated, keep a request at haiku, let haiku try and verify, or go straight up.

Owns: the three-way decision and its reasons.
Must never know: which targets exist, what they cost, how an answer is verified.
Invariants: the decision needs no network, no model and less than a millisecond; with no thresholds proven
(`routing/certificates/certificate.py`) nothing is kept unverified.

A prompt tells little of its difficulty (docs/concepts/routing.md), so triage is modest: it skips the check only where a
proven threshold says so, and skips haiku only where trying would be wasted.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files

from msgspec import Struct

from renga.protocols.messages.request import MessageRequest
from renga.routing.triage.features import read_request
from renga.routing.triage.history import ESCALATIONS_MAX, NEW_CONVERSATION, History
from renga.routing.triage.learned_head import LearnedHead, decode_head

PRIOR_FILE = "triage/prior.npz"


class TriageRoute(StrEnum):
    """The three ways in which triage can send a request."""

    HAIKU = "haiku"
    """Answer at haiku and do not check."""
    VERIFY = "verify"
    """Answer at haiku; hold the answer until its check is done."""
    UP = "up"
    """Do not ask haiku."""


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the score's range is cut. The defaults keep nothing unverified and send nothing straight up."""

    keep_below: float = float("-inf")
    """Itself included, as a certificate's threshold is."""
    up_above: float = float("inf")


class TriageResult(Struct, frozen=True):
    """The route that triage chose, its score and its reasons."""

    route: TriageRoute
    score: float
    reasons: tuple[str, ...]
    """Short and machine-readable, as `score<keep`, `tools`, `history:2` (answers that were not accepted)."""


UNPROVEN = Thresholds()


def load_prior() -> LearnedHead:
    """The head that ships with the package."""
    return decode_head((files("renga.models.weights") / PRIOR_FILE).read_bytes(), PRIOR_FILE)


class Scorer:
    """Decides with one head and one pair of thresholds."""

    def __init__(self, head: LearnedHead, thresholds: Thresholds = UNPROVEN) -> None:
        self._head = head
        self._thresholds = thresholds

    def decide(self, request: MessageRequest, history: History = NEW_CONVERSATION) -> TriageResult:
        """The route for a request.

        Cost: 0.1 ms at 500 tokens on one core; bounded for longer texts (`benchmarks/routing`).
        """
        score = self._head.score(read_request(request, history))
        if history.escalations >= ESCALATIONS_MAX:
            return TriageResult(TriageRoute.UP, score, (f"history:{history.escalations}",))
        if score > self._thresholds.up_above:
            return TriageResult(TriageRoute.UP, score, ("score>up",))
        checkable = _checkable(request)
        if score <= self._thresholds.keep_below and not checkable:
            return TriageResult(TriageRoute.HAIKU, score, ("score<keep",))
        return TriageResult(TriageRoute.VERIFY, score, checkable or ("score",))


def _checkable(request: MessageRequest) -> tuple[str, ...]:
    """What in the request makes a check cheap and certain, so that it is never skipped."""
    marks: list[str] = []
    if request.output_config is not None and request.output_config.format is not None:
        marks.append("schema")
    if request.tools:
        marks.append("tools")
    if request.stop_sequences:
        marks.append("stop_sequences")
    return tuple(marks)
