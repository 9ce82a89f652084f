"""One request on its way through the server, from the handler to the provider and to the ledger.

Owns: what every surface tells of a request, and who asks.
Must never know: HTTP, plans, which target answers.
Invariants: it is never changed; who needs other words makes another one with `with_body`, so that the decoded request
and its bytes always say the same.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from renga.domain.owners import Owner
from renga.protocols.messages.request import ApiVersion, MessageRequest, ServiceTier


class Caller(Struct, frozen=True):
    """Whoever asks: the key, and what the key allows or wants."""

    key_id: str
    """The key's id: fairness, limits and signatures are per key. Never its secret."""
    workspace_id: str | None = None
    """The key's workspace; None where the key is in none."""
    tiers: tuple[str, ...] = ()
    """The tiers that the key may use; empty: all."""
    response_cache: bool = False
    """Whether the key wants answers that were given before."""

    @property
    def owner(self) -> Owner:
        """Whose files and batches the request may name."""
        return Owner(self.key_id, self.workspace_id)

    @property
    def cache_owner(self) -> str:
        """Whose prompt cache is read and written: keys of a workspace share one, as they do at Anthropic."""
        return self.workspace_id or self.key_id


class InferenceRequest(Struct, frozen=True):
    """A request as it enters, from whichever surface, and as every later step sees it."""

    message: MessageRequest
    body: bytes
    """The same as a Messages body; an Anthropic-family target gets it with only `model` changed."""
    caller: Caller
    request_id: str
    surface: str
    """Where it entered: `messages`, `batches`, `shadow`."""
    arrived_ns: int
    """Monotonic, from the same clock as the server's services."""
    version: ApiVersion = "2023-06-01"
    betas: tuple[str, ...] = ()
    forwarded_headers: tuple[tuple[str, str], ...] = ()
    """Client headers that an Anthropic-family target should see (user profile, workspace)."""
    service_tier: ServiceTier = "standard"
    """`batch` lets live requests go first, and pays half."""

    def with_body(self, message: MessageRequest, body: bytes) -> InferenceRequest:
        """The same question with a new request and body, and everything else unchanged."""
        return replace(self, message=message, body=body)
