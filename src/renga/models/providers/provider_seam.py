"""The seam between the one path and whoever answers.

Owns: what a provider is asked (an `InferenceRequest` for one of its models), what it answers (batches of events) and
what its models can do (`Capabilities`).
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
from renga.protocols.messages.inference_request import InferenceRequest

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
    """0 while it is not known; so for the output."""
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


class ProviderHealth(Struct, frozen=True):
    """Whether a provider can take work now, and if not, why and what to do."""

    ready: bool
    detail: str = ""
    models: dict[str, ProviderHealth] = {}
    """Of each of its models, where they are loaded and lost one by one; empty elsewhere."""


class Provider(Protocol):
    """One kind of upstream, or the local engine. Built in `app.build`; `start` and `stop` frame its life."""

    async def start(self) -> None:
        """Open what it needs. Returns at once; readiness is asked with `health`."""
        ...

    async def stop(self) -> None:
        """Close everything; requests in flight end in an error event. Idempotent."""
        ...

    def send(self, request: InferenceRequest, model: str, answered_as: str) -> AsyncIterator[Batch]:
        """Answer a request with a model, as a stream. An answer that is made here has `answered_as` in `message.model`.

        Raises: RengaError before the first batch; nothing has been sent to the client then.
        """
        ...

    async def count_tokens(self, request: InferenceRequest, model: str) -> int:
        """The input tokens that this request would be billed for: the same code path as `send`."""
        ...

    def capabilities(self, model: str) -> Capabilities:
        """What a model can do at this provider."""
        ...

    def health(self, model: str = "") -> ProviderHealth:
        """Of the whole provider, or of one of its models. Cheap, and without I/O: `/ready` asks it."""
        ...

    async def models(self) -> tuple[str, ...]:
        """The model names it serves, where it can tell; () where it cannot."""
        ...
