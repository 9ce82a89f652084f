"""What the path is asked, what it runs through, and the seams of what may be attached to it. Values and protocols.

Must never know: how any of it does its work. An attachment that is not there is None or (), and costs nothing then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from renga.cache.response import ResponseCache
from renga.clock import Clock
from renga.meter.lease import Outcome, Terms
from renga.meter.ledger import Ledger
from renga.providers.base import Call, Provider
from renga.route.plan import Asker, Attempt, Plan
from renga.route.router import Router
from renga.store.rows import Owner
from renga.wire.request import ApiVersion, MessageRequest, ServiceTier
from renga.wire.stream import Message


class Ask(Struct, frozen=True):
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
    """Monotonic, from the same clock as `Parts.clock`."""
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    service_tier: ServiceTier = "standard"
    workspace_id: str | None = None
    """Of its key; None where the key is in none."""
    tiers: tuple[str, ...] = ()
    """That its key may use; empty: all."""
    response_cache: bool = False
    """Whether its key wants answers that were given before."""

    def renewed(self, request: MessageRequest, raw: bytes) -> Ask:
        """The same question in other words, and in those alone."""
        return replace(self, request=request, raw=raw)

    def terms(self) -> Terms:
        """What the ledger needs to know before it runs."""
        request = self.request
        return Terms(
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


class Watch(Protocol):
    """Follows one request to its end."""

    def ended(self, outcome: Outcome, message: Message | None) -> None:
        """The request is settled. `message` is what the client got; None where there is none or it broke off.

        Called once, on the event loop's thread; what takes time is started here and not waited for.
        """
        ...


class Watcher(Protocol):
    """Looks at requests as they pass: the shadow sampler, for one."""

    def begin(self, ask: Ask, plan: Plan) -> Watch | None:
        """A watch for this request; None where it is of no interest. Synchronous and cheap: every request pays it."""
        ...


class Pass(Protocol):
    """The right to send one attempt."""

    def end(self, failed: bool, first_event_us: int | None, retry_after_s: float | None = None) -> None:
        """Exactly once. Not failed and without a first event: it was cancelled, which says nothing of the target."""
        ...


class HealthGate(Protocol):
    """Which targets may be asked now (`route/health.py`)."""

    def enter(self, target: str, *, anyway: bool = False) -> Pass | None:
        """None while the target cools down, unless `anyway`, or has as many requests as it may."""
        ...

    def refusal(self, target: str) -> str:
        """Why `enter` gives None, in one word."""
        ...


class FileSource(Protocol):
    """Uploaded files (`files/inline.py`)."""

    async def resolve(self, request: MessageRequest, raw: bytes, owner: Owner) -> tuple[MessageRequest, bytes]:
        """Replace `file_id` sources by what they name. A request without one comes back as it is, in microseconds.

        Raises: NotFound, InvalidRequest or RequestTooLarge, naming the field.
        """
        ...


class Parts(Struct, frozen=True):
    """What the path runs through. Put together in `app.build`."""

    providers: Mapping[str, Provider]
    router: Router
    ledger: Ledger
    clock: Clock
    watchers: tuple[Watcher, ...] = ()
    health: HealthGate | None = None
    files: FileSource | None = None
    responses: ResponseCache | None = None


def build_asker(ask: Ask) -> Asker:
    """What of a request's sender decides its plan."""
    return Asker(ask.key_id, ask.tiers, len(ask.raw))


def build_call(ask: Ask, plan: Plan, attempt: Attempt) -> Call:
    """One attempt of a request, ready to send."""
    return Call(
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
