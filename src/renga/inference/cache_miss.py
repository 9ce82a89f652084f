"""A question that the response cache has no answer to yet.

Owns: keeping the answer once there is one, and looking again for an old one when every target has failed.
Must never know: HTTP, how answers are stored (`models/cache/response_cache.py`).
"""

from __future__ import annotations

from renga.accounting.ledger.lease import RequestOutcome
from renga.models.cache.response_cache import ResponseCache, StoredAnswer
from renga.protocols.messages.events.event_types import Message


class CacheMiss:
    """Waits for the answer to a question that had none, to store it. An `Observation`."""

    __slots__ = ("_name", "_responses")

    def __init__(self, responses: ResponseCache, name: bytes) -> None:
        self._responses = responses
        self._name = name

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        """Keep the answer, unless it failed a check after it had been sent: such a one is not given a second time."""
        if message is None or outcome.target is None:
            return
        if not any(reason.kind == "sent_escalated" for reason in outcome.reasons):
            self._responses.keep(self._name, message, outcome.target)

    def find_stale(self) -> StoredAnswer | None:
        """An answer that is too old to be given while a target can answer; None where there is none."""
        return self._responses.find(self._name, stale=True)
