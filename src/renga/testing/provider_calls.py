"""What tests of providers are made of: a clock that does not wait, settings, and calls as the one path makes them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from renga.config import ProviderSettings
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.inference_request import Caller, InferenceRequest
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


class ProviderCall(NamedTuple):
    """The arguments of one `send`, to be given as `send(*call)`."""

    request: InferenceRequest
    model: str
    answered_as: str

    def count_arguments(self) -> tuple[InferenceRequest, str]:
        """The arguments of `count_tokens` for the same call."""
        return self.request, self.model


def make_call(body: dict[str, object], *, model: str = "big-model", version: ApiVersion = "2023-06-01") -> ProviderCall:
    """A call of a model, from a request's body."""
    data = msgspec.json.encode(body)
    request = InferenceRequest(
        decode_request(data, version), data, Caller("key_test"), "req_test", "messages", 0, version=version
    )
    return ProviderCall(request, model, model)
