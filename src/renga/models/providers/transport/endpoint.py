"""Where an upstream is, and how long it may take.

Owns: the settings of one base URL, and that the URL is one which can be used.
Must never know: connections, or which API the upstream speaks.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from renga.config import ProviderSettings
from renga.errors import ConfigError


class Endpoint(Struct, frozen=True):
    """Where an upstream is and how patient to be with it."""

    name: str
    """For messages: `anthropic`, `vllm`."""
    base_url: str
    connect_timeout_s: float
    first_event_timeout_s: float
    idle_timeout_s: float
    max_connections: int

    def at(self, base_url: str) -> Endpoint:
        """The same settings for another base URL."""
        return replace(self, base_url=base_url)


def build_endpoint(name: str, settings: ProviderSettings) -> Endpoint:
    """An upstream as it was set up in `[providers.NAME]`."""
    return Endpoint(
        name=name,
        base_url=settings.base_url,
        connect_timeout_s=settings.connect_timeout_s,
        first_event_timeout_s=settings.first_event_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        max_connections=settings.max_connections,
    )


def parse_base_url(endpoint: Endpoint) -> SplitResult:
    """Check a base URL once, at start. A trailing `/v1` is forgiven: paths carry it.

    Raises: ConfigError.
    """
    url = urlsplit(endpoint.base_url.rstrip("/").removesuffix("/v1"))
    try:
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.query or url.fragment or url.username:
        raise ConfigError(
            f"base_url of provider {endpoint.name!r} is not a plain http:// or https:// URL.", hint=endpoint.base_url
        )
    return url
