"""The seam between the one path and whoever answers.

Owns: what a provider is asked (`ProviderRequest`), what it answers (batches of events) and what its models can do
(`Capabilities`).
Must never know: HTTP, SQL, or which provider stands behind it.
Invariants: `send` either raises before its first batch (a `RengaError`, whose `retryable` the caller obeys) or yields
one stream of `protocols/messages/events/event_types.py`'s shape that ends in exactly one terminal event. An upstream
that dies after the first batch becomes an `ErrorEvent`, never silence. Closing the iterator cancels the work at the
other end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.request import ApiVersion, MessageRequest, ServiceTier

Tier: TypeAlias = Literal["haiku", "sonnet", "opus"]


class Target(Struct, frozen=True):
    """One model at one provider, as `local/hokku` or `anthropic/claude-opus-5-5`."""

    provider: str
    model: str

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


class Capabilities(Struct, frozen=True):
    """What a target can really do. `/v1/models` shows it; requests beyond it are refused or routed past."""

    max_input_tokens: int
    max_output_tokens: int
    tools: bool = False
    structured_outputs: bool = False
    thinking: bool = False
    images: bool = False
    pdfs: bool = False
    citations: bool = False
    prefill: bool = False
    effort: bool = False
    files: bool = False
    fields: frozenset[str] = frozenset()
    """The meaning-changing request fields (`MessageRequest.required_features`) that this target honours."""
    server_tools: frozenset[str] = frozenset()
    """Types of server-executed tools it runs, without their date, as `web_search`."""


class ProviderRequest(Struct, frozen=True):
    """One attempt, ready to send."""

    target: Target
    request: MessageRequest
    raw: bytes
    """The client's body. Anthropic-family targets send it on with only `model` changed."""
    version: ApiVersion
    betas: tuple[str, ...]
    request_id: str
    owner: str
    """The key's id: fairness and signatures are per key. Never its secret."""
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    """Client headers that an Anthropic-family target should see (user profile, workspace)."""
    echo_model: str = ""
    """What `message.model` should say in an answer that is made here; empty: the target's model."""
    service_tier: ServiceTier = "standard"
    """`batch` lets live requests go first."""
    workspace_id: str | None = None
    """Of its key; its keys share a prompt cache, as they do at Anthropic."""

    @property
    def cache_owner(self) -> str:
        """Whose prompt cache it reads and writes."""
        return self.workspace_id or self.owner

    @property
    def answered_as(self) -> str:
        """The name that the answer carries in `message.model`."""
        return self.echo_model or self.target.model


class ProviderHealth(Struct, frozen=True):
    """Whether a provider can take work now, and if not, why and what to do."""

    ready: bool
    detail: str = ""


class Provider(Protocol):
    """One kind of upstream, or the local engine. Built in `app.build`; `start` and `stop` frame its life."""

    async def start(self) -> None:
        """Open what it needs. Returns at once; readiness is asked with `health`."""
        ...

    async def stop(self) -> None:
        """Close everything; requests in flight end in an error event. Idempotent."""
        ...

    def send(self, call: ProviderRequest) -> AsyncIterator[Batch]:
        """Answer a call as a stream.

        Raises: RengaError before the first batch; nothing has been sent to the client then.
        """
        ...

    async def count_tokens(self, call: ProviderRequest) -> int:
        """The input tokens this call would be billed for: the same code path as `send`."""
        ...

    def capabilities(self, model: str) -> Capabilities:
        """What `model` can do here."""
        ...

    def health(self) -> ProviderHealth:
        """Cheap, and without I/O: `/ready` asks it."""
        ...

    async def models(self) -> tuple[str, ...]:
        """The model names it serves, where it can tell; () where it cannot."""
        ...
