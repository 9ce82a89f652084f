"""What the path is asked, what it runs through, and the seams of what may be attached to it. Values and protocols.

Must never know: how any of it does its work. An attachment that is not there is None or (), and costs nothing then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from renga.accounting.ledger.lease import RequestOutcome, RequestTerms
from renga.accounting.ledger.request_ledger import Ledger
from renga.clock import Clock
from renga.domain.owners import Owner
from renga.models.cache.response_cache import ResponseCache
from renga.models.providers.provider_seam import Provider, ProviderRequest
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.request import ApiVersion, MessageRequest, ServiceTier
from renga.routing.plan import Caller, Plan, PlannedAttempt
from renga.routing.router import Router


class InferenceRequest(Struct, frozen=True):
    """A request as it enters, from whichever surface."""

    request: MessageRequest
    raw: bytes
    """The body as a Messages request; an Anthropic-family target gets it with only `model` changed."""
    version: ApiVersion
    betas: tuple[str, ...]
    key_id: str
    request_id: str
    surface: str
    arrived_ns: int
    """Monotonic, from the same clock as `Services.clock`."""
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    service_tier: ServiceTier = "standard"
    workspace_id: str | None = None
    """Of its key; None where the key is in none."""
    tiers: tuple[str, ...] = ()
    """That its key may use; empty: all."""
    response_cache: bool = False
    """Whether its key wants answers that were given before."""

    def renewed(self, request: MessageRequest, raw: bytes) -> InferenceRequest:
        """The same question in other words, and in those alone."""
        return replace(self, request=request, raw=raw)

    def terms(self) -> RequestTerms:
        """What the ledger needs to know before it runs."""
        request = self.request
        return RequestTerms(
            self.request_id,
            self.key_id,
            self.surface,
            request.model,
            request.max_tokens,
            request.stream,
            len(self.raw),
            self.service_tier,
            self.workspace_id,
        )


class Observation(Protocol):
    """Follows one request to its end."""

    def ended(self, outcome: RequestOutcome, message: Message | None) -> None:
        """The request is settled. `message` is what the client got; None where there is none or it broke off.

        Called once, on the event loop's thread; what takes time is started here and not waited for.
        """
        ...


class Observer(Protocol):
    """Looks at requests as they pass: the shadow sampler, for one."""

    def begin(self, ask: InferenceRequest, plan: Plan) -> Observation | None:
        """A watch for this request; None where it is of no interest. Synchronous and cheap: every request pays it."""
        ...


class Permit(Protocol):
    """The right to send one attempt."""

    def end(self, failed: bool, first_event_us: int | None, retry_after_s: float | None = None) -> None:
        """Exactly once. Not failed and without a first event: it was cancelled, which says nothing of the target."""
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
    """Uploaded files (`files/file_inlining.py`)."""

    async def resolve(self, request: MessageRequest, raw: bytes, owner: Owner) -> tuple[MessageRequest, bytes]:
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
    watchers: tuple[Observer, ...] = ()
    health: HealthGate | None = None
    files: FileResolver | None = None
    responses: ResponseCache | None = None


def build_asker(ask: InferenceRequest) -> Caller:
    """What of a request's sender decides its plan."""
    return Caller(ask.key_id, ask.tiers, len(ask.raw))


def build_call(ask: InferenceRequest, plan: Plan, attempt: PlannedAttempt) -> ProviderRequest:
    """One attempt of a request, ready to send."""
    return ProviderRequest(
        attempt.target,
        ask.request,
        ask.raw,
        ask.version,
        ask.betas,
        ask.request_id,
        ask.key_id,
        forwarded_headers=ask.forwarded_headers,
        echo_model=plan.echo_model,
        service_tier=ask.service_tier,
        workspace_id=ask.workspace_id,
    )
