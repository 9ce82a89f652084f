"""Settings of message batches and of what runs them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import Positive


class BatchSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Message batches: requests that wait for live ones and cost half."""

    run: Annotated[bool, Meta(description="Whether this process runs batches, or only takes them in for others.")] = (
        True
    )
    max_running: Annotated[Positive, Meta(description="Requests of batches that run at the same time.")] = 16
    max_queued: Annotated[
        Positive, Meta(description="Requests that one key or workspace may have in open batches.")
    ] = 1_000_000
    max_body_bytes: Annotated[int, Meta(description="Largest body of a batch.", ge=1024)] = 256 * 1024 * 1024
