"""What tests of providers are made of: a clock that does not wait, settings, and calls as the one path makes them."""

from __future__ import annotations

import msgspec

from renga.config import ProviderSettings
from renga.models.providers.provider_seam import ProviderRequest, Target
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.request import ApiVersion

SIMPLE_BODY: dict[str, object] = {
    "model": "haiku",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say hello."}],
}


def make_settings(kind: str, url: str, changes: dict[str, object] | None = None) -> ProviderSettings:
    """Settings for a provider under test; `changes` by the settings' own names."""
    fields = {"kind": kind, "base_url": url, "api_key_env": "UPSTREAM_KEY", "idle_timeout_s": 5.0}
    return msgspec.convert(fields | (changes or {}), ProviderSettings)


def make_call(
    body: dict[str, object], *, model: str = "big-model", version: ApiVersion = "2023-06-01"
) -> ProviderRequest:
    """A call for `upstream/MODEL`, from a request's body."""
    raw = msgspec.json.encode(body)
    return ProviderRequest(
        target=Target("upstream", model),
        request=decode_request(raw, version),
        raw=raw,
        version=version,
        betas=(),
        request_id="req_test",
        owner="key_test",
    )
