"""Keys, workspaces, reports and the audit as the Admin API shows them.

Owns: their shapes and the little that requests about them may say. Must never know: where the figures come from.
Fields called `renga` are what this server adds. Fields of what a single installation has no use for (members, tags,
encryption keys) are there with the value that means none.

Source: Admin API as anthropic 2.11.0 types it (`types/organization`); usage and cost reports as the Admin API
documentation gives them (retrieved 2026-11-21).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.errors import InvalidRequest

KeyStatus: TypeAlias = Literal["active", "inactive", "archived", "expired"]


class Organization(Struct, frozen=True):
    """The one organization of this server, as the Admin API shows it."""

    id: str
    name: str
    type: Literal["organization"] = "organization"


class KeyScopeInfo(Struct, frozen=True, omit_defaults=True):
    """Where a key belongs: `{"type": "workspace", "workspace_id": ...}` or `{"type": "organization"}`."""

    type: Literal["workspace", "organization"]
    workspace_id: str | UnsetType = UNSET


class KeyExtras(Struct, frozen=True):
    """What this server keeps of a key besides."""

    last_used_at: datetime | None
    scopes: tuple[str, ...]
    tiers: tuple[str, ...]
    response_cache: bool
    limits: dict[str, Any]


class ApiKey(Struct, frozen=True):
    """A key as the Admin API shows it, without its secret."""

    id: str
    created_at: datetime
    name: str
    partial_key_hint: str
    status: KeyStatus
    scope: KeyScopeInfo
    workspace_id: str | None
    """As API versions before 2026-10-21 have it."""
    expires_at: datetime | None
    renga: KeyExtras
    created_by: None = None
    principal: None = None
    type: Literal["api_key"] = "api_key"


class DataResidency(Struct, frozen=True):
    """Where a workspace's data may lie; here it is the same for all."""

    workspace_geo: str = "us"
    allowed_inference_geos: str = "unrestricted"
    default_inference_geo: str = "global"


class WorkspaceExtras(Struct, frozen=True):
    """What this server keeps of a workspace besides."""

    limits: dict[str, Any]


class Workspace(Struct, frozen=True):
    """A workspace as the Admin API shows it, with this server's limits."""

    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None
    compartment_id: str
    renga: WorkspaceExtras
    display_color: str = "#6C5BB9"
    data_residency: DataResidency = DataResidency()
    external_key_id: None = None
    tags: dict[str, str] = {}
    type: Literal["workspace"] = "workspace"
    user_profile_id: None = None


class AuditEntry(Struct, frozen=True):
    """One change of a key or a workspace, and who made it."""

    id: str
    created_at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    type: Literal["audit_entry"] = "audit_entry"


class AdminPage(Struct, frozen=True):
    """A page of any of them."""

    data: tuple[ApiKey | Workspace | AuditEntry, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class CacheCreationTokens(Struct, frozen=True):
    """Tokens written to prompt caches, by how long they stay."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class ServerToolUse(Struct, frozen=True):
    """How often a provider's own tools were run, summed up."""

    web_search_requests: int = 0


class UsageItem(Struct, frozen=True):
    """Sums of one group; a dimension is null where the report is not grouped by it."""

    uncached_input_tokens: int
    cache_creation: CacheCreationTokens
    cache_read_input_tokens: int
    output_tokens: int
    api_key_id: str | None
    workspace_id: str | None
    model: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None
    server_tool_use: ServerToolUse = ServerToolUse()
    account_id: None = None
    service_account_id: None = None
    speed: None = None


class CostExtras(Struct, frozen=True):
    """How many requests an amount is made of, and how many it leaves out."""

    requests: int
    unpriced_requests: int
    """Whose price is not known, and which are not part of the amount."""


class CostItem(Struct, frozen=True):
    """What one group of a cost report cost in one time slice."""

    amount: str
    """Cents, as a decimal number in a string, exact."""
    workspace_id: str | None
    description: str | None
    model: str | None
    service_tier: str | None
    context_window: str | None
    cost_type: str | None
    inference_geo: str | None
    renga: CostExtras
    currency: Literal["USD"] = "USD"
    token_type: None = None
    """The ledger keeps what a request cost as a whole, not by class of tokens."""
    speed: None = None


class ReportBucket(Struct, frozen=True):
    """One time slice of a usage or cost report."""

    starting_at: datetime
    ending_at: datetime
    results: tuple[UsageItem | CostItem, ...]


class ReportPage(Struct, frozen=True):
    """A page of a usage or cost report, oldest slice of time first."""

    data: tuple[ReportBucket, ...]
    has_more: bool
    next_page: str | None


class KeyUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that changes a key."""

    name: str | None = None
    status: Literal["active", "inactive", "archived"] | None = None


class WorkspaceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that makes or changes a workspace. What only the API's own service can do must be absent or null."""

    name: str | None = None
    display_color: str | None = None
    """Taken and not kept: it changes nothing but a console's looks."""
    data_residency: Any = None
    external_key_id: Any = None
    tags: Any = None
    user_profile_id: Any = None

    def check(self) -> None:
        """Raises: InvalidRequest for what this server cannot do."""
        for field in ("data_residency", "external_key_id", "tags", "user_profile_id"):
            if getattr(self, field):
                raise InvalidRequest("This server has nothing of the kind.", path=field, hint="leave it out")


def decode_key_update(body: bytes) -> KeyUpdate:
    """Decode the body that updates a key.

    Raises: InvalidRequest naming the field.
    """
    return _decode(body, KeyUpdate)


def decode_workspace(body: bytes) -> WorkspaceBody:
    """Decode and check the body that describes a workspace.

    Raises: InvalidRequest naming the field.
    """
    decoded = _decode(body, WorkspaceBody)
    decoded.check()
    return decoded


_T = TypeVar("_T")
_ERROR = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found = _ERROR.fullmatch(str(error))
        assert found is not None  # the pattern takes any text
        if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", found["what"], re.DOTALL):
            raise InvalidRequest("Extra inputs are not permitted.", path=unknown[1][:100]) from None
        raise InvalidRequest(f"{found['what']}.", path=found["path"] or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.", hint="send a JSON object") from None
