"""Two answers to one request as scores: what the one is worth where the other is the reference.

Owns: which answers can be compared without a judge.
Must never know: who answered, what is done with the score.
Invariant: whether there is a score hangs on the reference alone, so that leaving out what cannot be compared does not
favour either answer.
"""

from __future__ import annotations

from renga.protocols.messages.blocks import ToolUseBlock
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.request import MessageRequest
from renga.routing.checks.agreement import AnswerKind, agree, guess_kind

COMPARABLE = frozenset({AnswerKind.JSON, AnswerKind.CHOICE, AnswerKind.NUMBER, AnswerKind.LABEL})
"""Kinds of which two right answers are alike. Texts and programs may differ and both be right: they need a judge."""


def score_against(request: MessageRequest, reference: Message, other: Message) -> float | None:
    """What `other` is worth, 0 to 1, where the reference counts as 1; None where only a judge could tell."""
    # Late: it brings numpy, 0.1 s and 20 MB that only servers need which ask a second time.
    from renga.routing.checks.answer_checks import comparable_text

    expected = comparable_text(reference)
    kind = _kind_of(request, reference, expected)
    return agree(expected, comparable_text(other), kind).share if kind in COMPARABLE else None


def _kind_of(request: MessageRequest, reference: Message, text: str) -> AnswerKind:
    is_json = request.output_config is not None and request.output_config.format is not None
    if is_json or any(isinstance(block, ToolUseBlock) for block in reference.content):
        return AnswerKind.JSON
    return guess_kind(text, text)
