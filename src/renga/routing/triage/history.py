"""What the router remembers of a conversation, as a value."""

from __future__ import annotations

from msgspec import Struct

ESCALATIONS_MAX = 2
"""After so many answers of this conversation were not accepted, haiku is not asked again: each try costs its tokens,
its time, and nobody has shown that the third is better."""


class History(Struct, frozen=True):
    """What the router remembers of the conversation."""

    last_tier_rank: int = 0
    """0: haiku or a new conversation, 1: sonnet, 2: opus."""
    escalations: int = 0
    """Turns whose haiku answer was not accepted."""


NEW_CONVERSATION = History()
