"""Settings of the administrators' port."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class AdminSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where administrators reach keys, workspaces, reports and the audit. Never on the clients' port."""

    port: Annotated[
        int | None, Meta(description="Port of its own; none: there is none. 0 takes a free one.", ge=0, le=65535)
    ] = None
    host: Annotated[str, Meta(description="Address to listen on. Loopback unless you say otherwise.")] = "127.0.0.1"
    organization: Annotated[str, Meta(description="Name that `/v1/organizations/me` answers with.")] = "Renga"
