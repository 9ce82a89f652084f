"""Which conversation a request goes on with, and what is remembered of it.

Owns: a conversation's identity, and the bounded memory of how its answers fared.
Must never know: who answered, what anything costs.
Invariants: the identity never leaves this process and is no content: a keyed hash; two keys never share a
conversation; the memory is bounded, and the longest unused goes first.

A conversation is who asks, how its system prompt ends and how its first user turn begins. The beginning of the system
prompt is left out, because clients write a changing line there.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict

from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.request import MessageRequest
from renga.routing.triage.history import NEW_CONVERSATION, History

CONVERSATIONS_MAX = 50_000
"""About 10 MB."""
PROMPT_CHARACTERS = 4_096
"""Of the system prompt's end and the first turn's beginning: enough to tell conversations apart, and 5 us to hash."""

_SECRET = os.urandom(16)


def identify(key_id: str, request: MessageRequest) -> str:
    """The conversation of a request; the same for all its turns.

    Cost: 3 to 10 us, however long the request is.
    """
    digest = hashlib.blake2b(key=_SECRET, digest_size=12)
    digest.update(read_opening(key_id, request).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def read_opening(key_id: str, request: MessageRequest) -> str:
    """What tells a conversation from others, the same in every process. It is content, and to be hashed at once."""
    system = request.system
    if system is None:
        system = ""
    elif not isinstance(system, str):
        system = system[-1].text if system else ""
    return "\0".join((key_id, system[-PROMPT_CHARACTERS:], _first_user_text(request)[:PROMPT_CHARACTERS]))


def _first_user_text(request: MessageRequest) -> str:
    for turn in request.messages:
        if turn.role == "user":
            if isinstance(turn.content, str):
                return turn.content
            return "\n".join(block.text for block in turn.content if isinstance(block, TextBlock))
    return ""


class Conversations:
    """How the answers of each conversation fared."""

    def __init__(self, conversations_max: int = CONVERSATIONS_MAX) -> None:
        self._max = conversations_max
        self._histories: OrderedDict[str, History] = OrderedDict()

    def __len__(self) -> int:
        return len(self._histories)

    def history(self, conversation: str) -> History:
        """How earlier answers of this conversation fared, or a fresh history."""
        return self._histories.get(conversation, NEW_CONVERSATION)

    def remember(self, conversation: str, tier_rank: int, escalations: int = 0) -> None:
        """A turn was answered at a tier, after so many answers that were not accepted."""
        escalations += self.history(conversation).escalations
        self._histories[conversation] = History(tier_rank, escalations)
        self._histories.move_to_end(conversation)
        if len(self._histories) > self._max:
            self._histories.popitem(last=False)
