"""Settings of the port that administrators use."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from renga.config.kinds import Port


class AdminSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where administrators reach keys, workspaces, reports and the audit. Never on the clients' port."""

    port: Annotated[
        Port | None, Meta(description="Port of its own, 0 for a free one; none: there is no such port.")
    ] = None
    host: Annotated[str, Meta(description="Address to listen on. Loopback unless you say otherwise.")] = "127.0.0.1"
    organization: Annotated[str, Meta(description="Name that `/v1/organizations/me` answers with.")] = "Renga"
