"""What tests of the path share that need no database: an answer, and a ledger that remembers."""

from __future__ import annotations

from renga.accounting.ledger.lease import Lease, RequestOutcome
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import Message, Usage
from renga.protocols.messages.inference_request import InferenceRequest

MESSAGE = Message(
    model="hokku", id="msg_1", content=(TextBlock("Hello"),), stop_reason="end_turn", usage=Usage(7, output_tokens=3)
)
COST = 42
"""Nano-dollars of whatever a target answered."""


class LedgerBook:
    """A ledger that keeps what it was told."""

    def __init__(self) -> None:
        self.open: list[Lease] = []
        self.outcomes: list[RequestOutcome] = []

    def reserve(self, request: InferenceRequest) -> Lease:
        lease = Lease(request, 0)
        self.open.append(lease)
        return lease

    def hold_price(self, lease: Lease, targets: object, also_billed: object = ()) -> None:
        return None

    def settle(self, lease: Lease, outcome: RequestOutcome) -> int | None:
        self.open.remove(lease)
        self.outcomes.append(outcome)
        return 0 if outcome.target is None else COST
