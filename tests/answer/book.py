"""What tests of the path share that need no database: an answer, and a ledger that remembers."""

from __future__ import annotations

from renga.meter.lease import Lease, Outcome, Terms
from renga.wire.blocks import TextBlock
from renga.wire.stream import Message, Usage

MESSAGE = Message(
    model="hokku", id="msg_1", content=(TextBlock("Hello"),), stop_reason="end_turn", usage=Usage(7, output_tokens=3)
)
COST = 42
"""Nano-dollars of whatever a target answered."""


class LedgerBook:
    """A ledger that keeps what it was told."""

    def __init__(self) -> None:
        self.open: list[Lease] = []
        self.outcomes: list[Outcome] = []

    def reserve(self, terms: Terms) -> Lease:
        lease = Lease(terms, 0)
        self.open.append(lease)
        return lease

    def hold_price(self, lease: Lease, targets: object, beside: object = ()) -> None:
        return None

    def settle(self, lease: Lease, outcome: Outcome) -> int | None:
        self.open.remove(lease)
        self.outcomes.append(outcome)
        return 0 if outcome.target is None else COST
