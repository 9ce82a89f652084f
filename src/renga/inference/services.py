"""What the path runs through, and the seams of what may be attached to it. Values and protocols.

Must never know: how any of it does its work. An attachment that is not there is None or (), and costs nothing then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from renga.accounting.ledger.lease import RequestOutcome
from renga.accounting.ledger.request_ledger import Ledger
from renga.clock import Clock
from renga.models.cache.response_cache import ResponseCache
from renga.models.providers.provider_seam import Provider
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.inference_request import InferenceRequest
from renga.routing.plan import Plan
from renga.routing.router import Router


class Observation(Protocol):
    """Follows one request to its end."""

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        """The request is settled. `message` is what the client got; None where there is none or it broke off.

        Called once, on the event loop's thread; what takes time is started here and not waited for.
        """
        ...


class Observer(Protocol):
    """Looks at requests as they pass: the shadow sampler, for one."""

    def observe_request(self, request: InferenceRequest, plan: Plan) -> Observation | None:
        """An observation of this request; None where it is of no interest. Synchronous and cheap: all pay it."""
        ...


class Permit(Protocol):
    """The right to send one attempt."""

    def end(self, failed: bool, first_event_us: int | None, retry_after_s: float | None = None) -> None:
        """Called exactly once. Without failure and first event it was cancelled: that says nothing of the target."""
        ...


class HealthGate(Protocol):
    """Which targets may be asked now (`routing/targets/target_health.py`)."""

    def enter(self, target: str, *, anyway: bool = False) -> Permit | None:
        """None while the target cools down, unless `anyway`, or has as many requests as it may."""
        ...

    def refusal(self, target: str) -> str:
        """Why `enter` gives None, in one word."""
        ...


class FileResolver(Protocol):
    """Puts uploaded files where a request names them (`files/file_inlining.py`)."""

    async def resolve(self, request: InferenceRequest) -> InferenceRequest:
        """Replace `file_id` sources by what they name. A request without one comes back as it is, in microseconds.

        Raises: NotFound, InvalidRequest or RequestTooLarge, naming the field.
        """
        ...


class Services(Struct, frozen=True):
    """What the path runs through. Put together in `app.build`."""

    providers: Mapping[str, Provider]
    router: Router
    ledger: Ledger
    clock: Clock
    observers: tuple[Observer, ...] = ()
    health: HealthGate | None = None
    files: FileResolver | None = None
    responses: ResponseCache | None = None
